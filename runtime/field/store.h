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
#define MB_NO_WINDOW 0xFFFFFFFFu
enum { MB_BLOCK = 16, MB_MOST_BLOCKS = 0xFFFF }; /* words that share one head in an entry; blocks of a state */
enum { MB_STORE_HEADER = 16, MB_STORE_SEAL = 8 }; /* bytes */
#define MB_HEADER_SEED 0x3153424Du               /* begins the checksum of a header */
#define MB_WHOLE 0x454C4857u                     /* second word of a seal */

/* The memory of one call: what it found in flash, and the words that it reads or writes. Bytes stand first, because one instruction
 * reaches them there. */
typedef struct mb_walk {
    uint8_t failed, damaged, foreign, changed; /* driver; a seal over a wrong checksum; a snapshot of another image; some word differs */
    uint32_t at, to;                           /* where the next read and the next program begin */
    uint32_t sum;                              /* checksum of all that was read or programmed in this part */
    const mb_store *store;
    uint32_t chunk[MB_CHUNK];
    uint32_t fill;                    /* words of `chunk` that wait to be programmed */
    uint32_t count, total;            /* an entry being made: words so far, all its words; total is 0 while they are counted */
    uint32_t identity, size;          /* of the image; bytes of the state */
    mb_state_word *state;
    uint32_t unit, slot, flash;       /* bytes of a program, of a slot, of all pages */
    uint32_t head, seal, snapshot;    /* bytes of a header, of a seal, of a snapshot with both, each rounded up to units */
    uint32_t serial, begin, top;      /* of the newest whole snapshot; its address; the highest serial, whole or not, of any image */
    uint32_t end, last;               /* where its log ends, 0 without a snapshot; its last entry, or its state if the log is empty */
    uint32_t first;                   /* of the words that are compared now, or MB_NO_WINDOW */
    uint16_t marks[MB_WINDOW / MB_BLOCK]; /* words of the window that the flash has otherwise */
} mb_walk;

/* Rounds up to a multiple of a power of two. pre: n < 2^31. */
static inline uint32_t mb_units(uint32_t n, uint32_t unit)
{
    return (n + unit - 1u) & ~(unit - 1u);
}

/* Begins a call, and finds the newest whole snapshot of this image. Returns MB_OK; or MB_E_NULL, MB_E_DETACHED or MB_E_STORE_SIZE. */
mb_status mb_walk_begin(mb_walk *w, const mb_model *m, const mb_store *store);

/* Finds the newest whole snapshot of this image, or of any, with a serial below the limit, and its log. Returns where the log ends, or 0
 * if there is none. A snapshot that cannot be read is not whole: the next save erases it. */
uint32_t mb_walk_find(mb_walk *w, uint32_t limit, int any);

/* Reads a header: returns 1 if it has the right checksum. */
int mb_walk_header(mb_walk *w, uint32_t at);

/* Reads at `at`, or programs at `to`, whichever it is given, and moves it on. No call of the driver crosses the end of a page. After a
 * failure nothing is programmed. Returns 1, or 0 if a call failed. */
int mb_walk_move(mb_walk *w, uint32_t *at, void *bytes, uint32_t count);

/* Reads words into `chunk`, as many as it has room for. Returns their number, or 0 if a read failed. */
uint32_t mb_walk_read(mb_walk *w, uint32_t words);

/* Continues the checksum over flash. bytes: a multiple of 4. Returns 1, or 0 if a read failed. */
int mb_walk_sum(mb_walk *w, uint32_t at, uint32_t bytes);

/* Reads the seal that follows, and moves behind it. Returns 1 if it says that what lies before it is whole. */
int mb_walk_sealed(mb_walk *w);

/* Takes a word as the flash has it: into the state with MB_NO_WINDOW. Else, if it lies in the window, marks it if the state has it
 * otherwise, and takes its mark away if not. */
void mb_walk_take(mb_walk *w, uint32_t index, uint32_t word);

/* Takes all words of the log, from its begin to the address. Returns 1, or 0 if a read failed. */
int mb_walk_follow(mb_walk *w, uint32_t until);

#endif
