/* Where arrays lie, and bytes that must be zero: the part that all checks share. */
#include "check.h"

#if MB_HAS_CHECKS

MB_MINSIZE int mb_take_array(mb_section *left, uint32_t offset, uint32_t bytes)
{
    if ((offset & 3u) != 0 || offset - left->begin > left->end - left->begin || /* wraps if offset < begin */
        bytes > left->end - offset) {
        return 0;
    }
    left->begin = offset + bytes;
    return 1;
}

MB_MINSIZE int mb_all_zero(const uint8_t *p, size_t n)
{
    while (n-- > 0) {
        if (*p++ != 0) {
            return 0;
        }
    }
    return 1;
}

int mb_minor_is_known(const mb_model *m)
{
    return mb_u16_at(m->image + MB_AT_MINOR) <= MB_FORMAT_MINOR;
}

/* ORs the lanes beyond the last unit over all words of the last row. pitch: words in a row. */
MB_MINSIZE static uint32_t spare_lanes(const mb_layer *l, const uint8_t *words, uint32_t pitch)
{
    const uint32_t rows = MB_WORDS(l->units), spare = ~mb_last_mask(l->units);
    uint32_t bits = 0;
    /* cppcheck-suppress knownConditionTrueFalse -- spare is 0 where units is a multiple of 32 */
    for (uint32_t at = (rows - 1u) * pitch; spare != 0 && at < rows * pitch; at++) {
        bits |= mb_lanes_at(words, at, MB_HAS_DENSE && l->lanes16) & spare;
    }
    return bits;
}

MB_MINSIZE int mb_padding_is_zero(const mb_layer *l)
{
    const uint32_t pitch = l->inputs + 1u;
    uint32_t bits = spare_lanes(l, l->sign, pitch) | (MB_HAS_DENSE ? spare_lanes(l, l->levels, l->inputs * (l->bits - 1u)) : 0);
    for (uint32_t row = 0; 32u * row < l->units; row++) {
        bits |= mb_lanes_at(l->sign, row * pitch + l->inputs, MB_HAS_DENSE && l->lanes16);
    }
    return bits == 0;
}

MB_MINSIZE int mb_arrays_fit(const uint8_t *p, const uint32_t *bytes, unsigned in_state, mb_section *left)
{
    for (unsigned n = 0; n < 6u; n++) {
        const uint32_t offset = mb_u32_at(p + 16u + 4u * n);
        if (bytes[n] == 0 ? offset != 0 : !mb_take_array(left + ((in_state >> n) & 1u), offset, bytes[n])) {
            return 0;
        }
    }
    return 1;
}
#endif
