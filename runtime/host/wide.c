/* Copies of weights for a host's vectors, and where the library hands over to their kernels. */
#include "simd.h"

#include <string.h>

/// Memory ///

/* Of each byte the numbers of its bits: [256][8]. */
static void spread_bytes(uint16_t *bytes)
{
    for (uint32_t i = 0; i < 256u; i++) {
        (void)mb_list_bits(bytes + 8u * i, i, 0);
    }
}

/* The head of the wide memory: what would otherwise be worked out at every call, then scratch and copies. */
struct mb_wide {
    mb_vectors vectors;
    mb_arena arena;
    size_t arena_bytes; /* of the member before */
    uint16_t *bytes; /* what lists are made of */
    uint16_t *list;  /* as the arena's, and SLACK */
    void *carry;     /* as the arena's, of vectors and 7 more; a row of an output layer */
    mb_wide_layer layers[MB_MAX_LAYERS];
};

/* Hands out the next `bytes`, in whole cache lines. */
static void *take(uint8_t *memory, size_t *used, size_t bytes)
{
    uint8_t *p = memory == NULL ? NULL : memory + *used;
    *used += (bytes + 63u) & ~(size_t)63u;
    return p;
}

/* Of a dense layer the widest vectors, or narrower ones if one of them holds all units. */
static void plan_layer(const mb_level *level, mb_wide_layer *c, uint8_t *memory, size_t *used)
{
    const mb_layer *l = &c->of;
    c->vector = 0;
    if (l->input != MB_ON_OFF && l->input != MB_PLUS_MINUS) {
        return;
    }
    if (l->kind == MB_DENSE) {
        for (unsigned w = 4u; w-- > 0;) {
            const uint32_t bytes = 8u << w, bits = 8u * bytes;
            if (level->dense[w] != NULL && (c->vector == 0 || l->units <= bits)) {
                c->vector = bytes;
                c->dense = level->dense[w];
            }
        }
        const size_t blocks = (l->units + 8u * c->vector - 1u) / (8u * c->vector);
        c->sign = take(memory, used, blocks * (l->inputs + 1u) * c->vector);
        c->fold = take(memory, used, blocks * l->planes * c->vector);
    } else if (l->kind == MB_OUTPUT && level->scores != NULL) {
        c->vector = 8;
        c->pitch = (l->inputs + 64u * ROW - 1u) / (64u * ROW) * ROW;
        c->sign = take(memory, used, (size_t)l->units * c->pitch * 8u);
        c->fold = take(memory, used, (size_t)l->units * 4u);
    } else if (l->kind == MB_ENCODE && level->encode != NULL && l->channels == 0) {
        c->vector = 1;
    }
}

static size_t plan(const mb_model *m, mb_vectors vectors, uint8_t *memory)
{
    const unsigned count = mb_layer_count(m);
    size_t used = 0;
    struct mb_wide *wide = take(memory, &used, sizeof *wide);
    uint32_t most_inputs = 0;
    for (unsigned i = 0; i < count; i++) {
        mb_wide_layer local, *c = wide == NULL ? &local : &wide->layers[i];
        mb_layer_at(m, i, &c->of);
        plan_layer(&mb_levels[vectors], c, memory, &used);
        most_inputs = c->of.inputs > most_inputs ? c->of.inputs : most_inputs;
    }
    uint16_t *bytes = take(memory, &used, 256u * 8u * sizeof *bytes);
    uint16_t *list = take(memory, &used, 2u * (most_inputs + 8u + SLACK));
    void *carry = take(memory, &used, (most_inputs / 16u + 8u) * (size_t)64u);
    if (wide != NULL) {
        wide->bytes = bytes;
        spread_bytes(bytes);
        wide->list = list;
        wide->carry = carry;
    }
    return used;
}

