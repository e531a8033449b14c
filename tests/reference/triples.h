/* Units from nothing: three features each, one value for the head. docs/learning-rule.md specifies them to the bit. */
#ifndef MB_TRIPLES_H
#define MB_TRIPLES_H

#include <stdint.h>

/* H units over F features. The first half of the units are gates, the others steps.
 *
 * pre: 2 <= H <= 128, H even; index < F; |weight| <= 2
 *      0 <= feature_mul; |feature_add| <= 2^30; feature_shift <= 24
 *      |mul| <= 2^17; |add| <= 2^30; 0 <= top <= 2^30; -127 <= low <= high */
typedef struct mb_triples {
    uint16_t units; /* H */
    uint16_t wide;  /* 1: features are int16, 0: uint8 */
    const int16_t *feature_mul;   /* [F] */
    const int32_t *feature_add;   /* [F] */
    const uint8_t *feature_shift; /* [F] */
    const uint16_t *index;        /* [H][3] */
    const int8_t *weight;         /* [H][3] */
    const int32_t *mul;           /* [H] */
    const int32_t *add;           /* [H] */
    const int32_t *top;           /* [H/2] */
    const int8_t *low;            /* [H] */
    const int8_t *high;           /* [H] */
} mb_triples;

/* Writes the H values of one sample. features: F integers, uint8_t or int16_t. */
void mb_triples_values(const mb_triples *t, const void *features, int8_t *x);

#endif
