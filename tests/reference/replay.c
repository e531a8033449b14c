/* Reads an image into plain arrays and replays a golden vector: every score, and the whole state after every learning step.
 *
 *   replay NAME.mbit NAME.vec    exit status 0: all equal; 1: something differs; 77: the image has a layer that is not here */
#include <stdio.h>

#include "reference.h"

layer net[LAYERS];
int layers, temperature, margin;
uint32_t z, steps, moved, flipped;
static uint8_t *image, *state; /* state: the bytes that the runtime would hold */
static int state_at;           /* offset of the state in the image */

/// Image (runtime/FORMAT.md) ///

static int u16(const uint8_t *p) { return p[0] | p[1] << 8; }
static uint32_t u32(const uint8_t *p) { return (uint32_t)u16(p) | (uint32_t)u16(p + 2) << 16; }

/* Bit of unit i in word [i / lanes][j][p] of an array with `depth` words for each of `pitch` columns. */
static uint8_t *bit_at(const layer *l, int field, int lanes, int i, int j, int p, int pitch, int depth, uint8_t *mask)
{
    const int in_state = l->learns && (field < 24 || (field == 24 && l->input == PLUS_MINUS));
    const int word = (i / lanes * pitch + j) * depth + p, bit = word * lanes + i % lanes;
    *mask = (uint8_t)(1 << (bit & 7));
    return (in_state ? state - state_at : image) + u32(l->record + field) + (bit >> 3);
}

/* Reads (to = -1) or writes one bit. */
static int bit(const layer *l, int field, int lanes, int i, int j, int p, int pitch, int depth, int to)
{
    uint8_t mask, *at = bit_at(l, field, lanes, i, j, p, pitch, depth, &mask);
    if (to >= 0) {
        *at = (uint8_t)(to ? *at | mask : *at & ~mask);
    }
    return (*at & mask) != 0;
}

static int weight_sum(const layer *l, int i)
{
    int sum = 0;
    for (int j = 0; j < l->K; j++) {
        sum += weight(l, i, j);
    }
    return sum;
}

/* The stream of levels: level i is in bits i * k .. i * k + k - 1, in two's complement. */
static uint8_t *stream_at(const layer *l, int bit)
{
    return (l->learns ? state - state_at : image) + u32(l->record + 20) + (bit >> 3);
}

static void read_levels(layer *l)
{
    l->weaken = (const uint16_t *)(const void *)(image + u32(l->record + 28));
    l->h = malloc((size_t)(l->N * (l->K + 1)));
    for (int i = 0; i < l->N * (l->K + 1); i++) {
        int level = 0;
        for (int b = i * l->k; b < (i + 1) * l->k; b++) {
            level |= (*stream_at(l, b) >> (b & 7) & 1) << (b - i * l->k);
        }
        l->h[i] = (int8_t)(level >> (l->k - 1) ? level - (1 << l->k) : level);
    }
}

static void write_levels(const layer *l)
{
    for (int b = 0; b < l->N * (l->K + 1) * l->k; b++) {
        uint8_t *at = stream_at(l, b), mask = (uint8_t)(1 << (b & 7));
        *at = (uint8_t)(l->h[b / l->k] >> (b % l->k) & 1 ? *at | mask : *at & ~mask);
    }
}

/* The samples that a graded layer keeps in the state, if its record says so. Reads them, or writes them where `write` is 1. */
static void kept(const layer *l, int write)
{
    const int bits = l->P * l->K, words = (bits + 31) / 32, rows = (l->N + 31) / 32;
    if (l->kind != GRADED || !l->learns || u32(l->record + 32) == 0) {
        return;
    }
    uint8_t *at = state - state_at + u32(l->record + 32);
    if (write) {
        memset(at, 0, (size_t)(4 * (1 + l->batch * (words + 3 * rows))));
        memcpy(at, &slot, 4);
    }
    slot = (int)u32(at);
    at += 4;
    for (int b = 0; b < l->batch; b++, at += 4 * words) {
        for (int j = 0; j < bits; j++) {
            at[j >> 3] = (uint8_t)(at[j >> 3] | (write ? seen[b][j] << (j & 7) : 0));
            seen[b][j] = at[j >> 3] >> (j & 7) & 1;
        }
    }
    for (int b = 0; b < l->batch; b++) {
        for (int i = 0; i < l->N; i++) {
            uint8_t *drawn = at + 12 * (rows * b + i / 32) + i % 32 / 8;
            const int v = votes[b][i], now[3] = {v < 0, abs(v) & 1, abs(v) >> 1};
            for (int n = 0; write && n < 3; n++) {
                drawn[4 * n] = (uint8_t)(drawn[4 * n] | now[n] << (i & 7));
            }
            const int size = (drawn[4] >> (i & 7) & 1) + 2 * (drawn[8] >> (i & 7) & 1);
            votes[b][i] = drawn[0] >> (i & 7) & 1 ? -size : size;
        }
    }
}

