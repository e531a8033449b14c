/* The parts of the checks, each with what it needs of the others. check.c, check_arrays.c, check_gates.c. */
#ifndef MB_CHECK_H
#define MB_CHECK_H

#include "image.h"

/* Free rest of a section: left[0] constants, left[1] state. */
typedef struct mb_section {
    uint32_t begin, end;
} mb_section;

/* Takes an array of `bytes` at `offset` from the free rest of a section. Arrays come in the order of their records, so that
 * none can overlap another. pre: bytes < 2^31, by MB_MAX_UNITS. */
int mb_take_array(mb_section *left, uint32_t offset, uint32_t bytes);

int mb_all_zero(const uint8_t *p, size_t n);

/* True unless a later minor version wrote the image: that one may use bytes that are reserved here. */
int mb_minor_is_known(const mb_model *m);

/* True if the lanes beyond the last unit and the word ending each `sign` row are zero. */
int mb_padding_is_zero(const mb_layer *l);

/* True if the arrays of a record lie where they should; it takes them from the free rest. bytes [6]: their sizes, 0 for an array
 * that the layer does not have, whose offset must be 0. Bit n of `in_state`: array n lies in the state. */
int mb_arrays_fit(const uint8_t *p, const uint32_t *bytes, unsigned in_state, mb_section *left);

/* Checks all about a layer of cuts, gates, levels, head or triples. before: kind of the layer before. given: values that it gives;
 * of the first layer the bytes of one input. */
mb_status mb_check_gates(const mb_model *m, unsigned index, const mb_layer *l, unsigned before, uint32_t given, mb_section *left);

#endif
