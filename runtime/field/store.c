/* The store: snapshots of the state in flash. */
#include "metabit_store.h"

enum { HEADER = 16, SLOTS = 3 }; /* bytes before the state of a snapshot; snapshots that have room at once, at least */

/* Rounds up to a multiple of a power of two. pre: n < 2^31. */
static uint32_t up(uint32_t n, uint32_t to)
{
    return (n + to - 1u) & ~(to - 1u);
}

uint32_t mb_store_pages(const mb_model *m, const mb_store *store)
{
    const uint32_t size = (uint32_t)mb_state_size(m), unit = store->program_size, page = store->page_size;
    if (size == 0 || unit == 0 || unit > 32u || (unit & (unit - 1u)) != 0 || page == 0 || (page & (unit - 1u)) != 0) {
        return 0;
    }
    const uint32_t snapshot = up(HEADER + size, unit) + up(8u, unit); /* size < 2^31 by FORMAT.md */
    return SLOTS * ((snapshot - 1u) / page + 1u);
}
