/* Copies of the weights for a host's vectors, and the functions that the library calls for them. */
#include <string.h>

#include "simd.h"

/// Memory ///

/* The head of the wide memory. Tables, scratch and copies follow it. */
struct mb_wide {
    struct mb_host host; /* first, so that a pointer to it is one to the whole */
    mb_vectors vectors;
    uint16_t *bytes; /* [256][8]: for each byte the positions of its set bits */
    uint16_t *list;  /* as the arena's, and SLACK entries */
    void *carry;     /* [max K / 16 + 8] vectors; also one row of an output layer */
    uint32_t *planes; /* [MB_PLANES_MAX] vectors: sums of a block of gates */
    int32_t *sums;    /* [512], as numbers */
    mb_layer layers[MB_MAX_LAYERS];
    mb_wide_layer copies[MB_MAX_LAYERS];
};

/* Takes the next `bytes` of the memory, rounded up to whole cache lines. */
static void *take(uint8_t *memory, size_t *used, size_t bytes)
{
    uint8_t *p = memory == NULL ? NULL : memory + *used;
    *used += (bytes + 63u) & ~(size_t)63u;
    return p;
}

/* Takes a layer's copy, with the widest vectors, or the narrowest that hold all its units. rows: vectors of folded constants. */
static void take_vectors(const mb_kernels *set, const mb_layer *l, mb_wide_layer *c, uint32_t rows, uint8_t *memory, size_t *used)
{
    c->vector = 0;
    for (unsigned w = 4u; w-- > 0;) {
        const uint32_t bytes = 8u << w, bits = 8u * bytes;
        if (set->dense[w] != NULL && (c->vector == 0 || l->units <= bits)) {
            c->vector = bytes;
            c->dense = set->dense[w];
            c->sums = set->sums[w];
        }
    }
    const size_t blocks = (l->units + 8u * c->vector - 1u) / (8u * c->vector);
    c->sign = take(memory, used, blocks * (l->inputs + 1u) * c->vector);
    c->fold = take(memory, used, blocks * rows * c->vector);
}

/* Chooses a layer's kernels and takes memory for its copy. Returns 1 if the set runs this layer, 0 if the library does. */
static int plan_layer(const mb_kernels *set, const mb_layer *l, mb_wide_layer *c, uint8_t *memory, size_t *used)
{
    const int bits = l->input == MB_ON_OFF || l->input == MB_PLUS_MINUS;
    switch (l->kind) {
    case MB_CUTS:
        c->sign = l->shared ? take(memory, used, (size_t)l->units << l->input) : NULL;
        return 1;
    case MB_GATES:
        c->pitch = (l->units + 31u) & ~31u;
        if (set->few != NULL && l->units <= MB_FEW) {
            c->vector = 0;
            c->sign = take(memory, used, MB_WORDS(l->inputs) * 4u * (size_t)c->pitch);
        } else {
            take_vectors(set, l, c, 0, memory, used);
        }
        c->fold = take(memory, used, 6u * sizeof(int32_t) * c->pitch);
        return 1;
    case MB_LEVELS:
        c->sign = take(memory, used, l->units * l->inputs);
        c->fold = take(memory, used, l->units * sizeof(int32_t));
        return 1;
    case MB_HEAD:
        return 1;
    case MB_DENSE:
        if (bits) {
            take_vectors(set, l, c, l->planes, memory, used);
        }
        return bits;
    case MB_OUTPUT:
        if (!bits || set->scores == NULL) {
            return 0;
        }
        c->pitch = (l->inputs + 64u * ROW - 1u) / (64u * ROW) * ROW;
        c->sign = take(memory, used, (size_t)l->units * c->pitch * 8u);
        c->fold = take(memory, used, (size_t)l->units * 4u);
        return 1;
    default:
        return l->kind == MB_ENCODE && l->channels == 0;
    }
}

/// Copies ///