/* The folded constants of 32 units, where their copy lies. */
static void copy_fold(const mb_wide_layer *c, uint32_t r)
{
    const mb_layer *l = &c->of;
    const mb_word *fold = l->fold + r * l->planes;
    if (l->kind == MB_OUTPUT) { /* as integers */
        const uint32_t lanes = l->half ? 16u : 32u, left = l->units - lanes * r;
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

/* Word [r][j] of a dense layer; of an output layer, a bit in each of its units' rows. */
static void copy_word(const mb_wide_layer *c, uint32_t r, uint32_t j)
{
    const mb_layer *l = &c->of;
    uint32_t w = mb_weights(l, r * (l->inputs + 1u) + j);
    if (l->kind == MB_OUTPUT) {
        const uint32_t lanes = l->half ? 16u : 32u;
        for (uint32_t unit = lanes * r; unit < lanes * (r + 1u) && unit < l->units; unit++, w >>= 1) {
            ((mb_word *)(void *)c->sign)[2u * unit * c->pitch + (j >> 5)] |= (w & 1u) << (j & 31u);
        }
        return;
    }
    const uint32_t words = c->vector / 4u;
    ((mb_word *)(void *)c->sign)[(r / words * (l->inputs + 1u) + j) * words + r % words] = w;
}

void mb_wide_flip(const mb_layer *l, uint32_t input, uint32_t unit)
{
    const mb_wide_layer *c = l->wide;
    if (l->kind == MB_OUTPUT) {
        ((mb_word *)(void *)c->sign)[2u * unit * c->pitch + (input >> 5)] ^= 1u << (input & 31u);
        copy_fold(c, l->half ? unit >> 4 : unit >> 5);
    } else {
        copy_word(c, unit >> 5, input);
        copy_fold(c, unit >> 5);
    }
}

/// Hand-over ///

void mb_wide_layer_at(const mb_model *m, unsigned index, mb_layer *l)
{
    *l = ((const struct mb_wide *)(const void *)m->wide)->layers[index].of;
}

void mb_wide_arena(const mb_model *m, mb_arena *arena)
{
    const struct mb_wide *wide = (const struct mb_wide *)(const void *)m->wide;
    memcpy(arena, &wide->arena, wide->arena_bytes); /* of an unknown size: a call, which is faster than what a known one becomes */
}

int mb_wide_forward(const mb_model *m, const mb_arena *arena, const uint8_t *input, unsigned i, unsigned masks_from)
{
    const struct mb_wide *wide = (const struct mb_wide *)(const void *)m->wide;
    const mb_wide_layer *c = &wide->layers[i];
    const mb_level *level = &mb_levels[wide->vectors];
    const mb_layer *l = &c->of;
    uint32_t *bits = arena->bits[i];
    if (c->vector == 0) {
        return 0;
    }
    if (l->kind == MB_ENCODE) {
        level->encode(l, input, arena->bits[i + 1]);
        return 1;
    }
    const uint32_t words = MB_WORDS(l->inputs);
    if (i == 0) { /* packed bits */
        bits[words - 1u] = 0;
        memcpy(bits, input, (l->inputs + 7u) >> 3);
        bits[words - 1u] &= mb_lane_mask(l->inputs, words - 1u);
    }
    if (l->kind == MB_DENSE) {
        uint16_t *end = level->list(bits, words, wide->bytes, wide->list);
        for (unsigned n = 0; n < 15u; n++) {
            end[n] = (uint16_t)l->inputs; /* the zero row */
        }
        const uint32_t active = (uint32_t)(end - wide->list);
        c->dense(c, wide->list, active, arena->bits[i + 1], i >= masks_from ? arena->mask[i] : NULL, wide->carry);
        return 1;
    }
    level->scores(c, bits, wide->carry, arena->scores);
    return 1;
}

/// Public ///

size_t mb_wide_size(const mb_model *m, mb_vectors vectors)
{
    return m == NULL || m->image == NULL || vectors == MB_NO_VECTORS || !mb_vectors_runs(vectors) ? 0 : plan(m, vectors, NULL);
}

mb_status mb_widen(mb_model *m, mb_vectors vectors, void *memory, size_t len)
{
    if (m == NULL || m->image == NULL) {
        return MB_E_NULL;
    }
    if (m->arena == NULL) {
        return MB_E_DETACHED;
    }
    m->wide = NULL;
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
    struct mb_wide *wide = memory;
    (void)plan(m, vectors, memory);
    wide->vectors = vectors;
    wide->arena_bytes = sizeof wide->arena;
    (void)mb_arena_plan(m, m->mode, &wide->arena);
    for (unsigned i = 0; i < mb_layer_count(m); i++) {
        mb_wide_layer *c = &wide->layers[i];
        mb_layer *l = &c->of;
        if (c->vector == 0 || l->kind == MB_ENCODE) {
            continue;
        }
        const uint32_t lanes = l->half ? 16u : 32u;
        for (uint32_t r = 0; lanes * r < l->units; r++) {
            copy_fold(c, r);
            for (uint32_t j = 0; j < l->inputs; j++) {
                copy_word(c, r, j);
            }
        }
        l->wide = c;
    }
    m->wide = memory;
    return MB_OK;
}

mb_vectors mb_widened(const mb_model *m)
{
    return m == NULL || m->wide == NULL ? MB_NO_VECTORS : ((const struct mb_wide *)(const void *)m->wide)->vectors;
}
