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

/* Chooses a layer's kernels and takes memory for its copy. Returns 1 if the set runs this layer, 0 if the library does. A dense
 * layer gets the widest vectors, or the narrowest that hold all its units. */
static int plan_layer(const mb_kernels *set, const mb_layer *l, mb_wide_layer *c, uint8_t *memory, size_t *used)
{
    if (l->input != MB_ON_OFF && l->input != MB_PLUS_MINUS) {
        return 0;
    }
    if (l->kind == MB_DENSE) {
        c->vector = 0;
        for (unsigned w = 4u; w-- > 0;) {
            const uint32_t bytes = 8u << w, bits = 8u * bytes;
            if (set->dense[w] != NULL && (c->vector == 0 || l->units <= bits)) {
                c->vector = bytes;
                c->dense = set->dense[w];
            }
        }
        const size_t blocks = (l->units + 8u * c->vector - 1u) / (8u * c->vector);
        c->sign = take(memory, used, blocks * (l->inputs + 1u) * c->vector);
        c->fold = take(memory, used, blocks * l->planes * c->vector);
        return 1;
    }
    if (l->kind == MB_OUTPUT && set->scores != NULL) {
        c->pitch = (l->inputs + 64u * ROW - 1u) / (64u * ROW) * ROW;
        c->sign = take(memory, used, (size_t)l->units * c->pitch * 8u);
        c->fold = take(memory, used, (size_t)l->units * 4u);
        return 1;
    }
    return l->kind == MB_ENCODE && set->encode != NULL && l->channels == 0;
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

/* Copies weight word [r][j]: to one place of a dense layer, or as one bit to the rows of an output's units. */
static void copy_word(const mb_wide_layer *c, uint32_t r, uint32_t j)
{
    const mb_layer *l = c->of;
    uint32_t w = mb_weights(l, r * (l->inputs + 1u) + j);
    if (l->kind == MB_OUTPUT) {
        const uint32_t lanes = l->lanes16 ? 16u : 32u;
        for (uint32_t unit = lanes * r; unit < lanes * (r + 1u) && unit < l->units; unit++, w >>= 1) {
            ((mb_word *)(void *)c->sign)[2u * unit * c->pitch + (j >> 5)] |= (w & 1u) << (j & 31u);
        }
        return;
    }
    const uint32_t words = c->vector / 4u;
    ((mb_word *)(void *)c->sign)[(r / words * (l->inputs + 1u) + j) * words + r % words] = w;
}

/// Functions for the library ///

static void flip(const mb_layer *l, uint32_t unit, uint32_t input)
{
    const mb_wide_layer *c = (const mb_wide_layer *)(const void *)l->host;
    if (l->kind == MB_OUTPUT) {
        ((mb_word *)(void *)c->sign)[2u * unit * c->pitch + (input >> 5)] ^= 1u << (input & 31u);
        copy_fold(c, l->lanes16 ? unit >> 4 : unit >> 5);
    } else {
        copy_word(c, unit >> 5, input);
        copy_fold(c, unit >> 5);
    }
}

static void forward(const mb_layer *l, const uint8_t *input, int learning)
{
    const mb_wide_layer *c = (const mb_wide_layer *)(const void *)l->host;
    const struct mb_wide *wide = c->wide;
    const mb_kernels *set = &mb_kernel_sets[wide->vectors];
    if (l->kind == MB_ENCODE) {
        set->encode(l, input, l[1].in);
        return;
    }
    if (l == wide->layers) {
        mb_unpack(l, input, l->in);
    }
    if (l->kind == MB_OUTPUT) {
        set->scores(c, l->in, wide->carry, wide->host.arena.scores);
        return;
    }
    uint16_t *end = set->list(l->in, MB_WORDS(l->inputs), wide->bytes, wide->list);
    for (unsigned n = 0; n < 15u; n++) {
        end[n] = (uint16_t)l->inputs; /* the zero row */
    }
    c->dense(c, wide->list, (uint32_t)(end - wide->list), l[1].in, learning ? l->mask : NULL, wide->carry);
}

static const mb_host_ops OPS = {forward, flip};

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
        *c = (mb_wide_layer){{&OPS}, l, wide, NULL, 0, 0, NULL, NULL};
        most_inputs = l->inputs > most_inputs ? l->inputs : most_inputs;
        if (!plan_layer(&mb_kernel_sets[vectors], l, c, memory, &used)) {
            continue;
        }
        const uint32_t lanes = l->lanes16 ? 16u : 32u;
        for (uint32_t r = 0; l->kind != MB_ENCODE && lanes * r < l->units; r++) {
            copy_fold(c, r);
            for (uint32_t j = 0; j < l->inputs; j++) {
                copy_word(c, r, j);
            }
        }
        l->host = &c->host;
    }
    wide->bytes = take(memory, &used, 256u * 8u * sizeof(uint16_t));
    for (uint32_t i = 0; i < 256u; i++) {
        (void)mb_list_bits(wide->bytes + 8u * i, i, 0);
    }
    wide->list = take(memory, &used, 2u * (most_inputs + 8u + SLACK));
    wide->carry = take(memory, &used, (most_inputs / 16u + 8u) * (size_t)64u);
    m->host = &wide->host;
    return MB_OK;
}

mb_vectors mb_widened(const mb_model *m)
{
    return m == NULL || m->host == NULL ? MB_NO_VECTORS : ((const struct mb_wide *)(const void *)m->host)->vectors;
}
