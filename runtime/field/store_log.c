/* Reading the store: sizes, checksums, snapshots, logs. Flash holds anything: each number read from it is bounded before it is used. */
#include <string.h>

#include "store.h"

enum { SLOTS = 3 }; /* snapshots that have room at once, at least: two stay whole while one is written */

/// Sizes ///

static uint32_t snapshot_size(uint32_t size, uint32_t unit)
{
    return mb_units(MB_STORE_HEADER, unit) + mb_units(size, unit) + mb_units(MB_STORE_SEAL, unit);
}

/* No product overflows: a state has less than 2^22 bytes, and pages at most 2^24. */
MB_SMALL uint32_t mb_store_size(const mb_model *m, const mb_store *store)
{
    const uint32_t size = (uint32_t)mb_state_size(m);
    if (store == NULL || size == 0 || size > 4u * MB_BLOCK * MB_MOST_BLOCKS) {
        return 0;
    }
    const uint32_t unit = store->program_size, page = store->page_size;
    if (unit - 1u > 31u || ((unit | page) & (unit - 1u)) != 0 || page < 32u || page > 1u << 24) {
        return 0;
    }
    return SLOTS * ((snapshot_size(size, unit) - 1u) / page + 1u) * page;
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
    const uint32_t least = mb_store_size(m, store);
    if (least == 0 || store->pages > 0x7FFFFFFFu / store->page_size || store->pages * store->page_size < least) {
        return MB_E_STORE_SIZE;
    }
    memset(w, 0, sizeof *w);
    w->store = store;
    w->identity = mb_identity(m);
    w->state = (mb_state_word *)(void *)m->state;
    w->size = (uint32_t)mb_state_size(m);
    w->unit = store->program_size;
    w->head = mb_units(MB_STORE_HEADER, w->unit);
    w->seal = mb_units(MB_STORE_SEAL, w->unit);
    w->snapshot = w->head + mb_units(w->size, w->unit) + w->seal;
    w->flash = store->pages * store->page_size;
    const uint32_t third = store->pages / SLOTS * store->page_size, most = 2u * (least / SLOTS) + store->page_size;
    w->slot = third < most ? third : most;
    return MB_OK;
}

/// Bytes ///

MB_SMALL int mb_walk_move(mb_walk *w, int programs, uint32_t at, void *bytes, uint32_t count)
{
    const mb_store *const s = w->store;
    uint8_t *p = bytes;
    while (count != 0) {
        const uint32_t left = s->page_size - at % s->page_size, part = count < left ? count : left;
        if ((programs ? s->program(s->context, at, p, part) : s->read(s->context, at, p, part)) != 0) {
            w->failed = 1;
            return 0;
        }
        at += part;
        p += part;
        count -= part;
    }
    return 1;
}

MB_SMALL int mb_walk_read(mb_walk *w, uint32_t at, uint32_t words)
{
    return mb_walk_move(w, 0, at, w->chunk, 4u * words);
}

MB_SMALL int mb_walk_sum_flash(mb_walk *w, uint32_t at, uint32_t bytes, uint32_t *sum)
{
    for (uint32_t words; bytes != 0; bytes -= 4u * words, at += 4u * words) {
        words = bytes < sizeof w->chunk ? bytes / 4u : MB_CHUNK;
        if (!mb_walk_read(w, at, words)) {
            return 0;
        }
        *sum = mb_sum_words(*sum, w->chunk, words);
    }
    return 1;
}

/// Snapshots and entries ///

MB_SMALL uint32_t mb_walk_sealed(mb_walk *w, uint32_t at, uint32_t sum)
{
    if (!mb_walk_read(w, at, MB_STORE_SEAL / 4) || w->chunk[1] != MB_WHOLE) {
        return 0;
    }
    w->damaged |= w->chunk[0] != sum;
    return w->chunk[0] == sum ? at + w->seal : 0;
}

/* Returns the address of the seal of an entry, or 0 if there is no room for one. Every address is a multiple of `unit`, so rounding up
 * cannot pass the end of the flash. chunk[0] is the number of its words behind the first. */
