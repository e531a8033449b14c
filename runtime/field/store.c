/* The store: saving and restoring. metabit_store.h specifies the bytes, and what survives a power cut; store_log.c reads them.
 *
 * Why a log of words. A program costs time, an erase costs life: a page bears some 10,000 of them. One step of visits or levels leaves
 * most words of a state as they were, so a save appends the words that differ from what the flash holds. To find them it compares the
 * state with snapshot and log, 512 words at a time, one bit for each: no step notes what it changed, and no memory holds a second
 * state. The price: each 2 KB of the state read the whole log once more. A head changes nearly all its words in a step; its entry has
 * 1.06 times the bytes of its state, and costs no erase while it fits. So the store need not know how a network learns: it appends
 * what fits, and writes a snapshot where nothing does.
 *
 * Why no cut makes a mixture. A snapshot goes to a slot that is neither the newest nor the one before, nor, as the first of its image,
 * the newest of another; its pages are erased first, the header's page before all others; an entry goes behind the newest, to bytes that are blank, or in pages that are erased first.
 * Both count only with their seal, which is programmed last, after all before it was read back and has the right checksum. The
 * checksum of an entry continues that of the snapshot and the entries before it: bytes of an older log never fit. After a cut the next
 * save finds the bytes behind the newest entry not blank, and begins a new slot; where a program left no trace but spoilt the unit,
 * the driver refuses it and the save begins a new slot too. */
#include <string.h>

#include "store.h"

/// Saving ///

/* Erases the pages that begin in the next `bytes` to be programmed. */
MB_SMALL static void erase(mb_walk *w, uint32_t bytes)
{
    const mb_store *const s = w->store;
    const uint32_t end = w->to + bytes;
    for (uint32_t at = (w->to + s->page_size - 1u) / s->page_size * s->page_size; at < end; at += s->page_size) {
        if (s->erase(s->context, at) != 0) {
            w->failed = 1;
        }
    }
}

/* Programs the words that wait, and behind them ones to the end of the unit. pre: fill < MB_CHUNK or the unit ends there. */
MB_SMALL static void drain(mb_walk *w)
{
    const uint32_t bytes = 4u * w->fill;
    w->sum = mb_sum_words(w->sum, w->chunk, w->fill);
    memset((uint8_t *)w->chunk + bytes, 0xFF, sizeof w->chunk - bytes);
    (void)mb_walk_move(w, &w->to, w->chunk, mb_units(bytes, w->unit));
    w->fill = 0;
}

/* Adds a word to the entry: counts it, or programs it too. */
MB_SMALL static void put(mb_walk *w, uint32_t word)
{
    if (w->count++ < w->total) {
        w->chunk[w->fill++] = word;
        if (w->fill == MB_CHUNK) {
            drain(w);
        }
    }
}

/* Marks the words of the window that the state has otherwise than snapshot and log. */
MB_SMALL static void compare(mb_walk *w)
{
    const uint32_t words = w->size / 4u, end = words - w->first < MB_WINDOW ? words : w->first + MB_WINDOW;
    memset(w->marks, 0, sizeof w->marks);
    w->at = w->begin + w->head + 4u * w->first;
    for (uint32_t i = w->first; i < end; i++) { /* first is a multiple of MB_CHUNK */
        if (i % MB_CHUNK == 0) {
            (void)mb_walk_read(w, end - i);
        }
        mb_walk_take(w, i, w->chunk[i % MB_CHUNK]);
    }
    (void)mb_walk_follow(w, w->end);
}

/* Makes the entry by which the flash comes to hold the state, and programs its first w->total words; or, with total 0, counts them.
 * Each window ends at the end of a unit, with words 0 that are no head, because the next one needs `chunk`. */
MB_SMALL static void make(mb_walk *w)
{
    w->count = 0;
    for (w->first = 0; 4u * w->first < w->size; w->first += MB_WINDOW) {
        compare(w);
        if (w->first == 0) {
            put(w, w->total - 1u);
        }
        for (uint32_t i = 0; i < MB_WINDOW; i++) {
            const uint32_t mask = w->marks[i / MB_BLOCK], index = w->first + i;
            if (i % MB_BLOCK == 0 && mask != 0) {
                w->changed = 1;
                put(w, index / MB_BLOCK << 16 | mask);
            }
            if ((mask >> i % MB_BLOCK & 1u) != 0) {
                put(w, w->state[index]);
            }
        }
        while ((4u * w->count & (w->unit - 1u)) != 0) {
            put(w, 0);
        }
        drain(w);
    }
}

/* Reads back what was programmed, and seals it. before: checksum of all that lies before it. */
MB_SMALL static int seal(mb_walk *w, uint32_t from, uint32_t bytes, uint32_t before)
{
    const uint32_t sum = w->sum;
    w->sum = before;
    if (!mb_walk_sum(w, from, bytes) || w->failed || w->sum != sum) {
        return 0;
    }
    w->chunk[0] = sum;
    w->chunk[1] = MB_WHOLE;
    w->fill = MB_STORE_SEAL / 4;
    drain(w);
    w->sum = sum;
    return mb_walk_sealed(w) && !w->failed;
}

