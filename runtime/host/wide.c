/* Copies of weights for a host's vectors, which kernels run on this processor, and where the library hands over to them. */
#include "wide.h"

#include <string.h>

#include "layer.h"

typedef struct mb_wide_layer mb_wide_layer;
typedef void mb_dense_of(const mb_wide_layer *c, const uint16_t *list, uint32_t active, uint32_t *out, uint32_t *mask, void *scratch);

/* A layer and its copy. */
struct mb_wide_layer {
    mb_layer of;
    mb_dense_of *dense; /* of a dense layer */
    uint32_t vector;    /* bytes of a vector of its; 0: not copied */
    uint32_t pitch;     /* of an output layer: 64-bit words of a row */
    uint8_t *sign;      /* dense: [block][K + 1] vectors; output: [N][pitch] words of 64 bits, a row a unit */
    uint8_t *fold;      /* dense: [block][planes] vectors; output: int32 [N] */
};

/// Kernels ///

#define PORTABLE_FULL_ADD(high, low, a, b, c) MB_FULL_ADD_OF(LANES, high, low, a, b, c)
#define VECTOR(bytes) __attribute__((vector_size(bytes), may_alias))
#define ALWAYS /* no attribute: what every processor of this architecture has */

static const uint64_t ALL[2] = {0, ~(uint64_t)0}; /* a bit in every lane, with one load */

#define LANES uint64_t
#define TARGET ALWAYS
#define NAME(x) x##_words
#define FULL_ADD PORTABLE_FULL_ADD
#include "kernels.h"

#if defined(__GNUC__)
typedef uint64_t v16 VECTOR(16);
typedef uint64_t v32 VECTOR(32);
typedef uint64_t v64 VECTOR(64);

#define LANES v16
#define TARGET ALWAYS
#define NAME(x) x##_16
#define FULL_ADD PORTABLE_FULL_ADD
#include "kernels.h"
#endif

#if defined(__GNUC__) && defined(__x86_64__)
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2,bmi,bmi2,popcnt")))
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,bmi,bmi2,popcnt")))
#define VBMI2 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi2,bmi,bmi2,popcnt")))
/* a ^ b ^ c and the majority, an instruction each */
#define TERNARY(logic, type, high, low, a, b, c)                  \
    do {                                                          \
        const type a_ = (type)(a), b_ = (type)(b), c_ = (type)(c); \
        (low) = (LANES)logic(a_, b_, c_, 0x96);                   \
        (high) = (LANES)logic(a_, b_, c_, 0xE8);                  \
    } while (0)

#define LANES v32
#define TARGET AVX2
#define NAME(x) x##_avx2_32
#define FULL_ADD PORTABLE_FULL_ADD
#include "kernels.h"
#define LANES v16
#define TARGET AVX512
#define NAME(x) x##_avx512_16
#define FULL_ADD(high, low, a, b, c) TERNARY(_mm_ternarylogic_epi64, __m128i, high, low, a, b, c)
#include "kernels.h"
#define LANES v32
#define TARGET AVX512
#define NAME(x) x##_avx512_32
#define FULL_ADD(high, low, a, b, c) TERNARY(_mm256_ternarylogic_epi64, __m256i, high, low, a, b, c)
#include "kernels.h"
#define LANES v64
#define TARGET AVX512
#define NAME(x) x##_avx512_64
#define FULL_ADD(high, low, a, b, c) TERNARY(_mm512_ternarylogic_epi64, __m512i, high, low, a, b, c)
#include "kernels.h"
#endif

/// Lists of what is on ///

/* Writes up to SLACK beyond the end. bytes: of each byte the numbers of its bits, see spread_bytes. */
typedef uint16_t *mb_list_of(const uint32_t *bits, uint32_t words, const uint16_t *bytes, uint16_t *list);
enum { SLACK = 64 };

static void spread_bytes(uint16_t *bytes) /* [256][8] */
{
    for (uint32_t i = 0; i < 256u; i++) {
        (void)mb_list_bits(bytes + 8u * i, i, 0);
    }
}

static uint16_t *list_bits(const uint32_t *bits, uint32_t words, const uint16_t *bytes, uint16_t *list)
{
    (void)bytes;
    for (uint32_t i = 0; i < words; i++) {
        list = mb_list_bits(list, bits[i], 32u * i);
    }
    return list;
}

#if defined(__GNUC__) && defined(__x86_64__)
typedef uint16_t v8 VECTOR(16);

/* A byte at a time, without a branch for each bit: it would often be mispredicted. */
AVX2 static uint16_t *list_bits_popcnt(const uint32_t *bits, uint32_t words, const uint16_t *bytes, uint16_t *list)
{
    v8 base = {0};
    for (uint32_t i = 0; i < words; i++) {
        uint32_t v = bits[i];
        if (v == 0) {
            base += 32;
            continue;
        }
        for (unsigned byte = 0; byte < 4u; byte++, v >>= 8) {
            const v8 all = *(const v8 *)(const void *)(bytes + 8u * (v & 255u)) + base;
            memcpy(list, &all, sizeof all);
            list += __builtin_popcount(v & 255u);
            base += 8;
        }
    }
    return list;
}

