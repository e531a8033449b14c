/* The network and its learning rule in plain loops: one array a quantity, one loop an index, no bit tricks.
 *
 * Read this first, from top to bottom, beside docs/learning-rule.md, whose section names are the banners here. The C runtime
 * computes the same integers with bit-sliced sums. Encoders, dense and ternary layers and outputs are here, graded layers and
 * learning by votes in votes.c. Convolutions and first layers on 8-bit inputs are not in the reference. */
#include <math.h>

#include "reference.h"

int x[LAYERS + 1][8 * UNITS], V[LAYERS][UNITS], score[UNITS];
static int error[LAYERS][UNITS];
uint32_t predicted, skipped, visited;

/// Sums ///

int argmax(const int *s, int n)
{
    int best = 0;
    for (int c = 1; c < n; c++) {
        best = s[c] > s[best] ? c : best;
    }
    return best;
}

void output(const layer *l, const int *in)
{
    for (int c = 0; c < l->N; c++) {
        int a = 0;
        for (int j = 0; j < l->K; j++) {
            a += weight(l, c, j) * in[j];
        }
        score[c] = a * l->mul[c] + l->add[c];
    }
}

void forward(const uint8_t *input)
{
    for (int l = 0; l < layers; l++) {
        const layer *L = &net[l];
        if (L->kind == ENCODE) {
            for (int n = 0; n < L->N; n++) {
                x[1][n] = input[n % L->K] >= L->thresholds[n];
            }
            continue;
        }
        for (int j = 0; l == 0 && L->kind != CUTS && j < L->P * L->K; j++) {
            x[0][j] = (input[j >> 3] >> (j & 7)) & 1;
        }
        if (L->kind == CUTS) {
            cut(L, input, x[1]);
            continue;
        }
        if (L->kind == GATES) {
            gates(L, x[l], x[l + 1]);
            continue;
        }
        if (L->kind == LEVELS) {
            levels_forward(L, x[l]);
            continue;
        }
        if (L->kind == OUTPUT) {
            output(L, x[l]);
            continue;
        }
        for (int i = 0; i < L->N; i++) {
            int a = 0;
            for (int j = 0; j < L->P * L->K; j++) { /* all P planes of a graded layer share one weight, and an unsure one counts half */
                const int of = j % L->K, times = L->kind == GRADED ? 2 - unsure(L, i, of) : 1;
                a += times * weight(L, i, of) * x[l][j];
            }
            V[l][i] = L->kind == GRADED ? a - 2 * L->theta[i] : L->input == ON_OFF ? a - L->theta[i] : (a - L->theta[i]) / 2;
            x[l + 1][i] = V[l][i] >= 0 ? 1 : net[l + 1].kind == GRADED ? 0 : -1; /* a graded layer takes signs as bits */
        }
        if (L->kind == GRADED) {
            int low, high;
            grade(L, V[l], &low, &high, x[l + 1]);
        }
    }
}

/// Error ///

/* e [N] from indices n [N] into the exponential table. Returns the true error. */
int softmax_error(const int *n, int classes, int label, int *e)
{
    int q[UNITS], total = 0;
    for (int c = 0; c < classes; c++) {
        q[c] = (int)floor(32767 * exp(-smaller(n[c], 255) / 16.0) + 0.5);
        total += q[c];
    }
    for (int c = 0; c < classes; c++) {
        e[c] = (q[c] * 4096 + total / 2) / total - 4096 * (c == label);
    }
    return larger(0, -e[label]);
}

static int output_error(int classes, int label, int *e)
{
    int n[UNITS];
    const int best = score[argmax(score, classes)];
    for (int c = 0; c < classes; c++) {
        const int64_t below = (int64_t)best - score[c];
        n[c] = (int)(((below < 65535 ? below : 65535) * temperature) >> 12);
    }
    return softmax_error(n, classes, label, e);
}

/// Backward ///

uint32_t draw32(void)
{
    z ^= z << 13;
    z ^= z >> 17;
    z ^= z << 5;
    return z;
}

int draw(void) { return (int)(draw32() >> 16); }

static int eligible(const layer *l, int l_index) /* inputs that a visit may choose */
{
    int n = 0;
    for (int j = 0; j < l->K; j++) {
        n += l->input == PLUS_MINUS || x[l_index][j];
    }
    return n;
}

