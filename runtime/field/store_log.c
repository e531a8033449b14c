/* Reading the store: sizes, checksums, snapshots, logs. Flash holds anything: each number read from it is bounded before it is used. */
#include <string.h>

#include "store.h"

enum { SLOTS = 3 }; /* snapshots that have room at once, at least: two stay whole while one is written */

/// Sizes ///

/* Sets all that follows from the sizes of the state and of pages and programs. Returns the bytes of the pages of a snapshot, 0 if a size
 * is out of range. No product overflows: a state has less than 2^22 bytes, and pages at most 2^24. */
MB_SMALL static uint32_t measure(mb_walk *w, const mb_model *m, const mb_store *store)
{
    const uint32_t size = (uint32_t)mb_state_size(m);
    if (store == NULL || size == 0 || size > 4u * MB_BLOCK * MB_MOST_BLOCKS) {
        return 0;
    }
    const uint32_t unit = store->program_size, page = store->page_size;
    if (unit - 1u > 31u || ((unit | page) & (unit - 1u)) != 0 || page < 32u || page > 1u << 24) {
        return 0;
    }
    w->size = size;
    w->unit = unit;
    w->head = mb_units(MB_STORE_HEADER, unit);
    w->seal = mb_units(MB_STORE_SEAL, unit);
    w->snapshot = w->head + mb_units(size, unit) + w->seal;
    return ((w->snapshot - 1u) / page + 1u) * page;
}

MB_SMALL uint32_t mb_store_size(const mb_model *m, const mb_store *store)
{
    mb_walk w;
    return SLOTS * measure(&w, m, store);
}

/* A slot has as many pages as a third of the store, at most those of two snapshots and one more: a longer log makes saves slow, and cannot
 * halve the wear once more. */
MB_SMALL mb_status mb_walk_begin(mb_walk *w, const mb_model *m, const mb_store *store)
{
    if (m == NULL || store == NULL) {
        return MB_E_NULL;
    }
    if (m->state == NULL) {
        return MB_E_DETACHED;
    }
    memset(w, 0, sizeof *w);
    const uint32_t least = measure(w, m, store);
    if (least == 0 || store->pages > 0x7FFFFFFFu / store->page_size) {
        return MB_E_STORE_SIZE;
    }
    const uint32_t third = store->pages / SLOTS * store->page_size, most = 2u * least + store->page_size;
    if (third < least) {
        return MB_E_STORE_SIZE;
    }
    w->slot = third < most ? third : most;
    w->flash = store->pages * store->page_size;
    w->store = store;
    w->identity = mb_identity(m);
    w->state = (mb_state_word *)(void *)m->state;
    (void)mb_walk_find(w, UINT32_MAX, 0);
    return MB_OK;
}

/// Bytes ///

MB_SMALL int mb_walk_move(mb_walk *w, uint32_t *at, void *bytes, uint32_t count)
{
    const mb_store *const s = w->store;
    const int programs = at == &w->to;
    uint8_t *p = bytes;
    while (count != 0) {
        const uint32_t left = s->page_size - *at % s->page_size, part = count < left ? count : left;
        if (programs ? w->failed || s->program(s->context, *at, p, part) != 0 : s->read(s->context, *at, p, part) != 0) {
            w->failed = 1;
            return 0;
        }
        *at += part;
        p += part;
        count -= part;
    }
    return 1;
}

MB_SMALL uint32_t mb_walk_read(mb_walk *w, uint32_t words)
{
    words = words < MB_CHUNK ? words : MB_CHUNK;
    return mb_walk_move(w, &w->at, w->chunk, 4u * words) ? words : 0;
}

MB_SMALL int mb_walk_sum(mb_walk *w, uint32_t at, uint32_t bytes)
{
    w->at = at;
    for (uint32_t left = bytes / 4u, words; left != 0; left -= words) {
        words = mb_walk_read(w, left);
        if (words == 0) {
            return 0;
        }
        w->sum = mb_sum_words(w->sum, w->chunk, words);
    }
    return 1;
}

/// Snapshots and entries ///

MB_SMALL int mb_walk_header(mb_walk *w, uint32_t at)
{
    w->at = at;
    return mb_walk_read(w, MB_STORE_HEADER / 4) && w->chunk[3] == mb_sum_words(MB_HEADER_SEED, w->chunk, 3);
}