VBMI2 static uint16_t *list_bits_vbmi2(const uint32_t *bits, uint32_t words, const uint16_t *bytes, uint16_t *list)
{
    (void)bytes;
    const __m512i step = _mm512_set1_epi16(32);
    __m512i at = _mm512_set_epi16(31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5,
                                  4, 3, 2, 1, 0);
    for (uint32_t i = 0; i < words; i++) {
        _mm512_storeu_si512(list, _mm512_maskz_compress_epi16(bits[i], at));
        list += _mm_popcnt_u32(bits[i]);
        at = _mm512_add_epi16(at, step);
    }
    return list;
}
#endif

/// Scores ///

enum { ROW = 4 }; /* words of 64 bits that a row is a multiple of */

/* Of every unit, from its row: V = fold + 2 |w & x| - |x| in as many bits as the library keeps, then as `output`. x: room for a
 * row. */
typedef void mb_scores_of(const mb_wide_layer *c, const uint32_t *bits, uint64_t *x, int32_t *scores);

#if defined(__GNUC__) && defined(__x86_64__)
AVX2 static void scores_popcnt(const mb_wide_layer *c, const uint32_t *bits, uint64_t *x, int32_t *scores)
{
    const mb_layer *l = &c->of;
    const uint32_t words = MB_WORDS(l->inputs), sign = 1u << (l->planes - 1u), odd = l->inputs & 1u;
    const uint64_t *row = (const uint64_t *)(const void *)c->sign;
    const int32_t *fold = (const int32_t *)(const void *)c->fold;
    uint64_t active = 0;
    for (uint32_t i = 0; i < c->pitch; i++) {
        const uint32_t low = 2u * i < words ? bits[2u * i] : 0, high = 2u * i + 1u < words ? bits[2u * i + 1u] : 0;
        x[i] = low | (uint64_t)high << 32;
        active += (uint64_t)__builtin_popcountll(x[i]);
    }
    for (uint32_t unit = 0; unit < l->units; unit++, row += c->pitch) {
        uint64_t both = 0;
        for (uint32_t i = 0; i < c->pitch; i += ROW) {
            both += (uint64_t)(__builtin_popcountll(row[i] & x[i]) + __builtin_popcountll(row[i + 1u] & x[i + 1u]) +
                               __builtin_popcountll(row[i + 2u] & x[i + 2u]) + __builtin_popcountll(row[i + 3u] & x[i + 3u]));
        }
        const uint32_t v = ((uint32_t)fold[unit] + 2u * (uint32_t)both - (uint32_t)active) & (2u * sign - 1u);
        int32_t a = (int32_t)((v ^ sign) - sign);
        if (l->input == MB_PLUS_MINUS) {
            a = 2 * a + (int32_t)odd;
        }
        scores[unit] = a * l->scores[unit] + l->scores[l->units + unit];
    }
}
#endif

/// Input bits ///

/* Thermometer code of one pixel, as `encode` of forward.c. GE32(x, t): a bit for each of 32 features. */
#define ENCODER(name, target, GE32)                                                             \
    target static void name(const mb_layer *l, const uint8_t *features, uint32_t *bits)         \
    {                                                                                           \
        uint64_t word = 0; /* the low `lane` bits are waiting */                                \
        uint32_t lane = 0;                                                                      \
        for (uint32_t plane = 0; plane < l->units; plane += l->inputs) {                        \
            const uint8_t *t = l->thresholds + plane;                                           \
            uint32_t f = 0;                                                                     \
            for (; f + 32u <= l->inputs; f += 32u) {                                            \
                word |= (uint64_t)GE32(features + f, t + f) << lane;                            \
                *bits++ = (uint32_t)word;                                                       \
                word >>= 32;                                                                    \
            }                                                                                   \
            for (; f < l->inputs; f++) {                                                        \
                word |= (uint64_t)(features[f] >= t[f]) << lane;                                \
                if (++lane == 32u) {                                                            \
                    *bits++ = (uint32_t)word;                                                   \
                    word = 0;                                                                   \
                    lane = 0;                                                                   \
                }                                                                               \
            }                                                                                   \
        }                                                                                       \
        if (lane != 0) {                                                                        \
            *bits = (uint32_t)word;                                                             \
        }                                                                                       \
    }

typedef void mb_encode_of(const mb_layer *l, const uint8_t *features, uint32_t *bits);

#if defined(__GNUC__) && defined(__x86_64__)
/* x >= t where max(x, t) is x */
static inline uint32_t ge_16(const uint8_t *x, const uint8_t *t)
{
    const __m128i a = _mm_loadu_si128((const __m128i *)(const void *)x), b = _mm_loadu_si128((const __m128i *)(const void *)t);
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_max_epu8(a, b), a));
}

