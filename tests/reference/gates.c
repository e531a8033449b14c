/* Networks of gates: cuts, gates, and an output of levels (docs/learning-rule.md, "Gates" and "Output levels"). */
#include "levels.h"
#include "reference.h"

static int int16(const uint8_t *p) { return (int16_t)(p[0] | p[1] << 8); }

void cut(const layer *l, const uint8_t *input, int *bits)
{
    const int wide = l->input == 1, shared = l->record[46];
    for (int n = 0; n < l->N; n++) {
        const int f = n % l->K, at = shared ? n / l->K : n;
        const int value = wide ? int16(input + 2 * f) : input[f];
        bits[n] = value > (wide ? int16(l->thresholds + 2 * at) : l->thresholds[at]);
    }
}

void gates(const layer *l, const int *bits, int *level)
{
    const int shift = l->record[46], top = ((128 << shift) + 5) / 10 + (1 << (shift - 1));
    for (int i = 0; i < l->N; i++) {
        int a = 0;
        for (int j = 0; j < l->K; j++) {
            a += weight(l, i, j) * bits[j];
        }
        const int far = l->slope[i] * a + l->add[i];
        level[i] = larger(-8, smaller(8, (top - (far < 0 ? -far : far)) >> shift));
    }
}

static levels_output as_levels(const layer *l, const int *level, int8_t *in)
{
    for (int j = 0; j < l->K; j++) {
        in[j] = (int8_t)level[j];
    }
    return (levels_output){l->k, l->K, l->N, (int)l->dose, temperature, margin, l->weaken, l->h, z, 0, 0};
}

void levels_forward(const layer *l, const int *level)
{
    int8_t in[UNITS];
    const levels_output o = as_levels(l, level, in);
    levels_predict(&o, in, score);
}

void levels_learn(const layer *l, const int *level, int label)
{
    int8_t in[UNITS];
    int error[UNITS];
    levels_output o = as_levels(l, level, in);
    skipped = !levels_step(&o, in, label, score, error);
    z = o.z;
    visited = (uint32_t)o.visited;
    moved += (uint32_t)o.moved;
}
