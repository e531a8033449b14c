/* The output of k-bit levels that learns: docs/learning-rule.md, "Output levels". Plain and slow, one level an int8. */
#ifndef REFERENCE_LEVELS_H
#define REFERENCE_LEVELS_H

#include <stdint.h>

typedef struct levels_output {
    int k, K, C, dose, temperature, margin;
    const uint16_t *weaken; /* [2^(k-1)], 0..256 */
    int8_t *h;              /* [C][K + 1], -(2^(k-1) - 1) .. 2^(k-1) - 1; the last of a row is the offset */
    uint32_t z;             /* generator, not 0 */
    int moved, visited;     /* of the last step */
} levels_output;

/* score [C] of the grades x [K], -8..8. Returns the class with the highest score, the lowest on a tie. */
int levels_predict(const levels_output *o, const int8_t *x, int *score);

/* One step. score, error: [C], written. Returns 0 if the step was skipped. pre: C <= 1024 */
int levels_step(levels_output *o, const int8_t *x, int label, int *score, int *error);

#endif