/* Appends the words that changed to the log. Returns 0 if they do not fit or could not be programmed. */
MB_SMALL static int append(mb_walk *w)
{
    const uint32_t before = w->sum, page = w->store->page_size;
    w->failed = 0;
    make(w);
    const uint32_t words = w->count, bytes = 4u * words + w->seal;
    if (w->failed || !w->changed) {
        return !w->failed;
    }
    if (w->begin % w->slot != 0 || w->end + bytes > w->begin + w->slot) {
        return 0; /* no room; or the store was smaller once, and slots began elsewhere */
    }
    for (w->at = w->end; w->at % page != 0 && w->at < w->end + bytes && w->at < w->end + 4u * MB_CHUNK;) {
        if (!mb_walk_read(w, 1) || w->chunk[0] != 0xFFFFFFFFu) {
            return 0; /* a cut left something in the first bytes that a save programs at once */
        }
    }
    w->to = w->end;
    erase(w, bytes);
    w->total = words;
    make(w);
    return w->count == words && seal(w, w->end, 4u * words, before);
}

/* Writes a snapshot into the slot behind the newest, or into the first where none follows. Slots of another image have another size, but
 * at most a third of the flash: the first is not part of a newest one that ends behind the last. */
MB_SMALL static int write_snapshot(mb_walk *w)
{
    const uint32_t next = (w->end + w->slot - 1u) / w->slot * w->slot, whole = w->size & ~(w->unit - 1u);
    w->begin = w->to = next + w->slot > w->flash ? 0 : next;
    w->failed = 0;
    erase(w, w->snapshot);
    w->chunk[0] = w->identity;
    w->chunk[1] = w->size;
    w->chunk[2] = w->top + 1u;
    const uint32_t before = w->chunk[3] = mb_sum_words(MB_HEADER_SEED, w->chunk, 3);
    w->fill = MB_STORE_HEADER / 4;
    drain(w);
    if (!mb_walk_header(w, w->begin) || w->chunk[3] != before) {
        return 0;
    }
    (void)mb_walk_move(w, &w->to, w->state, whole);
    w->sum = mb_sum_words(before, w->state, whole / 4u);
    w->fill = (w->size - whole) / 4u;
    memcpy(w->chunk, w->state + whole / 4u, 4u * w->fill);
    drain(w);
    return seal(w, w->begin + w->head, w->size, before);
}

MB_SMALL mb_status mb_save(const mb_model *m, const mb_store *store)
{
    mb_walk w;
    mb_status status = mb_walk_begin(&w, m, store);
    if (status == MB_OK) {
        status = mb_verify(m);
    }
    if (status != MB_OK) {
        return status;
    }
    if (w.end == 0) { /* the first save of this image: the newest state of another stays until this one's is sealed */
        (void)mb_walk_find(&w, UINT32_MAX, 1);
    } else if (append(&w)) {
        return MB_OK;
    }
    return write_snapshot(&w) ? MB_OK : MB_E_STORE;
}

/// Restoring ///

MB_SMALL static mb_status restore(mb_model *m, const mb_store *store, int older)
{
    mb_walk w;
    mb_status status = mb_walk_begin(&w, m, store);
    if (status != MB_OK) {
        return status;
    }
    uint32_t until = w.end;
    if (until != 0 && older) {
        until = w.last;
        w.damaged = w.foreign = 0;
        if (until == w.begin + w.head) { /* the newest is a snapshot without a log: the one before ends the slot before */
            until = mb_walk_find(&w, w.serial, 0);
        }
    }
    if (until == 0) {
        return w.failed ? MB_E_STORE : w.damaged ? MB_E_STATE_CRC : w.foreign && !older ? MB_E_IDENTITY : MB_E_NO_SNAPSHOT;
    }
    w.at = w.begin + w.head;
    w.first = MB_NO_WINDOW;
    const size_t arena = mb_arena_size(m, m->mode);
    status = MB_E_STORE;
    if (mb_walk_move(&w, &w.at, w.state, w.size) && mb_walk_follow(&w, until)) {
        status = mb_reattach(m, m->state, w.size, m->arena, arena);
        if (status == MB_OK) {
            status = mb_verify(m);
        }
    }
    if (status != MB_OK) {
        (void)mb_attach(m, m->state, w.size, m->arena, arena); /* the state is half written: the factory's is whole */
    }
    return status;
}

MB_SMALL mb_status mb_restore(mb_model *m, const mb_store *store)
{
    return restore(m, store, 0);
}

MB_SMALL mb_status mb_restore_older(mb_model *m, const mb_store *store)
{
    return restore(m, store, 1);
}
