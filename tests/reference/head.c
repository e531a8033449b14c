/* The head: class means with a streamed covariance, in integers (head.h). No product needs more than 32 bits. */
#include "head.h"

enum { SEEN, DITHER, TURN };

/// Scores ///

/* ln(n) in units of 2^-14, linear between powers of two. pre: 1 <= n < 2^16; post: result < 2^18 */
static int32_t natural_log(uint32_t n)
{
    uint32_t exponent = 0;
    while ((n >> exponent) > 1u)
        exponent++;
    return (int32_t)((((exponent << 10) + (((n << 10) >> exponent) - 1024u)) * 11357u) >> 10);
}

static uint32_t largest_count(const mb_head *h)
{
    uint32_t most = 0;
    for (uint32_t r = 0; r < h->rows; r++)
        most = h->counts[r] > most ? h->counts[r] : most;
    return most;
}

/* Prior of a row: ln of its count, at most ln 4 below the largest, and H / 2n nats because a mean of n samples is uncertain. */
static void set_prior(const mb_head *h, uint32_t row, uint32_t most)
{
    const uint32_t n = h->counts[row], counted = n > most >> 2 ? n : most >> 2;
    if (n != 0)
        h->priors[row] = (h->prior ? natural_log(counted) : 0) + (int32_t)(8192u * h->values / n);
}

static void set_all_priors(const mb_head *h)
{
    const uint32_t most = largest_count(h);
    for (uint32_t r = 0; r < h->rows; r++)
        set_prior(h, r, most);
}

/* |sum| <= 128 * 127 * 32768 < 2^30 */
static void set_offset(const mb_head *h, uint32_t row)
{
    const int8_t *w = h->weights + row * h->values;
    const int16_t *mean = h->means + row * h->values;
    int32_t sum = 0;
    for (uint32_t j = 0; j < h->values; j++)
        sum += w[j] * mean[j];
    h->offsets[row] = -(sum >> 4);
}

void mb_head_derive(const mb_head *h)
{
    set_all_priors(h);
    for (uint32_t r = 0; r < h->rows; r++)
        set_offset(h, r);
}

/* |b| <= 2^26, |32 W x| <= 32 * 128 * 127 * 127 < 2^27, prior < 2^21: a score fits 32 bits. */
uint16_t mb_head_predict(const mb_head *h, const int8_t *x, int32_t *scores)
{
    const int8_t *w = h->weights;
    int32_t highest = INT32_MIN;
    uint16_t best = 0;
    for (uint16_t r = 0; r < h->rows; r++) {
        int32_t sum = 0, score = INT32_MIN;
        for (uint32_t j = 0; j < h->values; j++)
            sum += *w++ * x[j];
        if (h->counts[r] != 0)
            score = h->offsets[r] + 32 * sum + h->priors[r];
        if (scores)
            scores[r] = score;
        if (score > highest) {
            highest = score;
            best = r;
        }
    }
    return best;
}

/// Learning ///

/* S moves by A/65536 of the way to 4 r r', with one dither z for each row of S.
 *
 * pre:  4 <= A <= 1024, a multiple of 4;  |r| <= 90;  |S| <= 32768
 * post: |S (65536 - A) + 4 A r r + z| < 2^31, because 4 r r <= 32400 */
static void learn_covariance(const mb_head *h, const int8_t *x, uint32_t row, int16_t *residual)
{
    const int16_t *mean = h->means + row * h->values;
    const uint32_t n = h->counts[row];
    int16_t *s = h->covariance;
    if (h->counters[SEEN] < h->covariance_memory)
        h->counters[SEEN]++;
    uint32_t rate = 65536u / (h->counters[SEEN] < 64u ? 64u : h->counters[SEEN]);
    rate = (rate - rate / (n + 1u)) & ~3u;
    for (uint32_t j = 0; j < h->values; j++) {
        const int32_t r = x[j] - (mean[j] >> 8);
        residual[j] = (int16_t)(r > 90 ? 90 : r < -90 ? -90 : r);
    }
    uint32_t z = h->counters[DITHER];
    for (uint32_t p = 0; p < h->values; p++) {
        const int32_t kept = (int32_t)(65536u - rate), pull = 4 * (int32_t)rate * residual[p];
        z = (z + 40503u) & 65535u;
        for (const int16_t *r = residual, *const end = residual + (p | 1u) + 1u; r != end; r++, s++)
            *s = (int16_t)((*s * kept + pull * *r + (int32_t)z) >> 16);
    }
    h->counters[DITHER] = (uint16_t)z;
}

