/* Graded units, and learning by votes, in plain loops: docs/learning-rule.md, "Graded units and votes". */
#include "reference.h"

int votes[BATCH][UNITS], seen[BATCH][8 * UNITS], slot;

/* grade [N] from V [N]; returns low and high. */
void grade(const layer *l, const int *v, int *low, int *high, int *out)
{
    int64_t sum = 0;
    for (int i = 0; i < l->N; i++) {
        sum += abs(v[i]);
    }
    const int64_t mean = 16 * sum / l->N;
    *low = (int)((mean * l->low) >> 12), *high = (int)((mean * l->high) >> 12);
    const int width = larger(1, *high - *low);
    for (int i = 0; i < l->N; i++) {
        out[i] = 8 - (int)(((int64_t)smaller(larger(abs(v[i]) - *low, 0), width) * ((1 << 20) / width) + (1 << 15)) >> 16);
    }
}

int unsure(const layer *l, int i, int j)
{
    const int h = l->h[i * l->K + j], r = h >= 0 ? h : -1 - h;
    return l->k >= 2 && 4 * r < 1 << l->k;
}

/* One pass's error for each unit is added to delta, from its V. Returns its true error. */
static int pass_error(const layer *l, const layer *out, const int *v, int label, int *delta)
{
    const int C = out->N;
    int low, high, n[UNITS], e[UNITS], grades[UNITS], D[UNITS], top = 0, A = 0;
    int64_t sum = 0, p = 0, squares = 0;
    grade(l, v, &low, &high, grades);
    output(out, grades);
    for (int c = 0; c < C; c++) {
        sum += score[c];
    }
    for (int c = 0; c < C; c++) {
        D[c] = (int)((int64_t)score[c] * C - sum);
        top = larger(top, abs(D[c]));
    }
    for (int t = top; top != 0 && t < 512; t *= 2) {
        for (int c = 0; c < C; c++) {
            D[c] *= 2;
        }
    }
    int right = 0;
    while (top >> right > 1023) {
        right++;
    }
    for (int c = 0; c < C; c++) {
        D[c] = sign(D[c]) * (abs(D[c]) >> right);
        A += abs(D[c]);
        squares += D[c] * D[c];
    }
    for (int c = 0; c < C; c++) {
        n[c] = (int)((int64_t)(D[argmax(D, C)] - D[c]) * temperature / larger(1, A));
    }
    const int E = softmax_error(n, C, label, e);
    for (int c = 0; c < C; c++) {
        p += e[c] * D[c];
    }
    const int64_t f = C == 2 ? 0 : llabs(p) / (squares >> 8 != 0 ? squares >> 8 : 1);
    for (int c = 0; c < C; c++) {
        e[c] -= (p < 0 ? -1 : 1) * sign(D[c]) * (int)((abs(D[c]) * f + 128) >> 8);
    }
    for (int i = 0; i < l->N; i++) {
        int b = 0;
        for (int c = 0; c < C; c++) {
            b += weight(out, c, i) * e[c];
        }
        if (abs(v[i]) > low && abs(v[i]) < high) {
            delta[i] -= (v[i] < 0 ? -1 : 1) * b;
        } else if (abs(v[i]) > low && b < 0) {
            delta[i] += (v[i] < 0 ? -1 : 1) * (-b / 4);
        }
    }
    return E;
}

/* v [4][N] = V of four passes that share their draws. */
static void sampled(const layer *l, const int *in, int v[4][UNITS])
{
    for (int first = 0; first < l->N; first += 32) {
        for (int q = 0; q < 4; q++) {
            for (int i = first; i < smaller(first + 32, l->N); i++) {
                v[q][i] = -2 * l->theta[i];
            }
        }
        for (int bit_number = 0; bit_number < l->P * l->K; bit_number++) {
            if (!in[bit_number]) {
                continue;
            }
            const uint32_t a = draw32(), b = a << 13 | a >> 19, flips[4] = {a & b, a & ~b, ~a & b, ~a & ~b};
            for (int i = first; i < smaller(first + 32, l->N); i++) {
                const int j = bit_number % l->K, u = 2 * weight(l, i, j);
                for (int q = 0; q < 4; q++) {
                    v[q][i] += (flips[q] >> (i - first)) & 1 && unsure(l, i, j) ? -u : u;
                }
            }
        }
    }
}

static void count(layer *l, int b)
{
    for (int first = 0; first < l->N; first += 32) {
        for (int j = b; j < l->K; j += l->batch) {
            for (int i = first; i < smaller(first + 32, l->N); i++) {
                int n = 0, s = 0;
                for (int t = 0; t < l->batch; t++) {
                    for (int p = 0; p < l->P; p++) {
                        n += seen[t][p * l->K + j] * abs(votes[t][i]);
                        s += seen[t][p * l->K + j] * votes[t][i];
                    }
                }
                const int64_t above = smaller(65535, 16 * abs(s) - l->need[n]), sure = (above * l->gain) >> 4;
                if (above > 0) {
                    const int u = draw(), t = entry(l, i, j, s > 0);
                    visited++;
                    if (t >= 0 && u < ((sure < 65535 ? sure : 65535) * (t + 1)) >> 16) {
                        move(l, i, j, s > 0);
                    }
                }
            }
        }
    }
}

void vote_step(int l, int label)
{
    layer *L = &net[l];
    int delta[UNITS] = {0}, asked[UNITS] = {0}, E = 0, any = 0;
    int64_t rate[UNITS];
    static int v[4][UNITS];
    for (int s = 0; s < L->draws; s++) {
        if (s % 4 == 0) {
            sampled(L, x[l], v);
        }
        E += pass_error(L, &net[l + 1], v[s % 4], label, delta);
    }
    E /= L->draws;
    skipped = E == 0 || E < margin || !rates(L, delta, E, rate);
    for (int i = 0; !skipped && i < L->N; i++) {
        asked[i] = delta[i] == 0 ? 0 : -sign(delta[i]) * (int)((3 * rate[i] + draw()) >> 16);
        any |= asked[i];
    }
    if (any) {
        memcpy(votes[slot], asked, sizeof asked);
        memcpy(seen[slot], x[l], sizeof seen[slot]);
        count(L, slot);
        slot = (slot + 1) % L->batch;
    }
}
