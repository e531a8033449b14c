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

/* Programs the first words of `chunk`, and behind them ones to the end of the unit. pre: words < MB_CHUNK or the unit ends there. */
MB_SMALL static int program(mb_walk *w, uint32_t at, uint32_t words)
{
    memset(w->chunk + words, 0xFF, sizeof w->chunk - 4u * words);
    return mb_walk_move(w, 1, at, w->chunk, mb_units(4u * words, w->unit));
}

/* Erases the pages that begin in from..to - 1. */
MB_SMALL static void erase(mb_walk *w, uint32_t from, uint32_t to)
{
    const mb_store *const s = w->store;
    for (uint32_t at = (from + s->page_size - 1u) / s->page_size * s->page_size; at < to; at += s->page_size) {
        if (s->erase(s->context, at) != 0) {
            w->failed = 1;
        }
    }
}

/* Programs the words that wait. */
MB_SMALL static void drain(mb_walk *w)
{
    if (w->fill != 0) {
        (void)program(w, w->at, w->fill);
        w->at += 4u * w->fill;
        w->fill = 0;
    }
}

/* Adds a word to the entry: counts it, or programs it too. */
MB_SMALL static void put(mb_walk *w, uint32_t word)
{
    if (w->count++ < w->total) {
        w->chunk[w->fill++] = word;
        w->sum = mb_sum_words(w->sum, &word, 1);
        if (w->fill == MB_CHUNK) {
            drain(w);
        }
    }
}

/* Marks the words of the window at `first` that the state has otherwise than snapshot and log. */
MB_SMALL static void compare(mb_walk *w, uint32_t first)
{
    const uint32_t words = w->size / 4u, end = words - first < MB_WINDOW ? words : first + MB_WINDOW;
    memset(w->marks, 0, sizeof w->marks);
    for (uint32_t i = first; i < end; i++) {
        if (i % MB_CHUNK == 0) {
            (void)mb_walk_read(w, w->begin + w->head + 4u * i, end - i < MB_CHUNK ? end - i : MB_CHUNK);
        }
        mb_walk_mark(w, i, w->chunk[i % MB_CHUNK]);
    }
    for (uint32_t at = w->log; at != 0 && at < w->end;) {
        at = mb_walk_follow(w, at, first / MB_WINDOW);
    }
}

/* Makes the entry by which the flash comes to hold the state, and programs its first w->total words; or, with total 0, counts them.
 * Each window ends at the end of a unit, with words 0 that are no head, because the next one needs `chunk`. */