MB_SMALL static uint32_t entry_seal(mb_walk *w, uint32_t at)
{
    const uint32_t room = w->flash - at, others = 4u + w->seal;
    if (room < others || !mb_walk_read(w, at, 1) || w->chunk[0] > (room - others) / 4u) {
        return 0;
    }
    return mb_units(at + 4u + 4u * w->chunk[0], w->unit);
}

/* Reads the snapshot at `begin`, then its log. Returns 1 if the snapshot is whole. size: bytes of its state; sum: of its header. */
MB_SMALL static int is_whole(mb_walk *w, uint32_t size, uint32_t sum)
{
    const uint32_t state = w->begin + w->head;
    uint32_t next = mb_walk_sum_flash(w, state, size, &sum) ? mb_walk_sealed(w, state + mb_units(size, w->unit), sum) : 0;
    w->log = w->end = next;
    w->last = 0;
    while (next != 0) {
        w->last = next != w->log ? w->end : 0;
        w->end = next;
        w->sum = sum;
        const uint32_t seal = entry_seal(w, next);
        next = seal != 0 && mb_walk_sum_flash(w, next, seal - next, &sum) ? mb_walk_sealed(w, seal, sum) : 0;
    }
    return w->log != 0;
}

/* No sum overflows: the rest of the flash and a state in it have less than 2^31 bytes. */
MB_SMALL int mb_walk_find(mb_walk *w, uint32_t limit, int any)
{
    do {
        uint32_t sum = 0, size = 0;
        w->serial = 0;
        for (uint32_t at = 0; at < w->flash; at += w->store->page_size) {
            const uint32_t *const header = w->chunk;
            if (!mb_walk_read(w, at, MB_STORE_HEADER / 4) || header[3] != mb_sum_words(MB_HEADER_SEED, header, 3)) {
                continue;
            }
            const uint32_t room = w->flash - at;
            const int own = header[0] == w->identity && header[1] == w->size;
            if (header[1] % 4u != 0 || header[1] > room || w->head + mb_units(header[1], w->unit) + w->seal > room || !(own || any)) {
                w->foreign = 1;
            } else if (header[2] < limit && header[2] > w->serial) {
                w->serial = header[2];
                w->begin = at;
                size = header[1];
                sum = header[3];
            }
            w->top = header[2] > w->top ? header[2] : w->top;
        }
        limit = w->serial;
        if (limit != 0 && is_whole(w, size, sum)) {
            return 1;
        }
    } while (limit != 0);
    return 0;
}

MB_SMALL void mb_walk_mark(mb_walk *w, uint32_t index, uint32_t word)
{
    uint16_t *const marks = w->marks + index / MB_BLOCK % (MB_WINDOW / MB_BLOCK);
    const uint32_t bit = 1u << (index % MB_BLOCK), others = *marks & ~bit;
    *marks = (uint16_t)(w->state[index] != word ? others | bit : others);
}

MB_SMALL uint32_t mb_walk_follow(mb_walk *w, uint32_t at, uint32_t window)
{
    const uint32_t seal = entry_seal(w, at), words = w->size / 4u;
    uint32_t left = w->chunk[0], mask = 0, index = 0;
    if (seal == 0) {
        return 0;
    }
    for (at += 4u; left != 0;) {
        const uint32_t part = left < MB_CHUNK ? left : MB_CHUNK;
        if (!mb_walk_read(w, at, part)) {
            return 0;
        }
        /* cppcheck-suppress knownConditionTrueFalse -- it does not see that left, and so part, is not 0 here */
        for (uint32_t i = 0; i < part; i++) {
            const uint32_t word = w->chunk[i];
            if (mask == 0) { /* a head: the number of a block, and which of its words follow */
                index = (word >> 16) * MB_BLOCK;
                mask = word & 0xFFFFu;
                continue;
            }
            for (; (mask & 1u) == 0; mask >>= 1) {
                index++;
            }
            if (index < words && window == MB_NO_WINDOW) {
                w->state[index] = word;
            } else if (index < words && index / MB_WINDOW == window) {
                mb_walk_mark(w, index, word);
            }
            mask >>= 1;
            index++;
        }
        left -= part;
        at += 4u * part;
    }
    return seal + w->seal;
}
