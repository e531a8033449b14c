/* The head (head.h): scores, and one step of learning. No product needs more than 32 bits. */
#include "head.h"

#include "layers.h"
#include "learn.h"

#if MB_HAS_GATES

MB_MINSIZE void mb_head_at(const mb_layer *l, mb_head *h)
{
    const uint8_t *const p = l->own.record;
    const uint32_t values = mb_head_values(l), rows = p[48];
    h->values = values;
    h->rows = rows;
    h->classes = l->units;
    h->memory = mb_u16_at(p + 40);
    h->covariance_memory = mb_u16_at(p + 42);
    h->ridge = (int32_t)mb_u16_at(p + 44);
    h->prior = p[46];
    h->offsets = (mb_int *)(void *)l->levels;
    h->priors = h->offsets + rows;
    h->covariance = (mb_short *)(void *)(h->priors + rows);
    h->means = h->covariance + values * (values + 2u) / 2u;
    h->counts = (mb_half *)(void *)(h->means + rows * values);
    h->counters = h->counts + rows;
    h->weights = (int8_t *)(void *)(h->counters + 3);
    h->owner = p[49] > 1u ? (uint8_t *)h->weights + rows * values : NULL;
    h->doubt = (uint8_t *)h->weights + rows * values + rows;
}

/// Scores ///

/* ln(n) in units of 2^-14, linear between powers of two. pre: 1 <= n < 2^16; post: result < 2^18 */
static uint32_t natural_log(uint32_t n)
{
    uint32_t exponent = 0;
    while ((n >> exponent) > 1u) {
        exponent++;
    }
    return (((exponent << 10) + (((n << 10) >> exponent) - 1024u)) * 11357u) >> 10;
}

uint32_t mb_head_largest_count(const mb_head *h)
{
    uint32_t most = 0;
    for (uint32_t r = 0; r < h->rows; r++) {
        most = h->counts[r] > most ? h->counts[r] : most;
    }
    return most;
}

/* ln of the count, at most ln 4 below the largest, and H / 2n nats because a mean of n samples is uncertain. post: < 2^21 */
int32_t mb_head_prior(const mb_head *h, uint32_t row, uint32_t most)
{
    const uint32_t n = h->counts[row], counted = n > most >> 2 ? n : most >> 2;
    return n == 0 ? 0 : (int32_t)((h->prior ? natural_log(counted) : 0) + 8192u * h->values / n);
}

/* |sum| <= 128 * 128 * 32768 = 2^29 */
int32_t mb_head_offset(const mb_head *h, uint32_t row)
{
    const int8_t *w = h->weights + row * h->values;
    const mb_short *mean = h->means + row * h->values, *const end = mean + h->values;
    int32_t sum = 0;
    while (mean != end) {
        sum += *w++ * *mean++;
    }
    return -(sum >> 4);
}

/* |32 W x| <= 32 * 128 * 128 * 128 = 2^26. |b| <= 2^25 and prior < 2^21 in a state that mb_open has checked, so a score fits; with other
 * bits in RAM it wraps. */
static int32_t row_score(const mb_head *h, const int8_t *x, uint32_t row)
{
    const int8_t *w = h->weights + row * h->values;
    const int8_t *const end = x + h->values;
    int32_t sum = 0;
    while (x != end) {
        sum += *w++ * *x++;
    }
    return h->counts[row] == 0 ? INT32_MIN : (int32_t)((uint32_t)h->offsets[row] + 32u * (uint32_t)sum + (uint32_t)h->priors[row]);
}

/* Each row raises the score of its class. */
void mb_head_scores(const mb_layer *l, const int8_t *x, int32_t *scores)
{
    mb_head h;
    mb_head_at(l, &h);
    for (uint32_t c = 0; c < h.classes; c++) {
        scores[c] = INT32_MIN;
    }
    for (uint32_t r = 0; r < h.rows; r++) {
        const uint32_t c = h.owner != NULL ? h.owner[r] : r;
        if (c < h.classes) { /* else nobody's row */
            const int32_t score = row_score(&h, x, r);
            scores[c] = score > scores[c] ? score : scores[c];
        }
    }
}

/// Learning ///

#if MB_HAS_LEARN

/* S moves by A/65536 of the way to 4 r r', with one dither z for each row of S.
 *
 * A <= 1024, a multiple of 4; |r| <= 90; |S| <= 2^15. 4 r r <= 32400 < 2^15, so |S (65536 - A) + 4 A r r| <= 2^31 - 368 A, and with
 * S <= 32767 above and z < 2^16 no sum reaches 2^31 or passes -2^31. */
