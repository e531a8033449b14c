/* Updates: a new image takes over from a learned one what still fits. Optional: a program that does not call it links none of it.
 *
 *   mb_open(&old, old_image, ...);                        // both images lie in flash
 *   mb_open(&m, new_image, ...); mb_attach(&m, ...);      // the new one begins as it left the factory
 *   status = mb_merge(&m, &old, saved_state, &merged);    // and takes over what the old one learnt
 *
 * All that the new image's computer made is taken from the new image; only its state changes. It takes over:
 *
 *   equal identity                        the whole state
 *   else, if all below the lowest layer that learns is equal:
 *     head                                covariance; means, counts and weights of every class that both have
 *     output levels                       the levels of every class that both have
 *     visits, votes                       all levels, if the thresholds and whatever does not learn are equal for every class that both
 *                                         have; by votes the kept samples too, if the batch is
 *   else                                  nothing: the new image stays as it left the factory
 *
 * Classes are equal by name (the images' notes); without names, and where both have none for a class, by number. Any other class is as in the
 * new image. Rates, tables, memories and the number of rows are the new image's. */
#ifndef METABIT_MERGE_H
#define METABIT_MERGE_H

#include "metabit.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum mb_merge_result {
    MB_MERGED_ALL = 0,       /* the images differ only in what was learnt */
    MB_MERGED_CLASSES = 1,   /* what was learnt about `kept` classes, and what all classes share */
    MB_MERGED_NO_RULE = 2,   /* nothing, and so on: one of them does not learn, or they learn by different rules */
    MB_MERGED_NO_BELOW = 3,  /* the inputs or the layers below the learning one differ */
    MB_MERGED_NO_SHAPE = 4,  /* the learning layers have other sizes, or another number of bits */
    MB_MERGED_NO_CONSTANTS = 5, /* thresholds, scales or weights that do not learn differ */
    MB_MERGED_NO_CLASS = 6   /* no class that the old one knows is in the new one */
} mb_merge_result;

typedef struct mb_merged {
    mb_merge_result result;
    uint16_t kept, fresh, gone; /* classes of the new image that were taken over; that are as in the new image; of the old one that it lacks */
} mb_merged;

/* Takes over what fits into the attached state. Nothing has changed unless the result is MB_MERGED_ALL or MB_MERGED_CLASSES.
 *
 * old        the opened old image; it needs no memories
 * state      mb_state_size(old) bytes that it learnt, 4-byte aligned, in RAM or flash; NULL: the state in the old image
 * merged     is filled; or NULL
 * returns    MB_OK, also where nothing fits, and a host calls mb_widen again; MB_E_NULL; MB_E_DETACHED if m has no state; MB_E_ALIGN; or the
 *            error of mb_verify for the old image with this state */
mb_status mb_merge(mb_model *m, const mb_model *old, const void *state, mb_merged *merged);

/* Returns one English sentence for a result. Never NULL. */
const char *mb_merge_sentence(mb_merge_result result);

enum { MB_NO_CLASS = 0xFFFF };

/* Returns the name of a class as the notes write it, UTF-8 with JSON's escapes and without a zero at its end, and its bytes in *len; NULL
 * if it has none. pre: len is not NULL. */
const char *mb_class_name(const mb_model *m, uint16_t c, uint32_t *len);

/* Returns the class of the image `from` that is class c of the image `to`, or MB_NO_CLASS. */
uint16_t mb_class_in(const mb_model *from, const mb_model *to, uint16_t c);

/* A part of mb_merge: layers by visits or votes, from index `lowest` on. pre: both models and the state are checked, all below is equal. */
mb_merge_result mb_merge_weights(const mb_model *m, const mb_model *old, const void *state, uint32_t lowest);

#ifdef __cplusplus
}
#endif
#endif
