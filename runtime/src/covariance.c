/* The head's covariance: how a sample moves it, and the sweeps that solve two rows of weights for it at once. head.h has its layout:
 * row p holds the columns 0..p|1, so rows 2n and 2n + 1 are equally long, an even number, and begin at a multiple of four bytes. */
#include "head.h"

#if MB_HAS_HEAD && MB_HAS_LEARN

void mb_head_learn_covariance(const mb_head *h, const int8_t *x, uint32_t row, int32_t *scratch)
{
    mb_residual *const residuals = (mb_residual *)scratch;
    const mb_short *const mean = h->means + row * h->values;
    uint32_t seen = h->counters[MB_HEAD_SEEN];
    seen += seen < MB_HEAD_COVARIANCE_MEMORY(h);
    h->counters[MB_HEAD_SEEN] = (uint16_t)seen;
    uint32_t rate = 65536u / (seen < MB_HEAD_COUNT_FLOOR ? (uint32_t)MB_HEAD_COUNT_FLOOR : seen);
    rate = (rate - rate / (h->counts[row] + 1u)) & ~3u;
    for (uint32_t j = 0; j < h->values; j++) {
        int32_t r = x[j] - (mean[j] >> 8);
        r = r > 90 ? 90 : r;
        residuals[j] = (mb_residual)((r < -90 ? -90 : r) * MB_RESIDUAL_UNIT);
    }
    mb_short *s = h->covariance;
    uint32_t z = h->counters[MB_HEAD_DITHER];
    for (uint32_t length = 2; length <= h->values; length += 2u) { /* two rows of this length */
        mb_head_move(s, residuals, residuals + length, rate, (z + 40503u) & 65535u);
        z += 2u * 40503u;
        s += 2u * length;
    }
    h->counters[MB_HEAD_DITHER] = (uint16_t)z;
}

/// Sweeps ///

/* over / step, or 255 where it is more: no weight moves farther than that. */
MB_INLINE uint32_t steps_in(uint32_t over, uint32_t step)
{
#ifdef MB_HEAD_BY_HAND /* these cores have no divider, and most quotients are small */
    uint32_t bit = 1, steps = 0;
    for (; over >= step && bit < 256u; bit <<= 1) {
        step <<= 1;
    }
    while ((bit >>= 1) != 0) {
        step >>= 1;
        if (over >= step) {
            over -= step;
            steps += bit;
        }
    }
    return steps;
#else
    return over / step;
#endif
}

/* The weight nearest to target / step, clipped to -127..127; of two that are equally near, the one on the old weight's side.
 * pre: |target| <= 2^29; step < 2^17; |old| <= 128. A step is at least 1, so |off| < 2^30 */
MB_NOINLINE int16_t nearest(int32_t target, int32_t step, int32_t old)
{
    step = step < 1 ? 1 : step;
    /* cppcheck-suppress shiftTooManyBitsSigned -- gcc and clang shift in the sign; the golden vectors show it */
    const int32_t off = target - step * old, sign = off >> 31;
    const uint32_t half = (uint32_t)step >> 1, away = (uint32_t)((off ^ sign) - sign);
    if (away > half) { /* it moves once, and once more for each step beyond half */
        const int32_t moves = 1 + (int32_t)steps_in(away - half - 1u, (uint32_t)step);
        old += (moves ^ sign) - sign;
    }
    old = old > 127 ? 127 : old;
    return (int16_t)(old < -127 ? -127 : old);
}

/* One Gauss-Seidel sweep of up to two rows of (S + EPS) W = 8 M, two values at a time: value i of a row, then value i + 1.
 * |8 M - sum of S W| <= 8 * 32768 + 127 * 32768 * 128 < 2^29 */
static void sweep(const mb_head *h, const mb_short *const *means, uint32_t rows, mb_word *weights)
{
    const mb_short *s = h->covariance;
    for (uint32_t i = 0; i < h->values; i += 2u) {
        int32_t sums[4];
        mb_head_row_sums(s, i, h->values, weights, sums);
        s += i;
        mb_short *const w = (mb_short *)(void *)(weights + i);
        for (uint32_t n = 0; n < 2u * rows; n++) {
            const uint32_t second = n & 1u, place = MB_NEXT_ROW * (n >> 1) + MB_NEXT_VALUE * second;
            const int32_t target = 8 * means[n >> 1][i + second] - sums[n] - s[i + 2u] * w[place ^ MB_NEXT_VALUE];
            w[place] = nearest(target, s[second * (i + 3u)] + MB_HEAD_RIDGE(h), w[place]);
        }
        s += i + 4u;
    }
}

/* Copies a row of weights to its place among the weights that are swept. */
MB_NOINLINE void take_row(const mb_head *h, uint32_t row, mb_short *w)
{
    const int8_t *from = h->weights + row * h->values;
    for (const int8_t *const end = from + h->values; from != end; w += 4) {
        w[0] = *from++;
        w[MB_NEXT_VALUE] = *from++;
    }
}

/* And back, with the offset that follows. */
MB_NOINLINE void give_row(const mb_head *h, uint32_t row, const mb_short *w)
{
    int8_t *to = h->weights + row * h->values;
    for (const int8_t *const end = to + h->values; to != end; w += 4) {
        *to++ = (int8_t)w[0];
        *to++ = (int8_t)w[MB_NEXT_VALUE];
    }
    h->offsets[row] = mb_head_offset(h, row);
}

void mb_head_sweep(const mb_head *h, uint32_t row, uint32_t other, uint32_t sweeps, int32_t *scratch)
{
    const uint32_t values = h->values;
    const mb_short *const means[2] = {h->means + row * values, h->means + other * values};
    mb_short *const w = (mb_short *)(void *)scratch;
    take_row(h, row, w);
    take_row(h, other, w + MB_NEXT_ROW);
    for (uint32_t rows = row == other ? 1u : 2u; sweeps-- != 0; rows = 1) {
        sweep(h, means, rows, (mb_word *)scratch);
    }
    give_row(h, row, w);
    if (row != other) {
        give_row(h, other, w + MB_NEXT_ROW);
    }
}
#endif