MB_SMALL int mb_walk_sealed(mb_walk *w)
{
    const uint32_t at = mb_units(w->at, w->unit);
    w->at = at;
    if (!mb_walk_read(w, MB_STORE_SEAL / 4) || w->chunk[1] != MB_WHOLE) {
        return 0;
    }
    w->at = at + w->seal;
    if (w->chunk[0] != w->sum) {
        w->damaged = 1;
    }
    return w->chunk[0] == w->sum;
}

/* Reads the first word of an entry, the number of those behind it, into chunk[0]. Returns the bytes of the entry before its seal, or 0 if
 * it has no room. */
MB_SMALL static uint32_t entry(mb_walk *w)
{
    const uint32_t room = w->flash - w->at, others = 4u + w->seal;
    if (room < others || !mb_walk_read(w, 1) || w->chunk[0] > (room - others) / 4u) {
        return 0;
    }
    return 4u + 4u * w->chunk[0];
}

/* Reads the snapshot at `begin`, then its log. bytes: of its state; w->sum: of its header. */
MB_SMALL static void follow_seals(mb_walk *w, uint32_t bytes)
{
    uint32_t at = w->begin + w->head, sum;
    do {
        sum = w->sum;
        if (!mb_walk_sum(w, at, bytes) || !mb_walk_sealed(w)) {
            break;
        }
        w->last = at;
        w->end = at = w->at;
        sum = w->sum;
        bytes = entry(w);
    } while (bytes != 0);
    w->sum = sum;
}

/* No sum overflows: the rest of the flash and a state in it have less than 2^31 bytes. */
MB_SMALL uint32_t mb_walk_find(mb_walk *w, uint32_t limit, int any)
{
    w->end = 0;
    do {
        uint32_t size = 0;
        w->serial = 0;
        for (uint32_t at = 0; at < w->flash; at += w->store->page_size) {
            const uint32_t *const header = w->chunk;
            if (!mb_walk_header(w, at)) {
                continue;
            }
            const uint32_t room = w->flash - at;
            const int own = header[0] == w->identity && header[1] == w->size;
            if (header[1] % 4u != 0 || header[1] > room || w->head + mb_units(header[1], w->unit) + w->seal > room || !(own || any)) {
                w->foreign = 1;
            } else if (header[2] < limit && header[2] > w->serial) {
                w->serial = header[2];
                w->begin = at;
                w->sum = header[3];
                size = header[1];
            }
            w->top = header[2] > w->top ? header[2] : w->top;
        }
        limit = w->serial;
        if (limit != 0) {
            follow_seals(w, size);
        }
    } while (limit != 0 && w->end == 0);
    return w->end;
}

MB_SMALL void mb_walk_take(mb_walk *w, uint32_t index, uint32_t word)
{
    if (index >= w->size / 4u) {
        return;
    }
    if (w->first == MB_NO_WINDOW) {
        w->state[index] = word;
    } else if (index - w->first < MB_WINDOW) {
        uint16_t *const marks = w->marks + (index - w->first) / MB_BLOCK;
        const uint32_t bit = 1u << (index % MB_BLOCK), others = *marks & ~bit;
        *marks = (uint16_t)(w->state[index] != word ? others | bit : others);
    }
}

MB_SMALL int mb_walk_follow(mb_walk *w, uint32_t until)
{
    for (w->at = w->begin + w->snapshot; w->at < until; w->at = mb_units(w->at, w->unit) + w->seal) {
        if (entry(w) == 0) {
            return 0;
        }
        const uint32_t words = w->chunk[0];
        uint32_t mask = 0, index = 0;
        for (uint32_t i = 0; i < words; i++) {
            if (i % MB_CHUNK == 0 && !mb_walk_read(w, words - i)) {
                return 0;
            }
            const uint32_t word = w->chunk[i % MB_CHUNK];
            if (mask == 0) { /* a head: the number of a block, and which of its words follow */
                index = (word >> 16) * MB_BLOCK;
                mask = word & 0xFFFFu;
                continue;
            }
            for (; (mask & 1u) == 0; mask >>= 1) {
                index++;
            }
            mb_walk_take(w, index, word);
            mask >>= 1;
            index++;
        }
    }
    return 1;
}
