/* Coalesced Tsetlin machine: a clause is true where all of its literals are; true clauses add their weights to all classes.
 * A literal is 2 * input + 1 for an input that must be off, 2 * input for one that must be on. */
#include "bits.h"

void rival_predict(const void *x, int32_t *scores) {
    uint16_t on[INPUTS];
    uint8_t is_on[INPUTS] = {0};
    const uint32_t n = list_inputs(x, on);
    for (uint32_t i = 0; i < n; i++) {
        is_on[on[i]] = 1;
    }
    for (uint32_t c = 0; c < CLASSES; c++) {
        scores[c] = 0;
    }
    const uint16_t *literal = CONSTANTS(uint16_t, LITERALS), *counts = CONSTANTS(uint16_t, COUNTS);
    const int16_t *weight = CONSTANTS(int16_t, WEIGHTS);
    for (uint32_t j = 0; j < CLAUSES; j++, weight += CLASSES) {
        const uint16_t *const end = literal + counts[j];
        while (literal < end && is_on[*literal >> 1] != (*literal & 1)) {
            literal++;
        }
        if (literal == end) {
            for (uint32_t c = 0; c < CLASSES; c++) {
                scores[c] += weight[c];
            }
        }
        literal = end;
    }
}
