/* Convolutions on 8-bit inputs. Every place of the window visits its few inputs again, so that building eight lists for each
 * place would cost 3 to 10 times as much as all sums (measured). Here four inputs share a table of their 16 signed sums, and
 * a unit looks up one entry for four of its weights. */
#include <string.h>

#include "layers.h"

#if MB_HAS_BYTES && MB_HAS_CONV

/* One place of the window. Its rows [top, bottom) and columns [left, right) lie inside the picture. */
typedef struct place {
    uint32_t row, column, columns; /* position, and width of the convolved picture without what pooling drops */
    uint32_t top, bottom, left, right;
    uint32_t out;  /* index of the first unit's bit in the output */
    int32_t y, x;  /* picture coordinates of the window's first pixel; negative in the padding */
    int32_t before; /* columns of padding */
} place;

/* The steps [first, last) of a window at `at` that lie in 0..size - 1. post: first < last, because padding is narrower than
 * a window. */
static void clip(int32_t at, uint32_t kernel, uint32_t size, uint32_t *first, uint32_t *last)
{
    const int32_t rest = (int32_t)size - at;
    *first = at < 0 ? (uint32_t)-at : 0;
    *last = rest < (int32_t)kernel ? (uint32_t)rest : kernel;
}

static void clip_row(const mb_layer *l, place *p)
{
    p->y = (int32_t)(p->row * l->stride) - mb_pad_before(l, l->height);
    clip(p->y, l->kernel, l->height, &p->top, &p->bottom);
}

static void clip_column(const mb_layer *l, place *p)
{
    p->x = (int32_t)(p->column * l->stride) - p->before;
    clip(p->x, l->kernel, l->width, &p->left, &p->right);
    p->out = (p->row / l->pool * (p->columns / l->pool) + p->column / l->pool) * l->units; /* pooling is the OR over a square */
}

/* Index in the picture of the first value of window row k that lies inside it. */
static uint32_t place_at(const mb_layer *l, const place *p, uint32_t k)
{
    const uint32_t row = (uint32_t)(p->y + (int32_t)k), column = (uint32_t)(p->x + (int32_t)p->left);
    return (row * l->width + column) * l->channels;
}

enum { TABLE = 16, TABLES = 8 }; /* entries of a table for four inputs; tables for one word of weights */

/* Memory that one call shares among all places, in arena->kernel_scratch. */
typedef struct units {
    uint32_t words; /* words in a unit's row of weights */
    uint32_t *rows; /* [N][words] weights, bit j of a row from input j */
    int32_t *start; /* [N] minus the threshold */
    int32_t *sums;  /* [N] sums of the present place */
    int32_t *table; /* [TABLES][TABLE] signed sums of 32 inputs, four by four */
} units;

uint32_t mb_conv_bytes_work(const mb_layer *l)
{
    return l->units * (MB_WORDS(l->inputs) + 2u) + TABLE * TABLES;
}

static units prepare(const mb_layer *l, uint32_t *work)
{
    units u = {MB_WORDS(l->inputs), work, NULL, NULL, NULL};
    u.start = (int32_t *)(work + l->units * u.words);
    u.sums = u.start + l->units;
    u.table = u.sums + l->units;
    memset(u.rows, 0, 4u * l->units * u.words);
    for (uint32_t i = 0; i < l->units; i++) { /* turns input-major weights into rows: K * N steps, once for all places */
        const uint32_t r = i >> 5, lane = i & 31u, column = r * (l->inputs + 1u);
        for (uint32_t j = 0; j < l->inputs; j++) {
            mb_or_bits(u.rows + i * u.words, j, (mb_lanes_at(l->sign, column + j, 0) >> lane) & 1u);
        }
        u.start[i] = mb_lane_value(l->fold + r * l->planes, l->planes, lane);
    }
    return u;
}

/* values [K] = picture under the window as (row, column, channel), 255 outside; then zeros up to a multiple of 32. */
static void gather(const mb_layer *l, const place *p, const uint8_t *image, uint8_t *values)
{
    const uint32_t c = l->channels, row = l->kernel * c, whole = p->right - p->left == l->kernel ? p->bottom - p->top : 0;
    if (whole < l->kernel) {
        memset(values, 255, l->inputs);
    }
    for (uint32_t k = p->top; k < p->bottom; k++) {
        memcpy(values + k * row + p->left * c, image + place_at(l, p, k), (p->right - p->left) * c);
    }
    for (uint32_t j = l->inputs; (j & 31u) != 0; j++) {
        values[j] = 0;
    }
}

/* u->sums = from + the sums of 32 inputs, for all units, by word number `word` of their weights. */
static void add_word(const mb_layer *l, const units *u, const int32_t *from, uint32_t word)
{
    const uint32_t *row = u->rows + word;
    MB_ROLLED
    for (uint32_t i = 0; i < l->units; i++, row += u->words) {
        u->sums[i] = from[i] + mb_look_up(u->table, *row, 8);
    }
}

/* Adds the last inputs and returns the signs of the sums of 32 units. */
MB_INLINE uint32_t last_word(const mb_layer *l, const units *u, const int32_t *from, uint32_t first, uint32_t tables)
{
    uint32_t i = l->units - first < 32u ? l->units : first + 32u, signs = 0;
    const uint32_t *row = u->rows + i * u->words - 1;
    MB_ROLLED
    for (; i > first; row -= u->words) {
        signs = signs << 1 | (uint32_t)(from[--i] + mb_look_up(u->table, *row, tables) >= 0);
    }
    return signs;
}

static void add_values(const mb_layer *l, const units *u, const uint8_t *values, uint32_t at, uint32_t *out)
{
    const int32_t *from = u->start;
    for (uint32_t word = 0; word < u->words; word++, values += 32, from = u->sums) {
        const uint32_t left = l->inputs - 32u * word;
        const uint32_t tables = left <= 16u ? 4u : left <= 28u ? 7u : 8u; /* 28 inputs hold a 3x3 window in colour */
        for (uint32_t t = 0; t < tables; t++) {
            const uint8_t *x = values + 4u * t;
            mb_signed_sums(x[0], x[1], x[2], x[3], u->table + TABLE * t);
        }
        if (word + 1u < u->words) {
            add_word(l, u, from, word);
            continue;
        }
        for (uint32_t first = 0; first < l->units; first += 32u) {
            mb_or_bits(out, at + first,
                       tables == 4u   ? last_word(l, u, from, first, 4)
                       : tables == 7u ? last_word(l, u, from, first, 7)
                                      : last_word(l, u, from, first, 8));
        }
    }
}

void mb_conv_bytes(const mb_layer *l, const mb_arena *arena, const uint8_t *image, uint32_t *out)
{
    uint8_t *const values = (uint8_t *)arena->active; /* room: 2 (K + 8) bytes, K at least 16 */
    const units u = prepare(l, arena->kernel_scratch);
    const uint32_t rows = mb_side(l, l->height) * l->pool;
    place p;
    p.columns = mb_side(l, l->width) * l->pool;
    p.before = mb_pad_before(l, l->width);
    memset(out, 0, 4u * MB_WORDS(mb_outputs(l)));
    for (p.row = 0; p.row < rows; p.row++) {
        clip_row(l, &p);
        for (p.column = 0; p.column < p.columns; p.column++) {
            clip_column(l, &p);
            gather(l, &p, image, values);
            add_values(l, &u, values, p.out, out);
        }
    }
}
#endif
