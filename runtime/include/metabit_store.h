/* Keeps what was learnt in flash, through restarts and power cuts. Optional: a program that does not call it links none of it.
 *
 *   mb_save(&model, &store);            // from time to time, and before power goes
 *   status = mb_restore(&model, &store);  // at start, after mb_attach: the newest state that was saved
 *
 * The program gives a part of its flash and a driver of three functions (examples/store has some). The library uses the pages in
 * turn, and writes only what changed since the last save where it can.
 *
 * A power cut at any moment of a save, in the middle of a program or an erase too, leaves the state before the save or the new
 * one, whole; at the next start mb_restore gives it. The state before that one is kept too (mb_restore_older), and mb_attach gives the
 * factory's. Bytes that cannot be read count as damaged: a damaged state does not hide the one before it. The first save of a new image
 * keeps the newest state of the old one, whole, until it is finished; later saves take its pages.
 *
 * A call keeps 188 bytes on the stack and needs 370 in all, driver and mb_verify apart (which takes as much as mb_open). Its time is
 * mostly the driver's: a save reads the newest snapshot four times and, for each 2 KB of the state, its log twice; then it programs,
 * and erases the pages that it enters.
 *
 * The bytes in flash. Numbers are little-endian words of 4 bytes. Every part begins at a multiple of program_size, with 0xFF before it.
 *
 *   snapshot   at the begin of a page
 *     header   identity of the image, bytes of the state, serial (1, 2, ... through all images), checksum of these three
 *     state    as in RAM
 *     seal     checksum of header and state, 0x454C4857
 *   log        behind the snapshot, one entry for each save
 *     entry    count of the words that follow; then blocks: a head, 65536 * block + mask, and for each bit i of the mask the new word
 *              16 * block + i of the state. A head 0 is empty.
 *     seal     checksum, continued from the seal before; 0x454C4857
 *
 * Checksums are those of FORMAT.md before the last inversion; a header's begins at 0x3153424D, and the state's continues it. An entry
 * without a right seal ends the log. The newest snapshot has the highest serial. A slot is a third of the pages, but at most what two
 * snapshots need and one page; snapshots begin at the slots in turn. */
#ifndef METABIT_STORE_H
#define METABIT_STORE_H

#include "metabit.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A part of flash, and the driver that reaches it. Each function returns 0, or anything else if it failed. Addresses count from the first
 * byte of this part. No call crosses the end of a page. No byte is programmed twice without an erase of its page in between, so flash
 * with error correction will do. `program` fails where the hardware refuses; the library reads back what it programs. */
typedef struct mb_store {
    void *context; /* passed to each function */
    int (*read)(void *context, uint32_t at, void *to, uint32_t count);            /* at, to and count: any */
    int (*program)(void *context, uint32_t at, const void *from, uint32_t count); /* at and count: multiples of program_size; from: of 4 */
    int (*erase)(void *context, uint32_t at);                                     /* the page that begins at `at`: to 0xFF */
    uint32_t page_size;    /* bytes that one erase clears: 32..2^24, a multiple of program_size */
    uint32_t pages;        /* less than 2^31 bytes in all; a store that has grown keeps what it holds */
    uint32_t program_size; /* bytes of one program: 1, 2, 4, 8, 16 or 32 */
} mb_store;

/* Returns how many bytes of flash a store needs at least, a multiple of page_size: `pages` and the functions are not read. More pages
 * last longer (docs/porting.md). 0 if nothing is open, the state has more than 4 MB, or page_size or program_size are not as above. */
uint32_t mb_store_size(const mb_model *m, const mb_store *store);

/* Saves the attached state. If the store holds it already, nothing is written.
 *
 * returns    MB_OK, and mb_restore will give this state; MB_E_NULL; MB_E_DETACHED without a state; MB_E_STORE_SIZE if the store is smaller
 *            than mb_store_size or of another size than above; the error of mb_verify, where bits of state or image changed by accident,
 *            and nothing was written; or MB_E_STORE if the driver failed, and what was saved before is still there */
mb_status mb_save(const mb_model *m, const mb_store *store);

/* Makes the newest saved state of this image the attached one: call it after mb_attach.
 *
 * returns    MB_OK; MB_E_NULL, MB_E_DETACHED or MB_E_STORE_SIZE as above; MB_E_NO_SNAPSHOT if nothing was saved, or no save was
 *            finished; MB_E_IDENTITY if another image has saved, and this one has not; MB_E_STATE_CRC if all that was saved is
 *            damaged; MB_E_STORE if a read failed and no whole snapshot was found: in all these the attached state is unchanged.
 *            MB_E_STORE if a read failed later, or an error of mb_verify if the bytes are no state: then it is the factory's */
mb_status mb_restore(mb_model *m, const mb_store *store);

/* mb_restore for the state of the save before the newest. It stays so until the next mb_save, which makes the attached state the newest.
 * returns    as mb_restore; MB_E_NO_SNAPSHOT too if only one state was saved */
mb_status mb_restore_older(mb_model *m, const mb_store *store);

#ifdef __cplusplus
}
#endif
#endif
