/* The head (head.h): scores, and one step of learning. No product needs more than 32 bits. */
#include "head.h"

#include "layers.h"
#include "learn.h"

#if MB_HAS_HEAD

MB_MINSIZE MB_ONE_COPY void mb_head_at(const mb_layer *l, mb_head *h)
{
    const uint8_t *const p = l->own.record;
    const uint32_t values = mb_head_values(l), rows = p[48];
    h->values = values;
    h->rows = rows;
    h->classes = l->units;
    h->record = p;
    h->offsets = (mb_int *)(void *)l->levels;
    h->priors = h->offsets + rows;
    h->covariance = (mb_short *)(void *)(h->priors + rows);
    h->means = h->covariance + values * (values + 2u) / 2u;
    h->counts = (mb_half *)(void *)(h->means + rows * values);
    h->counters = h->counts + rows;
    h->weights = (int8_t *)(void *)(h->counters + 3);
    h->owner = p[49] > 1u ? (uint8_t *)h->weights + rows * values : NULL;
}

/// Scores ///

/* ln(n) in units of 2^-14, linear between powers of two. pre: 1 <= n < 2^16; post: result < 2^18 */
static uint32_t natural_log(uint32_t n)
{
    uint32_t log = 0u - 1024u;
    for (n <<= 10; n >= 2048u; n >>= 1) {
        log += 1024u;
    }
    return ((log + n) * 11357u) >> 10;
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
MB_MINSIZE int32_t mb_head_prior(const mb_head *h, uint32_t row, uint32_t most)
{
    const uint32_t n = h->counts[row], counted = n > most >> 2 ? n : most >> 2;
    return n == 0 ? 0 : (int32_t)((MB_HEAD_PRIOR(h) ? natural_log(counted) : 0) + 8192u * h->values / n);
}

/* Each row raises the score of its class. */
void mb_head_scores(const mb_layer *l, const int8_t *x, int32_t *scores)
{
    mb_head h;
    mb_head_at(l, &h);
    const int8_t *w = h.weights;
    uint32_t second = 0;
    for (uint32_t c = 0; c < h.classes; c++) {
        scores[c] = INT32_MIN;
    }
    for (uint32_t r = 0; r < h.rows; r++) {
        uint32_t sum = second;
        if ((r & 1u) == 0) { /* two rows at a time */
            const uint64_t two = mb_head_products(w, r + 1u < h.rows ? w + h.values : w, x, h.values);
            sum = (uint32_t)two;
            second = (uint32_t)(two >> 32);
            w += 2u * h.values;
        }
        const uint32_t c = MB_HEAD_OWNED(&h) ? h.owner[r] : r;
        if (c < h.classes) { /* else nobody's row */
            const int32_t score = mb_head_row_score(&h, r, sum);
            scores[c] = score > scores[c] ? score : scores[c];
        }
    }
}

/// Learning ///

#if MB_HAS_LEARN

/* M moves by a/65536 of the way to the sample. 256 x - M is in -65535..65280 and a <= 2^15, so the sum fits 32 bits. The mean of a row
 * without samples moves all the way, a = 2^16, without a dither: modulo 2^16 that is the sample. */
static void learn_mean(const mb_head *h, const int8_t *x, uint32_t row)
{
    mb_short *mean = h->means + row * h->values;
    const uint32_t n = h->counts[row], memory = MB_HEAD_MEMORY(h), rate = 65536u / ((n < memory ? n : memory) + 1u);
    uint32_t z = h->counters[MB_HEAD_DITHER];
    for (const mb_short *const end = mean + h->values; mean != end; mean++) {
        z = (z + 40503u) & 65535u;
        *mean = (int16_t)(*mean + ((int32_t)((uint32_t)(*x++ * 256 - *mean) * rate + z) >> 16));
    }
    if (n != 0) {
        h->counters[MB_HEAD_DITHER] = (uint16_t)z;
    }
}

/* Counts the sample and brings the priors up to date. Priors of other rows depend on a quarter of the largest count, rounded down: it can
 * change only where this count is a multiple of four, as the limit is. */
MB_MINSIZE static void count(const mb_head *h, uint32_t row)
{
    const uint32_t reached = h->counts[row] + 1u, limit = MB_HEAD_COUNT_LIMIT, floor = MB_HEAD_COUNT_FLOOR;
    h->counts[row] = (uint16_t)reached;
    if (reached >= limit) {
        for (uint32_t r = 0; r < h->rows; r++) {
            uint32_t n = h->counts[r];
            const uint32_t least = n < floor ? n : floor;
            n = (n + 1u) >> 1;
            n = n > least ? n : least;
            h->counts[r] = (uint16_t)n;
        }
    }
    const uint32_t most = mb_head_largest_count(h);
    for (uint32_t r = 0; r < h->rows; r++) {
        if ((reached & 3u) == 0 || r == row) {
            h->priors[r] = mb_head_prior(h, r, most);
        }
    }
}

/* The row that a sample of this class goes to, of a head whose classes own several; R if there is none. It may have become the class's
 * own just now. */
MB_MINSIZE static uint32_t row_of(const mb_head *h, const int8_t *x, uint32_t label, const int32_t *scores)
{
    const uint8_t *const p = h->record;
    const int32_t best = scores[label];
    uint32_t own = h->rows, first = h->rows, owned = 0, spare = 0; /* spare: free rows less classes without a row */
    int32_t rival = INT32_MIN;
    for (uint32_t r = h->rows; r-- > 0;) {
        if (h->owner[r] == MB_HEAD_FREE) {
            first = r;
            spare++;
        } else if (h->owner[r] == label) {
            const int8_t *const w = h->weights + r * h->values;
            owned++;
            own = mb_head_row_score(h, r, (uint32_t)mb_head_products(w, w, x, h->values)) == best ? r : own;
        }
    }
    for (uint32_t c = 0; c < h->classes; c++) {
        spare -= scores[c] == INT32_MIN;
        rival = c != label && scores[c] > rival ? scores[c] : rival;
    }
    if (best != INT32_MIN) {
        uint8_t *const doubts = h->owner + h->rows;
        const uint32_t before = doubts[label], limit = p[51];
        uint32_t doubt = before - (before != 0);
        if (rival > best && (uint32_t)rival - (uint32_t)best > (uint32_t)p[50] << 14) {
            doubt = before < limit ? before + 1u : limit;
        }
        const int begins = doubt >= limit && owned < p[49] && (int32_t)spare > 0;
        doubts[label] = (uint8_t)(begins ? 0 : doubt);
        if (!begins) {
            return own;
        }
    }
    if (first != h->rows) {
        h->owner[first] = (uint8_t)label;
    }
    return first;
}

MB_MINSIZE int32_t mb_head_step(const mb_layer *l, const mb_arena *arena, uint32_t label, mb_counters *counters)
{
    const int8_t *const x = arena->values;
    mb_head h;
    mb_head_at(l, &h);
    const uint32_t row = MB_HEAD_OWNED(&h) ? row_of(&h, x, label, arena->scores) : label;
    MB_REFUSE(MB_E_LABEL, MB_HAS_ROWS && row == h.rows);
    MB_MARK(MB_UPDATE, arena->count - 1u);
    const uint32_t known = h.counts[row];
    if (known != 0 && MB_HEAD_COVARIANCE_MEMORY(&h) != 0) {
        mb_head_learn_covariance(&h, x, row, arena->learn_scratch);
    }
    learn_mean(&h, x, row);
    count(&h, row);
    const uint32_t steps = ++counters->steps, every = h.record[52];
    uint32_t other = row, sweeps = 0;
    if (known == 0 || steps >> every << every == steps) {
        const uint32_t turn = h.counters[MB_HEAD_TURN], next = turn < h.rows ? turn : 0; /* bits in RAM could have changed */
        h.counters[MB_HEAD_TURN] = (uint16_t)(next + 1u == h.rows ? 0 : next + 1u);
        other = h.counts[next] != 0 ? next : row;
        sweeps = known != 0 ? 1 : 3;
    }
    mb_head_sweep(&h, row, other, sweeps, arena->learn_scratch); /* without a sweep the offset alone follows */
    MB_MARK(MB_DONE, arena->count);
    return mb_best_class(arena->scores, h.classes);
}
#endif
#endif
