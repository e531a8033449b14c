/* Learning that watches itself: a device stops learning, or takes its last good state back, where learning does harm.
 * field/guard.c; optional: a program that does not call it links none of it. docs/results/guard/README.md has what it costs and saves.
 *
 * `metabit export --guard 64 --data NAME` writes the guard data: a few dozen samples of the old task as tickets, labels and settings,
 * const in flash. Then mb_guard_learn takes the place of mb_learn:
 *
 *   static uint32_t copy[MODEL_STATE_WORDS];            // the last good state; or flash, or none at all
 *   const mb_guard_keep keep = {copy, mb_guard_copy, mb_guard_take_back};
 *   mb_guard guard;
 *   if (mb_guard_open(&guard, &m, model_guard, sizeof model_guard, &keep) != MB_OK) { ... }
 *   mb_guard_learn(&guard, &m, features, true_label, NULL);
 *   if (guard.status != MB_GUARD_WATCHING) { ... }      // tell someone: guard.reason says why
 *
 * A step is refused, and teaches nothing, where the input is the same as in the last steps (a stuck sensor), or the label is (one class
 * only). Learning ends in one of two ways:
 *
 *   MB_GUARD_FORGOT   more guard samples are wrong than the settings allow
 *   MB_GUARD_LABELS   the running accuracy has been below the settings' least for `patience` labelled samples, as it is where half of the
 *                     labels are wrong; and where a new task is too hard for this network: then call mb_guard_resume, or export with
 *                     another least
 *
 * Then the last good state returns, if there is one. Samples are still predicted, and learning goes on by itself when the running
 * accuracy is good again. */
/* The guard data, little-endian, without padding: "MBG1"; u32 identity of the image; u32 checksum of all that follows it (FNV-1a); then
 * u16 samples, bytes of a ticket, allowed, spared, least, good, patience, apart; u8 tests a step, repeats, run, 0; then the samples: u16
 * label, ticket. docs/learning-rule.md, "Guard", says what the settings do. A program may change them if it mends the checksum. */
#ifndef METABIT_GUARD_H
#define METABIT_GUARD_H

#include "metabit.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum mb_guard_status {
    MB_GUARD_WATCHING = 0,   /* it learns */
    MB_GUARD_STOPPED = 1,    /* it does not; the state is what it was when learning ended */
    MB_GUARD_ROLLED_BACK = 2 /* it does not; the state is the one that `restore` gave */
} mb_guard_status;

typedef enum mb_guard_reason { MB_GUARD_NONE = 0, MB_GUARD_FORGOT = 1, MB_GUARD_LABELS = 2 } mb_guard_reason;

/* Where a good state is kept. The guard calls save only for a state that has just passed its tests, and never keeps parts of two states:
 * so must these. Each returns MB_OK, or an error, which mb_guard.error keeps; restore then leaves the state as it was.
 *
 * In RAM: {copy, mb_guard_copy, mb_guard_take_back}, where copy has mb_state_size() bytes. In flash: functions that call mb_save and
 * mb_restore (metabit_store.h) on the context. The factory's state, without any memory: save NULL, and a restore that calls mb_attach. */
typedef struct mb_guard_keep {
    void *context;
    mb_status (*save)(void *context, const mb_model *m); /* NULL: nothing is saved */
    mb_status (*restore)(void *context, mb_model *m);    /* NULL: learning stops, and the state stays */
} mb_guard_keep;

mb_status mb_guard_copy(void *copy, const mb_model *m);
mb_status mb_guard_take_back(void *copy, mb_model *m);

/* Read it; the functions below change it. */
typedef struct mb_guard {
    const uint8_t *data;
    mb_guard_keep keep;
    uint8_t status, reason;  /* mb_guard_status, mb_guard_reason */
    uint32_t same[2];        /* inputs, and labels, that were the same as the one before, without a break */
    uint16_t right, right_now; /* guard samples that were right in the last whole test, and so far in this one */
    uint16_t next, last_label; /* guard sample that is tested next */
    uint32_t slow, fast;     /* running accuracy of the last 128 and 32 labelled samples, in 1/65536 */
    uint32_t low;            /* labelled samples without a break at whose time slow was below the settings' least */
    uint32_t apart;          /* steps since the last save */
    uint32_t last_input;     /* checksum */
    uint32_t learnt, refused, tests, saves, ends; /* counts: steps, refused ones, whole tests, saves, and how often learning ended */
    mb_status error;         /* of the last save or restore */
} mb_guard;

/* Checks the guard data, and saves the state of now if there is a `save`.
 *
 * m          attached for learning
 * data       len bytes from `metabit export --guard`, any alignment; must stay readable
 * keep       is copied; NULL: learning only stops
 * returns    MB_OK; MB_E_NULL; MB_E_FROZEN if it cannot learn; MB_E_GUARD if the data are damaged or of another image; or the
 *            error of the save. After an error mb_guard_learn returns MB_E_GUARD. */
mb_status mb_guard_open(mb_guard *g, const mb_model *m, const void *data, size_t len, const mb_guard_keep *keep);

/* mb_learn with the guard: one learning step, or one prediction where the step is refused or learning has ended, and the settings'
 * number of guard samples, by mb_predict_ticket. At worst a call ends with one save or one restore.
 *
 * info       as of mb_learn; skipped is 1 and the counts are 0 where nothing was learnt
 * returns    as mb_learn, or MB_E_GUARD without an open guard */
mb_status mb_guard_learn(mb_guard *g, mb_model *m, const void *input, uint16_t label, mb_learn_info *info);
mb_status mb_guard_learn_ticket(mb_guard *g, mb_model *m, const void *ticket, uint16_t label, mb_learn_info *info);

/* Lets the device learn again, from the state that it has, with a running accuracy that begins at the settings' good one. */
void mb_guard_resume(mb_guard *g);

#ifdef __cplusplus
}
#endif
#endif