MB_SMALL static void make(mb_walk *w)
{
    const uint32_t words = w->size / 4u;
    w->count = w->fill = 0;
    for (uint32_t first = 0; first < words; first += MB_WINDOW) {
        compare(w, first);
        if (first == 0) {
            put(w, w->total - 1u);
        }
        for (uint32_t block = first / MB_BLOCK; block < (first + MB_WINDOW) / MB_BLOCK; block++) {
            uint32_t mask = w->marks[block % (MB_WINDOW / MB_BLOCK)];
            if (mask == 0) {
                continue;
            }
            w->changed = 1;
            put(w, block << 16 | mask);
            for (uint32_t i = block * MB_BLOCK; mask != 0; mask >>= 1, i++) {
                if ((mask & 1u) != 0) {
                    put(w, w->state[i]);
                }
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
    const uint32_t at = from + mb_units(bytes, w->unit);
    if (w->failed || !mb_walk_sum_flash(w, from, bytes, &before) || before != w->sum) {
        return 0;
    }
    w->chunk[0] = before;
    w->chunk[1] = MB_WHOLE;
    return program(w, at, MB_STORE_SEAL / 4) && mb_walk_sealed(w, at, before) != 0;
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
    if (w->begin % w->slot != 0 || w->begin + w->slot < w->end || bytes > w->begin + w->slot - w->end) {
        return 0; /* no room; or the store was smaller once, and slots began elsewhere */
    }
    for (uint32_t at = w->end; at % page != 0 && at < w->end + bytes && at < w->end + 4u * MB_CHUNK; at += 4u) {
        if (!mb_walk_read(w, at, 1) || w->chunk[0] != 0xFFFFFFFFu) {
            return 0; /* a cut left something in the first bytes that a save programs at once */
        }
    }
    erase(w, w->end, w->end + bytes);
    w->at = w->end;
    w->total = words;
    make(w);
    return w->count == words && seal(w, w->end, 4u * words, before);
}

/* Writes a snapshot into the slot behind the newest, or into the first where none follows. Slots of another image have another size, but
 * at most a third of the flash, and begin at its multiples: where the newest leaves no slot behind it, it begins behind the first. */
MB_SMALL static int write_snapshot(mb_walk *w)
{
    const uint32_t slots = w->flash / w->slot, whole = w->size & ~(w->unit - 1u);
    w->begin = (w->end + w->slot - 1u) / w->slot % slots * w->slot;
    w->failed = 0;
    erase(w, w->begin, w->begin + w->snapshot);
    w->chunk[0] = w->identity;
    w->chunk[1] = w->size;
    w->chunk[2] = w->top + 1u;
    w->chunk[3] = mb_sum_words(MB_HEADER_SEED, w->chunk, 3);
    const uint32_t before = w->chunk[3];
    if (w->failed || !program(w, w->begin, MB_STORE_HEADER / 4) || !mb_walk_read(w, w->begin, MB_STORE_HEADER / 4) ||
        w->chunk[3] != before || mb_sum_words(MB_HEADER_SEED, w->chunk, 3) != before ||
        !mb_walk_move(w, 1, w->begin + w->head, w->state, whole)) {
        return 0;
    }
    memcpy(w->chunk, w->state + whole / 4u, w->size - whole);
    if (whole != w->size && !program(w, w->begin + w->head + whole, (w->size - whole) / 4u)) {
        return 0;
    }
    w->sum = mb_sum_words(before, w->state, w->size / 4u);
    return seal(w, w->begin + w->head, w->size, before);
}

MB_SMALL mb_status mb_save(const mb_model *m, const mb_store *store)
{
    mb_walk w;
    mb_status status = mb_walk_begin(&w, m, store);
    if (status == MB_OK) {
        status = mb_verify(m);
    }
    if (status == MB_OK) {
        const int found = mb_walk_find(&w, UINT32_MAX, 0);
        if (!found) { /* the first save of this image: the newest state of another stays until this one's is sealed */
            (void)mb_walk_find(&w, UINT32_MAX, 1);
        }
        status = (found && append(&w)) || write_snapshot(&w) ? MB_OK : MB_E_STORE;
    }
    return status;
}

/// Restoring ///

MB_SMALL static mb_status restore(mb_model *m, const mb_store *store, int older)
{
    mb_walk w;
    mb_status status = mb_walk_begin(&w, m, store);
    if (status != MB_OK) {
        return status;
    }
    int found = mb_walk_find(&w, UINT32_MAX, 0);
    uint32_t until = w.end;
    if (found && older) {
        until = w.last;
        w.damaged = w.foreign = 0;
        if (until == 0) { /* the newest is a snapshot without a log: the one before ends the slot before */
            found = mb_walk_find(&w, w.serial, 0);
            until = w.end;
        }
    }
    if (!found) {
        return w.failed ? MB_E_STORE : w.damaged ? MB_E_STATE_CRC : w.foreign && !older ? MB_E_IDENTITY : MB_E_NO_SNAPSHOT;
    }
    uint32_t at = mb_walk_move(&w, 0, w.begin + w.head, w.state, w.size) ? w.log : 0;
    while (at != 0 && at < until) {
        at = mb_walk_follow(&w, at, MB_NO_WINDOW);
    }
    const size_t arena = mb_arena_size(m, m->mode);
    status = at == 0 ? MB_E_STORE : mb_reattach(m, m->state, w.size, m->arena, arena);
    if (status == MB_OK) {
        status = mb_verify(m);
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