static void read_layer(layer *l, const uint8_t *r)
{
    *l = (layer){r[0], r[1], r[2], r[3], u16(r + 4), u16(r + 6), r[8], r[9], u16(r + 10), 0, 0, 0, 1, 0, 0, u32(r + 12),
                 NULL, {0}, r, NULL, NULL, NULL, NULL, NULL, NULL, NULL};
    const int encoder = l->kind == ENCODE || l->kind == CUTS;
    if (l->kind == CONV || l->kind > LEVELS || l->input == BYTES || l->N > UNITS * (encoder ? 8 : 1)) {
        exit(77);
    }
    if (l->kind == LEVELS) {
        read_levels(l);
        return;
    }
    if (encoder) {
        l->thresholds = image + u32(r + 36);
        return;
    }
    l->strengthen = (const uint16_t *)(const void *)(image + u32(r + 28));
    l->weaken = l->strengthen + (1 << (l->k - 1));
    l->mul = (const int32_t *)(const void *)(image + u32(r + 32));
    l->add = l->mul + l->N;
    if (l->kind == GRADED) {
        l->low = u16(r + 40), l->high = u16(r + 42), l->gain = u16(r + 44);
        l->P = r[46], l->draws = r[47], l->batch = 32 * r[48];
        l->need = (const uint16_t *)(const void *)(image + u32(r + 36));
        kept(l, 0);
    }
    if (l->kind == GATES) {
        l->slope = (const int16_t *)(const void *)l->strengthen;
        l->add = (const int32_t *)(const void *)(image + u32(r + 24));
        l->planes = 0;
    }
    l->h = malloc((size_t)(l->N * l->K));
    for (int i = 0; i < l->N; i++) {
        for (int j = 0; j < l->K; j++) {
            int low = 0;
            for (int p = 0; p < l->k - 1; p++) {
                low = 2 * low + bit(l, 20, l->lanes, i, j, p, l->K, l->k - 1, -1);
            }
            l->h[i * l->K + j] = (int8_t)(bit(l, 16, l->lanes, i, j, 0, l->K + 1, 1, -1) ? low : low - (1 << (l->k - 1)));
        }
        int fold = 0;
        for (int p = 0; p < l->planes; p++) {
            fold |= bit(l, 24, 32, i, 0, p, 1, l->planes, -1) << p;
        }
        fold -= l->planes != 0 && fold >> (l->planes - 1) ? 1 << l->planes : 0;
        l->theta[i] = l->input == PLUS_MINUS ? -2 * fold - weight_sum(l, i) : -fold;
    }
}

static void write_state(void)
{
    const uint32_t head[4] = {z, steps, moved, flipped};
    memcpy(state, head, sizeof head);
    for (layer *l = net; l < net + layers; l++) {
        if (l->kind == LEVELS && l->learns) {
            write_levels(l);
            continue;
        }
        kept(l, 1);
        for (int i = 0; l->learns && i < l->N; i++) {
            for (int j = 0; j < l->K; j++) {
                const int h = l->h[i * l->K + j];
                bit(l, 16, l->lanes, i, j, 0, l->K + 1, 1, h >= 0);
                for (int p = 0; p < l->k - 1; p++) {
                    bit(l, 20, l->lanes, i, j, p, l->K, l->k - 1, (h >> (l->k - 2 - p)) & 1);
                }
            }
            for (int p = 0; l->input == PLUS_MINUS && p < l->planes; p++) {
                bit(l, 24, 32, i, 0, p, 1, l->planes, (-(weight_sum(l, i) + l->theta[i]) / 2 >> p) & 1);
            }
        }
    }
}

/// Replay ///

static uint8_t *read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = calloc(1, 1 << 22);
    if (file == NULL || data == NULL || fread(data, 1, 1 << 22, file) == 0) {
        exit(2);
    }
    fclose(file);
    return data;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        return 2;
    }
    image = read_file(argv[1]);
    const uint8_t *v = read_file(argv[2]);
    const uint32_t n = u32(v), classes = u32(v + 4), size = u32(v + 8), count_of_steps = u32(v + 12), state_size = u32(v + 16);
    const uint8_t *inputs = v + 20;
    state_at = (int)u32(image + 28);
    state = malloc(state_size);
    memcpy(state, image + state_at, state_size);
    z = u32(state), steps = u32(state + 4), moved = u32(state + 8), flipped = u32(state + 12);
    layers = u16(image + 40), temperature = u16(image + 48), margin = u16(image + 50);
    for (int l = 0; l < layers; l++) {
        read_layer(&net[l], image + 64 + 64 * l);
    }
    v = inputs + n * size;
    for (uint32_t s = 0; s < n; s++, v += 4 * classes) {
        forward(inputs + s * size);
        if (memcmp(score, v, 4 * classes) != 0) {
            fprintf(stderr, "reference: scores of sample %u differ\n", s);
            return 1;
        }
    }
    for (uint32_t s = 0; s < count_of_steps; s++, v += 22 + state_size) {
        const uint32_t before[2] = {moved, flipped};
        learn(inputs + s % n * size, u16(v));
        const uint32_t info[5] = {predicted, skipped, visited, moved - before[0], flipped - before[1]};
        write_state();
        if (memcmp(info, v + 2, sizeof info) != 0 || memcmp(state, v + 22, state_size) != 0) {
            fprintf(stderr, "reference: step %u differs\n", s);
            return 1;
        }
    }
    printf("%u samples, %u steps\n", n, count_of_steps);
    return 0;
}