static inline uint32_t ge_32(const uint8_t *x, const uint8_t *t)
{
    return ge_16(x, t) | ge_16(x + 16, t + 16) << 16;
}

AVX2 static inline uint32_t ge_32_avx2(const uint8_t *x, const uint8_t *t)
{
    const __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)x), b = _mm256_loadu_si256((const __m256i *)(const void *)t);
    return (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_max_epu8(a, b), a));
}

ENCODER(encode_16, ALWAYS, ge_32)
ENCODER(encode_avx2, AVX2, ge_32_avx2)
#endif

/// Levels ///

enum { WIDTHS = 4 };

typedef struct mb_level {
    const char *name;
    mb_dense_of *dense[WIDTHS]; /* with vectors of 8, 16, 32 and 64 bytes */
    mb_list_of *list;
    mb_scores_of *scores; /* NULL: outputs are left to the library */
    mb_encode_of *encode; /* NULL: encoders are */
} mb_level;

static const mb_level LEVELS[MB_VECTORS] = {
    [MB_NO_VECTORS] = {"none", {NULL, NULL, NULL, NULL}, NULL, NULL, NULL},
    [MB_WORDS] = {"words", {dense_words, NULL, NULL, NULL}, list_bits, NULL, NULL},
#if defined(__GNUC__) && defined(__x86_64__)
    [MB_SSE2] = {"sse2", {NULL, dense_16, NULL, NULL}, list_bits, NULL, encode_16},
    [MB_AVX2] = {"avx2", {NULL, dense_16, dense_avx2_32, NULL}, list_bits_popcnt, scores_popcnt, encode_avx2},
    [MB_AVX512] = {"avx512", {NULL, dense_avx512_16, dense_avx512_32, dense_avx512_64}, list_bits_popcnt, scores_popcnt, encode_avx2},
    [MB_AVX512VBMI2] = {"avx512vbmi2", {NULL, dense_avx512_16, dense_avx512_32, dense_avx512_64}, list_bits_vbmi2, scores_popcnt, encode_avx2},
#else
    [MB_SSE2] = {"sse2", {NULL, NULL, NULL, NULL}, NULL, NULL, NULL},
    [MB_AVX2] = {"avx2", {NULL, NULL, NULL, NULL}, NULL, NULL, NULL},
    [MB_AVX512] = {"avx512", {NULL, NULL, NULL, NULL}, NULL, NULL, NULL},
    [MB_AVX512VBMI2] = {"avx512vbmi2", {NULL, NULL, NULL, NULL}, NULL, NULL, NULL},
#endif
#if defined(__GNUC__) && defined(__ARM_NEON)
    [MB_NEON] = {"neon", {NULL, dense_16, NULL, NULL}, list_bits, NULL, NULL},
#else
    [MB_NEON] = {"neon", {NULL, NULL, NULL, NULL}, NULL, NULL, NULL},
#endif
};

const char *mb_vectors_name(mb_vectors vectors)
{
    return LEVELS[vectors].name;
}

int mb_vectors_runs(mb_vectors vectors)
{
    if (vectors != MB_NO_VECTORS && LEVELS[vectors].list == NULL) {
        return 0;
    }
#if defined(__GNUC__) && defined(__x86_64__)
    __builtin_cpu_init();
    const int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
                     __builtin_cpu_supports("popcnt");
    const int avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                       __builtin_cpu_supports("avx512vl");
    switch (vectors) {
    case MB_AVX2: return avx2;
    case MB_AVX512: return avx512;
    case MB_AVX512VBMI2: return avx512 && __builtin_cpu_supports("avx512vbmi2");
    default: return 1;
    }
#else
    return 1;
#endif
}

mb_vectors mb_vectors_best(void)
{
    mb_vectors best = MB_NO_VECTORS;
    for (int v = MB_NO_VECTORS; v < MB_VECTORS; v++) {
        best = mb_vectors_runs((mb_vectors)v) ? (mb_vectors)v : best;
    }
    return best;
}

/// Memory ///

/* The head of the wide memory: what would otherwise be worked out at every call, then scratch and copies. */
struct mb_wide {
    mb_vectors vectors;
    mb_arena arena;
    size_t arena_bytes;
    uint16_t *bytes; /* what lists are made of */
    uint16_t *list;  /* as the arena's, and SLACK */
    void *carry;    /* as the arena's, of vectors */
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
        for (unsigned w = WIDTHS; w-- > 0;) {
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
        plan_layer(&LEVELS[vectors], c, memory, &used);
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
        mb_lane_values(planes, l->planes, (int32_t *)(void *)c->fold + lanes * r, left < lanes ? left : lanes);
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
    const mb_level *level = &LEVELS[wide->vectors];
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