static void learn_covariance(const mb_head *h, const int8_t *x, uint32_t row, int16_t *residual)
{
    const mb_short *const mean = h->means + row * h->values;
    const uint32_t n = h->counts[row];
    mb_short *s = h->covariance;
    uint32_t seen = h->counters[MB_HEAD_SEEN], z = h->counters[MB_HEAD_DITHER];
    seen += seen < h->covariance_memory;
    h->counters[MB_HEAD_SEEN] = (uint16_t)seen;
    uint32_t rate = 65536u / (seen < MB_HEAD_COUNT_FLOOR ? (uint32_t)MB_HEAD_COUNT_FLOOR : seen);
    rate = (rate - rate / (n + 1u)) & ~3u;
    for (uint32_t j = 0; j < h->values; j++) {
        const int32_t r = x[j] - (mean[j] >> 8);
        residual[j] = (int16_t)(r > 90 ? 90 : r < -90 ? -90 : r);
    }
    const int32_t kept = (int32_t)(65536u - rate);
    for (uint32_t p = 0; p < h->values; p++) {
        const int32_t pull = 4 * (int32_t)rate * residual[p];
        z = (z + 40503u) & 65535u;
        for (const int16_t *r = residual, *const end = residual + (p | 1u) + 1u; r != end; r++, s++) {
            *s = (int16_t)((*s * kept + pull * *r + (int32_t)z) >> 16);
        }
    }
    h->counters[MB_HEAD_DITHER] = (uint16_t)z;
}

/* M moves by a/65536 of the way to the sample. 256 x - M is in -65535..65280 and a <= 2^15, so the sum fits 32 bits. */
static void learn_mean(const mb_head *h, const int8_t *x, uint32_t row)
{
    mb_short *const mean = h->means + row * h->values;
    const uint32_t n = h->counts[row];
    const int32_t rate = (int32_t)(65536u / ((n < h->memory ? n : h->memory) + 1u));
    uint32_t z = h->counters[MB_HEAD_DITHER];
    for (uint32_t j = 0; j < h->values; j++) {
        z = (z + 40503u) & 65535u;
        mean[j] = (int16_t)(mean[j] + (((x[j] * 256 - mean[j]) * rate + (int32_t)z) >> 16));
    }
    h->counters[MB_HEAD_DITHER] = (uint16_t)z;
}

/* Counts the sample and brings the priors up to date. Priors of other rows depend on a quarter of the largest count, rounded down. */
static void count(const mb_head *h, uint32_t row)
{
    const uint32_t reached = h->counts[row] + 1u, limit = MB_HEAD_COUNT_LIMIT, floor = MB_HEAD_COUNT_FLOOR;
    h->counts[row] = (uint16_t)reached;
    if (reached >= limit) {
        for (uint32_t r = 0; r < h->rows; r++) {
            const uint32_t n = h->counts[r], half = (n + 1u) >> 1, least = n < floor ? n : floor;
            h->counts[r] = (uint16_t)(half > least ? half : least);
        }
    }
    const uint32_t most = mb_head_largest_count(h);
    const int all = reached >= limit || (reached == most && (most & 3u) == 0);
    for (uint32_t r = all ? 0 : row; r < (all ? h->rows : row + 1u); r++) {
        h->priors[r] = mb_head_prior(h, r, most);
    }
}

/* The weight nearest to target / step, clipped to -127..127; of two that are equally near, the one on the old weight's side.
 * pre: 1 <= step < 2^17; |target| <= 2^29; |old| <= 128. |off| < 2^30, and no weight on the way is above that */
static int8_t nearest(int32_t target, int32_t step, int32_t old)
{
    const int32_t off = target - step * old;
    const uint32_t half = (uint32_t)step >> 1, away = mb_magnitude(off);
    if (away > half) {
        uint32_t over = away - half - 1u, moves = 1; /* it moves once, and once more for each step beyond half */
        if (over >= 4u * (uint32_t)step) {
            moves += over / (uint32_t)step;
        } else {
            for (; over >= (uint32_t)step; over -= (uint32_t)step) {
                moves++;
            }
        }
        old += off < 0 ? -(int32_t)moves : (int32_t)moves;
    }
    return (int8_t)(old > 127 ? 127 : old < -127 ? -127 : old);
}

