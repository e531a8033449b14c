/* The output of k-bit levels that learns (levels.h). Each quantity has the name it has in docs/learning-rule.md. */
#include "levels.h"

#include <math.h>

int levels_predict(const levels_output *o, const int8_t *x, int *score)
{
    int best = 0;
    for (int c = 0; c < o->C; c++) {
        const int8_t *h = o->h + c * (o->K + 1);
        score[c] = 32 * h[o->K];
        for (int j = 0; j < o->K; j++)
            score[c] += h[j] * x[j];
        if (score[c] > score[best])
            best = c;
    }
    return best;
}

static void errors(const levels_output *o, const int *score, int best, int label, int *e)
{
    int total = 0;
    for (int c = 0; c < o->C; c++) {
        const int below = score[best] - score[c];
        const uint32_t n = (uint32_t)(below < 65535 ? below : 65535) * (uint32_t)o->temperature >> 12;
        e[c] = n < 256 ? (int)round(32767 * exp(-(double)n / 16)) : 0;
        total += e[c];
    }
    for (int c = 0; c < o->C; c++)
        e[c] = (e[c] * 4096 + total / 2) / total - (c == label ? 4096 : 0);
}

static int draw(levels_output *o)
{
    o->z ^= o->z << 13;
    o->z ^= o->z >> 17;
    o->z ^= o->z << 5;
    return (int)(o->z >> 16);
}

int levels_step(levels_output *o, const int8_t *x, int label, int *score, int *error)
{
    const int best = levels_predict(o, x, score), L = (1 << (o->k - 1)) - 1;
    o->moved = o->visited = 0;
    errors(o, score, best, label, error);
    const int E = -error[label];
    if (E <= 0 || E < o->margin)
        return 0;
    for (int c = 0; c < o->C; c++) {
        const int size = error[c] < 0 ? -error[c] : error[c];
        const int g = (int)(((uint32_t)o->dose * (uint32_t)size + 2048u) >> 12);
        for (int j = 0; j <= o->K && size >= 16; j++) {
            int8_t *h = o->h + c * (o->K + 1) + j;
            const int input = j == o->K ? 8 : x[j], before = *h;
            if (input == 0)
                continue;
            int w = error[c] > 0 ? -g * input : g * input;
            if (before * w < 0)
                w = (w * o->weaken[before < 0 ? -before : before]) >> 8;
            int after = before + ((w + draw(o)) >> 16);
            after = after > L ? L : after < -L ? -L : after;
            *h = (int8_t)after;
            o->visited++;
            o->moved += after != before;
        }
    }
    return 1;
}
