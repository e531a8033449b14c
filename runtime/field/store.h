/* The parts of the store: what one call knows of the flash, and how it reads. store_log.c. */
#ifndef MB_STORE_PARTS_H
#define MB_STORE_PARTS_H

#include "metabit_store.h"

#if defined(__GNUC__)
typedef uint32_t __attribute__((may_alias)) mb_state_word; /* a state holds half words and bytes too */
#else
typedef uint32_t mb_state_word;
#endif

#if defined(__clang__)
#define MB_SMALL __attribute__((minsize)) /* the time of a call is that of the driver */
#else
#define MB_SMALL
#endif

enum { MB_CHUNK = 8, MB_WINDOW = 512 };          /* words read or programmed at once; words compared at once */
enum { MB_NO_WINDOW = 0xFFFF };
enum { MB_BLOCK = 16, MB_MOST_BLOCKS = 0xFFFF }; /* words that share one head in an entry; blocks of a state */
enum { MB_STORE_HEADER = 16, MB_STORE_SEAL = 8 }; /* bytes */
#define MB_HEADER_SEED 0x3153424Du               /* begins the checksum of a header */
#define MB_WHOLE 0x454C4857u                     /* second word of a seal */

/* The memory of one call: what it found in flash, and the words that it reads or writes. */
typedef struct mb_walk {
    const mb_store *store;
    uint32_t identity;
    mb_state_word *state;
    uint32_t size, unit, slot, flash; /* bytes of the state, of a program, of a slot, of all pages */
    uint32_t head, seal, snapshot;    /* bytes of a header, of a seal, of a snapshot with both, each rounded up to units */
    uint32_t serial, begin, top;      /* of the newest whole snapshot; its address; the highest serial, whole or not, of any image */
    uint32_t log, end, last;          /* where its log begins and ends, 0 without a snapshot; its last entry, or 0 if it has none */
    uint32_t sum;                     /* checksum of snapshot and log */
    uint32_t count, total;            /* an entry being made: words so far, all its words; total is 0 while they are counted */
    uint32_t fill, at;                /* words of `chunk` that wait to be programmed, and where */
    uint32_t chunk[MB_CHUNK];
    uint16_t marks[MB_WINDOW / MB_BLOCK]; /* words of the window that the flash has otherwise */
    uint8_t failed, damaged, foreign, changed; /* driver; a seal over a wrong checksum; a snapshot of another image; some word differs */
} mb_walk;

/* Rounds up to a multiple of a power of two. pre: n < 2^31. */
static inline uint32_t mb_units(uint32_t n, uint32_t unit)
{
    return (n + unit - 1u) & ~(unit - 1u);
}

/* Begins a call. Returns MB_OK; or MB_E_NULL, MB_E_DETACHED or MB_E_STORE_SIZE. */
mb_status mb_walk_begin(mb_walk *w, const mb_model *m, const mb_store *store);

/* Continues a checksum over flash. bytes: a multiple of 4. Returns 1, or 0 if a read failed. */
int mb_walk_sum_flash(mb_walk *w, uint32_t at, uint32_t bytes, uint32_t *sum);

/* Reads, or programs. No call of the driver crosses the end of a page. Returns 1, or 0 if one failed. */
int mb_walk_move(mb_walk *w, int programs, uint32_t at, void *bytes, uint32_t count);

/* Reads words into `chunk`. */
int mb_walk_read(mb_walk *w, uint32_t at, uint32_t words);

/* Returns the address behind the seal at `at` if it says that what lies before it is whole, else 0. */
uint32_t mb_walk_sealed(mb_walk *w, uint32_t at, uint32_t sum);

/* Finds the newest whole snapshot of this image, or of any, with a serial below the limit, and its log. Returns 0 if there is none. A
 * snapshot that cannot be read is not whole: the next save erases it. */
int mb_walk_find(mb_walk *w, uint32_t limit, int any);

/* Marks a word of the window if the state has it otherwise than the flash, else takes its mark away. */
void mb_walk_mark(mb_walk *w, uint32_t index, uint32_t word);

/* Goes through a whole entry: marks words of one window, or puts all its words into the state with MB_NO_WINDOW.
 * Returns the address behind the entry, 0 if a read failed. */
uint32_t mb_walk_follow(mb_walk *w, uint32_t at, uint32_t window);

#endif