/* Gauss-Seidel sweeps of one row of (S + EPS) W = 8 M, then the offset that follows.
 * |8 M - sum of S W| <= 8 * 32768 + 127 * 32768 * 128 < 2^29 */
static void sweep(const mb_head *h, uint32_t row, uint32_t sweeps)
{
    const uint32_t values = h->values;
    int8_t *const w = h->weights + row * values;
    const mb_short *const mean = h->means + row * values;
    while (sweeps-- != 0) {
        const mb_short *s = h->covariance;
        for (uint32_t i = 0; i < values; i++) {
            int32_t target = 8 * mean[i];
            const mb_short *column = s + i;
            for (uint32_t j = 0; j < i; j++) {
                target -= s[j] * w[j];
            }
            for (uint32_t j = i + 1u; j < values; j++) {
                column += ((j - 1u) | 1u) + 1u; /* the length of row j - 1 */
                target -= *column * w[j];
            }
            const int32_t step = s[i] + h->ridge;
            w[i] = nearest(target, step < 1 ? 1 : step, w[i]);
            s += (i | 1u) + 1u;
        }
    }
    h->offsets[row] = mb_head_offset(h, row);
}

/* The row that a sample of this class goes to, of a head whose classes own several; R if there is none. It may have become the class's
 * own just now. */
static uint32_t row_of(const mb_head *h, const mb_layer *l, const int8_t *x, uint32_t label, const int32_t *scores)
{
    const uint8_t *const p = l->own.record;
    uint32_t own = h->rows, first = h->rows, owned = 0, unused = 0, waiting = 0; /* waiting: classes without a row */
    int32_t rival = INT32_MIN;
    for (uint32_t r = h->rows; r-- > 0;) {
        if (h->owner[r] == MB_HEAD_FREE) {
            first = r;
            unused++;
        } else if (h->owner[r] == label) {
            owned++;
            own = row_score(h, x, r) == scores[label] ? r : own;
        }
    }
    for (uint32_t c = 0; c < h->classes; c++) {
        waiting += scores[c] == INT32_MIN;
        rival = c != label && scores[c] > rival ? scores[c] : rival;
    }
    if (scores[label] != INT32_MIN) {
        const uint32_t limit = p[51], behind = (uint32_t)rival - (uint32_t)scores[label];
        uint32_t doubt = h->doubt[label];
        if (rival > scores[label] && behind > (uint32_t)p[50] << 14) {
            doubt = doubt < limit ? doubt + 1u : limit;
        } else {
            doubt -= doubt != 0;
        }
        const int begins = doubt >= limit && owned < p[49] && unused > waiting;
        h->doubt[label] = (uint8_t)(begins ? 0 : doubt);
        if (!begins) {
            return own;
        }
    }
    if (first != h->rows) {
        h->owner[first] = (uint8_t)label;
    }
    return first;
}

mb_status mb_head_step(const mb_model *m, const mb_arena *arena, uint16_t label, mb_learn_info *info)
{
    const mb_layer *const l = arena->layers + arena->count - 1;
    const int8_t *const x = arena->values;
    mb_head h;
    mb_head_at(l, &h);
    const uint32_t row = h.owner != NULL ? row_of(&h, l, x, label, arena->scores) : label;
    MB_REFUSE(MB_E_LABEL, row == h.rows);
    MB_MARK(MB_UPDATE, arena->count - 1u);
    const uint32_t known = h.counts[row];
    if (known == 0) {
        for (uint32_t j = 0; j < h.values; j++) {
            h.means[row * h.values + j] = (int16_t)(x[j] * 256);
        }
    } else {
        if (h.covariance_memory != 0) {
            learn_covariance(&h, x, row, (int16_t *)arena->learn_scratch);
        }
        learn_mean(&h, x, row);
    }
    count(&h, row);
    sweep(&h, row, known != 0 ? 1u : 3u);
    const uint32_t turn = h.counters[MB_HEAD_TURN], other = turn < h.rows ? turn : 0; /* bits in RAM could have changed */
    h.counters[MB_HEAD_TURN] = (uint16_t)(other + 1u == h.rows ? 0 : other + 1u);
    if (other != row && h.counts[other] != 0) {
        sweep(&h, other, 1u);
    }
    info->predicted = mb_best_class(arena->scores, h.classes);
    ((mb_counters *)(void *)m->state)->steps++;
    MB_MARK(MB_DONE, arena->count);
    return MB_OK;
}
#endif
#endif
