/* metabit_float: from features in floating point to the input of a model that begins with cuts, or with units from nothing. The
 * library itself has no floats. */
#ifndef METABIT_FLOAT_H
#define METABIT_FLOAT_H

#include <string.h>

#include "metabit.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Writes the device's input of one sample: each feature becomes the nearest integer to (x - low) * steps, with the low and steps that the
 * image has for it (FORMAT.md, slot `scores`), limited to uint8 or int16. An image without them takes features that are the integers.
 *
 * x        F floats; NaN becomes the lowest integer
 * input    mb_input_size() bytes, any alignment, for mb_predict and mb_learn
 * returns  how many features were limited, NaN and features that were constant in training among them. A large number means that
 *          the device sees another range than training did;
 *          or UINT32_MAX, and nothing is written, if a pointer is NULL, nothing is open or the model begins with another layer
 *
 * pre: float is a 32-bit float, and each operation rounds to it, as with -std=c99 and without -ffast-math */
static inline uint32_t mb_quantise(const mb_model *m, const float *x, void *input)
{
    const uint8_t *const record = m != NULL && m->image != NULL ? m->image + 64 : NULL;
    if (record == NULL || x == NULL || input == NULL || (record[0] != 7 && record[0] != 11)) {
        return UINT32_MAX;
    }
    uint8_t *out = (uint8_t *)input;
    uint32_t scale, limited = 0;
    memcpy(&scale, record + 32, sizeof scale);
    const uint32_t wide = record[1], features = record[4] + 256u * record[5];
    const float most = wide ? 131070.0f : 510.0f; /* twice the largest integer, counted from the lowest */
    for (uint32_t f = 0; f < features; f++) {
        float low = wide ? -32768.0f : 0.0f, steps = 1.0f;
        if (scale != 0) {
            memcpy(&low, m->image + scale + 4u * f, sizeof low);
            memcpy(&steps, m->image + scale + 4u * (features + f), sizeof steps);
        }
        const float above = x[f] - low, twice = above * (2.0f * steps);
        const int inside = twice >= -1.0f && twice < most + 1.0f; /* not if it is NaN */
        const float halves = twice > 0.0f ? (twice < most ? twice : most) : 0.0f;
        const int32_t q = ((int32_t)halves + 1) >> 1;
        limited += !inside;
        if (wide) {
            const int16_t v = (int16_t)(q - 32768);
            memcpy(out + 2u * f, &v, sizeof v);
        } else {
            out[f] = (uint8_t)q;
        }
    }
    return limited;
}

#ifdef __cplusplus
}
#endif
#endif