static void backward(int l, int lowest, int E)
{
    const layer *L = &net[l], *below = &net[l - 1];
    int t[UNITS], open[UNITS], opened = 0, M = 0;
    for (int j = 0; j < L->K; j++) {
        open[j] = abs(V[l - 1][j]) <= below->window;
        opened += open[j];
    }
    for (int i = 0; i < L->N; i++) {
        t[i] = error[l][i];
        M = larger(M, abs(t[i]));
    }
    if (L->kind == TERNARY) {
        const int v = (int)((uint64_t)((below->dose * (uint32_t)E) >> 14) * (uint64_t)eligible(below, l - 1) >> 10);
        uint32_t word = 0;
        for (int j = 0; l - 1 == lowest && opened >= 2 * larger(v, 32) && j < (L->K + 31) / 32 * 32; j++) {
            word = j % 32 == 0 ? draw32() : word;
            open[j] = j < L->K ? open[j] & (int)(word >> (j % 32)) : 0;
        }
        for (int i = 0; i < L->N; i++) {
            t[i] = t[i] != 0 && (uint32_t)draw() < ((uint32_t)abs(t[i]) * ((1u << 30) / (uint32_t)M)) >> 14 ? sign(t[i]) : 0;
        }
    }
    int most = 0, shift = 0;
    for (int j = 0; j < L->K; j++) {
        int sum = 0;
        for (int i = 0; i < L->N; i++) {
            sum += weight(L, i, j) * t[i];
        }
        error[l - 1][j] = open[j] ? sum : 0;
        most = larger(most, abs(error[l - 1][j]));
    }
    while (most >> shift >= 1 << 14) {
        shift++;
    }
    for (int j = 0; j < L->K; j++) {
        error[l - 1][j] = sign(error[l - 1][j]) * (abs(error[l - 1][j]) >> shift);
    }
}

/// Update ///

/* Visit rate of each unit in 1/65536. Returns 0 if the layer learns nothing. */
int rates(const layer *l, const int *delta, int E, int64_t *rate)
{
    uint64_t D = 0, total = (l->dose * (uint32_t)E) >> 8;
    int s = 0;
    for (int i = 0; i < l->N; i++) {
        D += (uint64_t)abs(delta[i]);
    }
    while (total != 0 && total << s < 1u << 31) {
        s++;
    }
    for (int i = 0; D != 0 && i < l->N; i++) {
        const uint64_t r = ((total << s) / D * (uint64_t)abs(delta[i])) >> s;
        rate[i] = r < 65535 ? (int64_t)r : 65535;
    }
    return D != 0 && total != 0;
}

/* The table entry of a move, or -1 where there is no further level. */
int entry(const layer *l, int i, int j, int up)
{
    const int h = l->h[i * l->K + j], r = h >= 0 ? h : -1 - h, outward = up == (h >= 0);
    return outward && r == (1 << (l->k - 1)) - 1 ? -1 : outward ? l->strengthen[r] : l->weaken[r];
}

void move(layer *l, int i, int j, int up)
{
    const int before = weight(l, i, j);
    l->h[i * l->K + j] = (int8_t)(l->h[i * l->K + j] + (up ? 1 : -1));
    moved++;
    flipped += weight(l, i, j) != before;
}

static void update(int l, int E)
{
    layer *L = &net[l];
    int64_t rate[UNITS];
    if (!L->learns || !rates(L, error[l], E, rate)) {
        return;
    }
    const int n = eligible(L, l);
    int64_t next = draw();
    for (int i = 0; i < L->N; i++) {
        for (; next < rate[i] * n; next += 65536) {
            int j = -1;
            for (int skip = (int)(next / rate[i]); skip >= 0; skip--) { /* the input with this number among the eligible ones */
                do {
                    j++;
                } while (L->input == ON_OFF && !x[l][j]);
            }
            const int up = error[l][i] * x[l][j] < 0, t = entry(L, i, j, up), u = draw();
            visited++;
            if (t >= 0 && (u < t || t == 65535)) {
                move(L, i, j, up);
            }
        }
        next -= rate[i] * n;
    }
}

/// One step ///

void learn(const uint8_t *input, int label)
{
    int lowest = 0;
    while (!net[lowest].learns) {
        lowest++;
    }
    forward(input);
    predicted = (uint32_t)argmax(score, net[layers - 1].N);
    visited = 0;
    steps++;
    if (net[lowest].kind == GRADED) {
        vote_step(lowest, label);
        return;
    }
    if (net[lowest].kind == LEVELS) {
        levels_learn(&net[lowest], x[lowest], label);
        return;
    }
    const int E = output_error(net[layers - 1].N, label, error[layers - 1]);
    skipped = E == 0 || E < margin;
    for (int l = layers - 1; !skipped && l >= lowest; l--) {
        if (l > lowest) {
            backward(l, lowest, E);
        }
        update(l, E);
    }
}