/* Copies the folded constants of row r: 32 units, or 16. */
static void copy_fold(const mb_wide_layer *c, uint32_t r)
{
    const mb_layer *l = c->of;
    const mb_word *fold = l->fold + r * l->planes;
    if (l->kind == MB_OUTPUT) { /* as integers */
        const uint32_t lanes = l->lanes16 ? 16u : 32u, left = l->units - lanes * r;
        uint32_t planes[MB_PLANES_MAX];
        memcpy(planes, fold, sizeof *planes * l->planes);
        mb_lane_values(planes, l->planes, 0, (int32_t *)(void *)c->fold + lanes * r, left < lanes ? left : lanes);
        return;
    }
    const uint32_t words = c->vector / 4u;
    for (uint32_t p = 0; p < l->planes; p++) {
        ((mb_word *)(void *)c->fold)[(r / words * l->planes + p) * words + r % words] = fold[p];
    }
}

/* Copies weight word [r][j]: to one place of a layer of vectors, or as one bit to the rows of an output's units or the words of few
 * gates. */
static void copy_word(const mb_wide_layer *c, uint32_t r, uint32_t j)
{
    const mb_layer *l = c->of;
    uint32_t w = mb_weights(l, r * (l->inputs + 1u) + j);
    if (l->kind == MB_OUTPUT || c->vector == 0) {
        const uint32_t lanes = l->lanes16 ? 16u : 32u;
        for (uint32_t unit = lanes * r; unit < lanes * (r + 1u) && unit < l->units; unit++, w >>= 1) {
            const uint32_t at = l->kind == MB_OUTPUT ? 2u * unit * c->pitch + (j >> 5) : (j >> 5) * c->pitch + unit;
            ((mb_word *)(void *)c->sign)[at] |= (w & 1u) << (j & 31u);
        }
        return;
    }
    const uint32_t words = c->vector / 4u;
    ((mb_word *)(void *)c->sign)[(r / words * (l->inputs + 1u) + j) * words + r % words] = w;
}

/* Copies level [unit][input] of an output of levels; the last of a row is the offset. */
static void copy_level(const mb_wide_layer *c, uint32_t unit, uint32_t input)
{
    const mb_layer *l = c->of;
    const int32_t level = mb_level_of(l->levels, (unit * (l->inputs + 1u) + input + 1u) * l->bits - 1u, l->bits);
    if (input == l->inputs) {
        ((int32_t *)(void *)c->fold)[unit] = 32 * level;
    } else {
        ((int8_t *)c->sign)[unit * l->inputs + input] = (int8_t)level;
    }
}

/* Copies the constants of gates, and those of a head that follows. */
static void copy_constants(const mb_wide_layer *c)
{
    const mb_layer *const l = c->of, *const next = l + 1;
    int32_t *const to = (int32_t *)(void *)c->fold;
    const mb_short *const mul = (const mb_short *)(const void *)l->tables, *const scale = (const mb_short *)(const void *)next->tables;
    for (uint32_t i = 0; i < l->units; i++) {
        to[i] = mul[i];
        to[c->pitch + i] = (int32_t)l->fold[i];
        for (uint32_t n = 0; next->kind == MB_HEAD && n < 3u; n++) { /* gate_mul, gate_add, z_mul */
            to[(n + 2u) * c->pitch + i] = scale[n * l->units + i];
        }
        to[5u * c->pitch + i] = next->kind == MB_HEAD ? (int32_t)next->fold[i] : 0;
    }
}