/* M moves by a/65536 of the way to the sample. |256 x - M| < 2^16 and a <= 2^15, so the product fits 32 bits. */
static void learn_mean(const mb_head *h, const int8_t *x, uint32_t row)
{
    int16_t *mean = h->means + row * h->values;
    const uint32_t n = h->counts[row];
    const int32_t rate = (int32_t)(65536u / ((n < h->memory ? n : h->memory) + 1u));
    uint32_t z = h->counters[DITHER];
    for (uint32_t j = 0; j < h->values; j++) {
        z = (z + 40503u) & 65535u;
        mean[j] = (int16_t)(mean[j] + (((x[j] * 256 - mean[j]) * rate + (int32_t)z) >> 16));
    }
    h->counters[DITHER] = (uint16_t)z;
}

/* Counts the sample and brings the priors up to date. */
static void count(const mb_head *h, uint32_t row)
{
    if (++h->counts[row] >= MB_HEAD_COUNT_LIMIT) {
        for (uint32_t r = 0; r < h->rows; r++) {
            const uint32_t n = h->counts[r], half = (n + 1u) >> 1;
            const uint32_t least = n < MB_HEAD_COUNT_FLOOR ? n : MB_HEAD_COUNT_FLOOR;
            h->counts[r] = (uint16_t)(half > least ? half : least);
        }
        set_all_priors(h);
        return;
    }
    /* The priors of other rows depend on a quarter of the largest count, rounded down. */
    const uint32_t most = largest_count(h);
    if (h->counts[row] == most && (most & 3u) == 0u)
        set_all_priors(h);
    else
        set_prior(h, row, most);
}

/* The weight nearest to target / step, clipped to -127..127; of two that are equally near, the one on the old weight's side.
 * pre: step >= 1;  |target| < 2^30;  |old| <= 127 */
static int8_t nearest(int32_t target, int32_t step, int32_t old)
{
    const int32_t half = step >> 1;
    int32_t off = target - step * old;
    if (off > 4 * step || off < -4 * step) {
        const int32_t moved = off / step;
        old += moved;
        off -= moved * step;
    }
    for (; off > half; off -= step)
        old++;
    for (; off < -half; off += step)
        old--;
    return (int8_t)(old > 127 ? 127 : old < -127 ? -127 : old);
}

/* Gauss-Seidel sweeps of one row of (S + EPS) W = 8 M, then the offset that follows.
 * |8 M - sum of S W| <= 8 * 32768 + 127 * 32768 * 127 < 2^30 */
static void sweep(const mb_head *h, uint32_t row, uint32_t sweeps)
{
    int8_t *w = h->weights + row * h->values;
    const int16_t *mean = h->means + row * h->values;
    while (sweeps-- != 0u) {
        const int16_t *s = h->covariance;
        for (uint32_t i = 0; i < h->values; i++) {
            int32_t target = 8 * mean[i];
            const int16_t *column = s + i;
            for (uint32_t j = 0; j < i; j++)
                target -= s[j] * w[j];
            for (uint32_t j = i + 1u; j < h->values; j++) {
                column += ((j - 1u) | 1u) + 1u; /* the length of row j - 1 */
                target -= *column * w[j];
            }
            const int32_t step = s[i] + h->ridge;
            w[i] = nearest(target, step < 1 ? 1 : step, w[i]);
            s += (i | 1u) + 1u;
        }
    }
    set_offset(h, row);
}

void mb_head_learn(const mb_head *h, const int8_t *x, uint16_t row, uint32_t step, int16_t *residual)
{
    const uint32_t known = h->counts[row];
    if (known != 0u) {
        if (h->covariance_memory != 0u)
            learn_covariance(h, x, row, residual);
        learn_mean(h, x, row);
    } else {
        for (uint32_t j = 0; j < h->values; j++)
            h->means[(uint32_t)row * h->values + j] = (int16_t)(x[j] * 256);
    }
    count(h, row);
    if (known != 0u && step % h->sweep_every != 0u) {
        set_offset(h, row);
        return;
    }
    sweep(h, row, known ? 1u : 3u);
    const uint16_t other = h->counters[TURN];
    h->counters[TURN] = (uint16_t)(other + 1u == h->rows ? 0u : other + 1u);
    if (other != row && h->counts[other] != 0u)
        sweep(h, other, 1u);
}
