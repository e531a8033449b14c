/* A dense layer on vectors of any width. Included once a width with LANES (the vector), TARGET (the function's attributes),
 * NAME(x), FULL_ADD(high, low, a, b, c) and ADD_EIGHT defined. The scheme is that of src/columns.h, whose comments say why; here a block is
 * as many units as the vector has bits, its rows one vector for each input, and a zero row that pads lists. */

/* Sign of V + c, as mb_sign_of_sum. */
TARGET static inline void NAME(sign_of_sum)(const LANES *v, unsigned planes, int32_t c, LANES *sign)
{
    LANES carry = {0};
    uint32_t bits = (uint32_t)c;
    for (unsigned p = 0; p + 1u < planes; p++, bits >>= 1) {
        carry = (bits & 1u) ? (v[p] | carry) : (v[p] & carry);
    }
    *sign = (bits & 1u) ? ~(v[planes - 1u] ^ carry) : v[planes - 1u] ^ carry;
}

/* A block's words, as many of them as the layer has. */
TARGET static inline void NAME(put)(uint32_t *out, const LANES *block, uint32_t words)
{
    if (words >= sizeof *block / 4u) {
        memcpy(out, block, sizeof *block);
    } else {
        uint32_t all[sizeof *block / 4u];
        memcpy(all, block, sizeof all);
        for (uint32_t i = 0; i < words; i++) {
            out[i] = all[i];
        }
    }
}

/* list: padded to a multiple of 16 with the zero row's number. scratch: a vector for each 16, and 7. */
TARGET static void NAME(dense)(const mb_wide_layer *c, const uint16_t *list, uint32_t active, uint32_t *out, uint32_t *mask,
                               void *scratch)
{
    const unsigned planes = c->of.planes;
    const uint32_t words = MB_WORDS(c->of.units), step = sizeof(LANES) / 4u, sixteens = (active + 15u) >> 4;
    const LANES *w = (const LANES *)(const void *)c->sign, *fold = (const LANES *)(const void *)c->fold;
    const LANES none = {0};
    LANES *const carry = scratch;
    LANES *const tail = carry + sixteens;
    tail[0] = tail[1] = tail[2] = tail[3] = tail[4] = tail[5] = tail[6] = none;
    for (uint32_t at = 0; at < words; at += step, w += c->of.inputs + 1u, fold += planes) {
        LANES v[MB_PLANES_MAX], over = none;
        uint32_t minus = 0u - active;
        v[6] = v[7] = none; /* what a layer of few planes does not have */
        for (unsigned p = 0; p < planes; p++, minus >>= 1) { /* V starts as fold - active */
            const LANES m = none + ALL[minus & 1u], x = fold[p];
            v[p] = x ^ m ^ over;
            over = (x & m) | (over & (x ^ m));
        }
        LANES ones = v[1], twos = v[2], fours = v[3], eights = v[4];
        const uint16_t *i = list;
        for (uint32_t n = 0; n < sixteens; n++, i += 16) {
            LANES e0, e1;
            ADD_EIGHT(e0, ones, twos, fours, w[i[0]], w[i[1]], w[i[2]], w[i[3]], w[i[4]], w[i[5]], w[i[6]], w[i[7]]);
            ADD_EIGHT(e1, ones, twos, fours, w[i[8]], w[i[9]], w[i[10]], w[i[11]], w[i[12]], w[i[13]], w[i[14]], w[i[15]]);
            FULL_ADD(carry[n], eights, e0, e1, eights);
        }
        v[1] = ones;
        v[2] = twos;
        v[3] = fours;
        v[4] = eights;
        ones = v[5];
        twos = v[6];
        fours = v[7];
        for (uint32_t n = 0; n < sixteens; n += 8u) {
            const LANES *x = carry + n;
            ADD_EIGHT(over, ones, twos, fours, x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]);
            for (unsigned p = 8; p < planes; p++) {
                const LANES sum = v[p] ^ over;
                over &= v[p];
                v[p] = sum;
            }
        }
        v[5] = ones;
        v[6] = twos;
        v[7] = fours;
        const LANES on = ~v[planes - 1u];
        NAME(put)(out + at, &on, words - at);
        if (mask != NULL) { /* -window <= V <= window */
            LANES above, below;
            NAME(sign_of_sum)(v, planes, (int32_t)c->of.window, &below);
            NAME(sign_of_sum)(v, planes, -(int32_t)c->of.window - 1, &above);
            const LANES open = ~below & above;
            NAME(put)(mask + at, &open, words - at);
        }
    }
    const uint32_t exist = mb_lane_mask(c->of.units, words - 1u);
    out[words - 1u] &= exist;
    if (mask != NULL) {
        mask[words - 1u] &= exist;
    }
}
#undef LANES
#undef TARGET
#undef NAME
#undef FULL_ADD
#undef ADD_EIGHT