static void copy_layer(const mb_wide_layer *c)
{
    const mb_layer *l = c->of;
    if (l->kind == MB_CUTS && c->sign != NULL) {
        for (uint32_t i = 0; i < l->units << l->input; i++) {
            c->sign[i] = l->own.thresholds[((i >> l->input) / l->inputs << l->input) + (i & l->input)];
        }
    } else if (l->kind == MB_LEVELS) {
        for (uint32_t i = 0; i < l->units * (l->inputs + 1u); i++) {
            copy_level(c, i / (l->inputs + 1u), i % (l->inputs + 1u));
        }
    } else if (l->kind == MB_DENSE || l->kind == MB_OUTPUT || l->kind == MB_GATES) {
        const uint32_t lanes = l->lanes16 ? 16u : 32u;
        for (uint32_t r = 0; lanes * r < l->units; r++) {
            if (l->kind != MB_GATES) {
                copy_fold(c, r);
            }
            for (uint32_t j = 0; j < l->inputs; j++) {
                copy_word(c, r, j);
            }
        }
        if (l->kind == MB_GATES) {
            copy_constants(c);
        }
    }
}

/// Functions for the library ///

static void changed(const mb_layer *l, uint32_t unit, uint32_t input)
{
    const mb_wide_layer *c = (const mb_wide_layer *)(const void *)l->host;
    if (l->kind == MB_LEVELS) {
        copy_level(c, unit, input);
    } else if (l->kind == MB_OUTPUT) {
        ((mb_word *)(void *)c->sign)[2u * unit * c->pitch + (input >> 5)] ^= 1u << (input & 31u);
        copy_fold(c, l->lanes16 ? unit >> 4 : unit >> 5);
    } else {
        copy_word(c, unit >> 5, input);
        copy_fold(c, unit >> 5);
    }
}

/* Levels or values of all gates, from the `active` inputs listed. */
static void gates(const mb_wide_layer *c, const mb_kernels *set, uint32_t active)
{
    const struct mb_wide *wide = c->wide;
    const uint32_t step = c->vector / 4u, units = c->of->units;
    for (uint32_t block = 0, first = 0; first < units; block++, first += 32u * step) {
        const uint32_t left = MB_WORDS(units - first), words = left < step ? left : step;
        c->sums(c, block, wide->list, active, wide->planes, wide->carry);
        set->spread(wide->planes, step, words, active, wide->sums);
        set->gates(c, first, units < first + 32u * step ? units : first + 32u * step, wide->sums, wide->host.arena.values);
    }
}

static void forward(const mb_layer *l, const uint8_t *input, int learning)
{
    const mb_wide_layer *c = (const mb_wide_layer *)(const void *)l->host;
    const struct mb_wide *wide = c->wide;
    const mb_arena *arena = &wide->host.arena;
    const mb_kernels *set = &mb_kernel_sets[wide->vectors];
    if (l->kind == MB_ENCODE || l->kind == MB_CUTS) {
        mb_encode_kernel *const kernel = l->kind == MB_ENCODE ? set->encode : set->cut[l->input];
        kernel(l, c->sign != NULL ? c->sign : l->own.thresholds, input, l[1].in);
        return;
    }
    if (l->kind == MB_LEVELS) {
        set->rows((const int8_t *)c->sign, l->units, arena->values, l->inputs, arena->scores);
        for (uint32_t unit = 0; unit < l->units; unit++) {
            arena->scores[unit] += ((const int32_t *)(const void *)c->fold)[unit];
        }
        return;
    }
    if (l->kind == MB_HEAD) {
        mb_wide_head_scores(l, set, arena->values, arena->scores);
        return;
    }
    if (l == wide->layers) {
        mb_unpack(l, input, l->in);
    }
    if (l->kind == MB_OUTPUT) {
        set->scores(c, l->in, wide->carry, arena->scores);
        return;
    }
    if (l->kind == MB_GATES && c->vector == 0) {
        set->few(c, l->in, wide->sums);
        set->gates(c, 0, l->units, wide->sums, arena->values);
        return;
    }
    uint16_t *end = set->list(l->in, MB_WORDS(l->inputs), wide->bytes, wide->list);
    for (unsigned n = 0; n < 15u; n++) {
        end[n] = (uint16_t)l->inputs; /* the zero row */
    }
    const uint32_t active = (uint32_t)(end - wide->list);
    if (l->kind == MB_GATES) {
        gates(c, set, active);
    } else {
        c->dense(c, wide->list, active, l[1].in, learning ? l->mask : NULL, wide->carry);
    }
}

