/* Flash as chips have it, in memory: a unit is programmed once after an erase, a program clears bits only, power goes at any operation.
 *
 * One operation is the program of one unit or the erase of one page. Power goes in the middle of operation number `cut`; from then on
 * every call fails, until `nor_power` brings it back. `torn` says what the cut operation leaves. */
#ifndef NOR_H
#define NOR_H

#include <stdint.h>
#include <string.h>

#include "metabit_store.h"

#ifndef NOR_CUT /* a program without an operating system defines both: the end of power, and the end of a program with an error */
#include <stdlib.h>
#define NOR_CUT() ((void)0)
#define NOR_WRONG() abort()
#endif

enum torn {
    TORN_NOT,      /* nothing was done */
    TORN_UNSEEN,   /* nothing can be seen, but a unit does not take a program any more; of a page: still as it was */
    TORN_BITS,     /* some of the bits are as they should be; of a page: some of those that were 0 are 1 */
    TORN_PART,     /* the first bytes are done, the others not; of a page: its first half is erased */
    TORN_DONE,     /* all was done, nobody was told */
    TORN_NOISE,    /* of a unit: any bits are cleared, also others than asked; of a page: any bits */
    TORN_UNREADABLE, /* error correction refuses to read it until the next erase */
    TORN_KINDS
};

typedef struct nor {
    uint8_t *bytes;
    uint8_t *used; /* [units] 0 if blank; bit 0: programmed since the last erase; bit 1: cannot be read; bit 2: by somebody before */
    uint32_t page_size, pages, unit;
    uint64_t operations, programs, erases; /* programs, in bytes */
    uint64_t cut;                          /* number of the operation in which power goes; 0 for never */
    uint64_t worn;                         /* number of the program that leaves bits as `torn` says and succeeds; 0 for none */
    uint32_t fail;                         /* number of the call that fails, while power stays; 0 for never. It counts down */
    enum torn torn;
    int off;
    uint32_t refused; /* programs of a unit that was programmed already */
    uint32_t seed;
} nor;

static inline uint32_t nor_random(nor *n)
{
    n->seed ^= n->seed << 13;
    n->seed ^= n->seed >> 17;
    n->seed ^= n->seed << 5;
    return n->seed;
}

static inline int nor_refuses(nor *n, uint32_t at, uint32_t count)
{
    const uint64_t size = (uint64_t)n->page_size * n->pages;
    if (at > size || count > size - at || (count != 0 && at / n->page_size != (at + count - 1u) / n->page_size)) {
        NOR_WRONG(); /* outside of the flash, or across the end of a page: an error of the library, whatever the test */
    }
    return n->off || (n->fail != 0 && --n->fail == 0);
}

static inline int nor_read(void *context, uint32_t at, void *to, uint32_t count)
{
    nor *const n = context;
    if (nor_refuses(n, at, count)) {
        return -1;
    }
    for (uint32_t i = at; i < at + count; i++) {
        if ((n->used[i / n->unit] & 2u) != 0) {
            return -1;
        }
    }
    memcpy(to, n->bytes + at, count);
    return 0;
}

static inline void nor_tear_unit(nor *n, uint32_t at, const uint8_t *from)
{
    const uint32_t part = nor_random(n) % n->unit;
    n->used[at / n->unit] |= n->torn == TORN_NOT ? 0 : n->torn == TORN_UNREADABLE ? 3 : 1;
    for (uint32_t i = 0; i < n->unit; i++) {
        const uint8_t some = (uint8_t)nor_random(n);
        switch (n->torn) {
        case TORN_BITS: n->bytes[at + i] &= (uint8_t)(from[i] | some); break;
        case TORN_PART: n->bytes[at + i] &= i < part ? from[i] : 0xFF; break;
        case TORN_DONE: n->bytes[at + i] &= from[i]; break;
        case TORN_NOISE: n->bytes[at + i] &= some; break;
        default: break;
        }
    }
}

static inline int nor_program(void *context, uint32_t at, const void *bytes, uint32_t count)
{
    nor *const n = context;
    const uint8_t *from = bytes;
    if (at % n->unit != 0 || count % n->unit != 0) {
        NOR_WRONG();
    }
    if (nor_refuses(n, at, count)) {
        return -1;
    }
    for (; count != 0; count -= n->unit, at += n->unit, from += n->unit) {
        if (n->used[at / n->unit] != 0) {
            n->refused++;
            return -1;
        }
        if (++n->operations == n->cut) {
            nor_tear_unit(n, at, from);
            n->off = 1;
            NOR_CUT();
            return -1;
        }
        if (n->operations == n->worn) {
            nor_tear_unit(n, at, from);
            continue;
        }
        for (uint32_t i = 0; i < n->unit; i++) {
            n->bytes[at + i] &= from[i];
        }
        n->used[at / n->unit] = 1;
        n->programs += n->unit;
    }
    return 0;
}

static inline int nor_erase(void *context, uint32_t at)
{
    nor *const n = context;
    if (at % n->page_size != 0) {
        NOR_WRONG();
    }
    if (nor_refuses(n, at, n->page_size)) {
        return -1;
    }
    uint8_t *const page = n->bytes + at, *const used = n->used + at / n->unit;
    const uint32_t units = n->page_size / n->unit;
    n->erases++;
    if (++n->operations == n->cut) {
        n->off = 1;
        for (uint32_t i = 0; i < n->page_size; i++) {
            const uint8_t some = (uint8_t)nor_random(n);
            page[i] = n->torn == TORN_BITS ? page[i] | some : n->torn == TORN_NOISE ? some : page[i];
        }
        if (n->torn == TORN_DONE) {
            memset(used, 0, units);
        } else if (n->torn != TORN_NOT) {
            memset(used, n->torn == TORN_UNREADABLE ? 3 : 1, units); /* a page half erased takes no program */
        }
        if (n->torn == TORN_PART || n->torn == TORN_DONE) {
            memset(page, 0xFF, n->torn == TORN_DONE ? n->page_size : n->page_size / 2u);
        }
        NOR_CUT();
        return -1;
    }
    memset(page, 0xFF, n->page_size);
    memset(used, 0, units);
    return 0;
}

/* Power is back; the next cut is in operation `after` from now, 0 for never. */
static inline void nor_power(nor *n, uint64_t after, enum torn torn)
{
    n->off = 0;
    n->cut = after == 0 ? 0 : n->operations + after;
    n->torn = torn;
}

/* pre: bytes and used are readable; what flash holds when it is new is anything. */
static inline mb_store nor_store(nor *n)
{
    const mb_store store = {n, nor_read, nor_program, nor_erase, n->page_size, n->pages, n->unit};
    return store;
}

#endif