static const mb_host_ops OPS = {forward, changed};

/// Public ///

size_t mb_wide_size(const mb_model *m, mb_vectors vectors)
{
    if (m == NULL || m->image == NULL || vectors == MB_NO_VECTORS || !mb_vectors_runs(vectors)) {
        return 0;
    }
    size_t used = 0;
    uint32_t most_inputs = 0;
    (void)take(NULL, &used, sizeof(struct mb_wide));
    for (unsigned i = 0; i < mb_layer_count(m); i++) {
        mb_layer l;
        mb_wide_layer c;
        mb_layer_at(m, i, &l);
        (void)plan_layer(&mb_kernel_sets[vectors], &l, &c, NULL, &used);
        most_inputs = l.inputs > most_inputs ? l.inputs : most_inputs;
    }
    (void)take(NULL, &used, 256u * 8u * sizeof(uint16_t));
    (void)take(NULL, &used, 2u * (most_inputs + 8u + SLACK));
    (void)take(NULL, &used, (most_inputs / 16u + 8u) * (size_t)64u);
    (void)take(NULL, &used, MB_PLANES_MAX * (size_t)64u);
    (void)take(NULL, &used, 512u * sizeof(int32_t));
    return used;
}

mb_status mb_widen(mb_model *m, mb_vectors vectors, void *memory, size_t len)
{
    if (m == NULL || m->image == NULL) {
        return MB_E_NULL;
    }
    if (m->arena == NULL) {
        return MB_E_DETACHED;
    }
    m->host = NULL;
    const size_t size = mb_wide_size(m, vectors);
    if (size == 0) {
        return MB_OK;
    }
    if (memory == NULL) {
        return MB_E_NULL;
    }
    if (((uintptr_t)memory & (MB_WIDE_ALIGN - 1u)) != 0) {
        return MB_E_ALIGN;
    }
    if (len < size) {
        return MB_E_ARENA_SIZE;
    }
    memset(memory, 0, size);
    size_t used = 0;
    struct mb_wide *wide = take(memory, &used, sizeof *wide);
    mb_arena *arena = &wide->host.arena;
    wide->host.ops = &OPS;
    wide->vectors = vectors;
    mb_arena_plan(m, m->mode, arena);
    memcpy(wide->layers, arena->layers, sizeof *arena->layers * arena->count);
    arena->layers = wide->layers; /* the arena itself is free between calls */
    uint32_t most_inputs = 0;
    for (unsigned i = 0; i < arena->count; i++) {
        mb_wide_layer *c = &wide->copies[i];
        mb_layer *l = &wide->layers[i];
        *c = (mb_wide_layer){.host = {&OPS}, .of = l, .wide = wide};
        most_inputs = l->inputs > most_inputs ? l->inputs : most_inputs;
        if (plan_layer(&mb_kernel_sets[vectors], l, c, memory, &used)) {
            copy_layer(c);
            l->host = &c->host;
        }
    }
    wide->bytes = take(memory, &used, 256u * 8u * sizeof(uint16_t));
    for (uint32_t i = 0; i < 256u; i++) {
        (void)mb_list_bits(wide->bytes + 8u * i, i, 0);
    }
    wide->list = take(memory, &used, 2u * (most_inputs + 8u + SLACK));
    wide->carry = take(memory, &used, (most_inputs / 16u + 8u) * (size_t)64u);
    wide->planes = take(memory, &used, MB_PLANES_MAX * (size_t)64u);
    wide->sums = take(memory, &used, 512u * sizeof(int32_t));
    m->host = &wide->host;
    return MB_OK;
}

mb_vectors mb_widened(const mb_model *m)
{
    return m == NULL || m->host == NULL ? MB_NO_VECTORS : ((const struct mb_wide *)(const void *)m->host)->vectors;
}
