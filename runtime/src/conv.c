/* Convolutions, and what their two kernels share: the places of the window. They never learn on the device, so nothing here
 * keeps more than the activations.
 *
 * An image is packed (row, column, channel), the last one fastest and nothing between pixels: one row of a window is one run,
 * and a whole image is what a dense layer takes. */
#include <string.h>

#include "layer.h"

/// Places ///

/* Height or width after the convolution, before pooling. */
static uint32_t convolved(const mb_layer *l, uint32_t size)
{
    return l->same ? (size + l->stride - 1u) / l->stride : (size - l->kernel) / l->stride + 1u;
}

/* Rows (or columns) of +1 before the image: of an odd number of them the larger half lies after it. */
static int32_t pad_before(const mb_layer *l, uint32_t size)
{
    const uint32_t span = (convolved(l, size) - 1u) * l->stride + l->kernel;
    return l->same && span > size ? (int32_t)((span - size) / 2u) : 0;
}

uint32_t mb_side(const mb_layer *l, uint32_t size)
{
    return convolved(l, size) / l->pool; /* what does not fill a square is dropped */
}

uint32_t mb_outputs(const mb_layer *l)
{
    return l->kind == MB_CONV ? mb_side(l, l->height) * mb_side(l, l->width) * l->units : l->units;
}

/* The part [first, last) of `kernel` steps from `at` on that lies in 0..size - 1: never empty, or the padding would be wider
 * than the window. */
static void clip(int32_t at, uint32_t kernel, uint32_t size, uint32_t *first, uint32_t *last)
{
    const int32_t rest = (int32_t)size - at;
    *first = at < 0 ? (uint32_t)-at : 0;
    *last = rest < (int32_t)kernel ? (uint32_t)rest : kernel;
}

static void clip_row(const mb_layer *l, mb_place *p)
{
    p->y = (int32_t)(p->row * l->stride) - pad_before(l, l->height);
    clip(p->y, l->kernel, l->height, &p->top, &p->bottom);
}

static void clip_column(const mb_layer *l, mb_place *p)
{
    p->x = (int32_t)(p->column * l->stride) - p->before;
    clip(p->x, l->kernel, l->width, &p->left, &p->right);
    p->out = (p->row / l->pool * (p->columns / l->pool) + p->column / l->pool) * l->units; /* pooling is the OR of a square */
}

void mb_first_place(const mb_layer *l, mb_place *p)
{
    p->rows = mb_side(l, l->height) * l->pool;
    p->columns = mb_side(l, l->width) * l->pool;
    p->before = pad_before(l, l->width);
    p->row = p->column = 0;
    clip_row(l, p);
    clip_column(l, p);
}

void mb_next_place(const mb_layer *l, mb_place *p)
{
    if (++p->column == p->columns) {
        p->column = 0;
        if (++p->row == p->rows) {
            return;
        }
        clip_row(l, p);
    }
    clip_column(l, p);
}

/// Bits ///

/* Appends the inputs j, j + 1, ... of a run of n image bits that are on. */
static uint16_t *list_run(uint16_t *list, const uint32_t *image, uint32_t at, uint32_t n, uint32_t j)
{
    while (n > 0) {
        const uint32_t here = n < 32u ? n : 32u;
        list = mb_list_bits(list, mb_bits_at(image, at, here), j);
        at += here;
        j += here;
        n -= here;
    }
    return list;
}

/* Appends the inputs from j up to `end`: outside the image everything is on. */
static uint16_t *list_all(uint16_t *list, uint32_t j, uint32_t end)
{
    while (j < end) {
        *list++ = (uint16_t)j++;
    }
    return list;
}

/* The window's inputs (row, column, channel) that are on. */
static uint32_t active_in_window(const mb_layer *l, const mb_place *p, const uint32_t *image, uint16_t *list)
{
    const uint32_t c = l->channels, row = l->kernel * c;
    uint16_t *end = list_all(list, 0, p->top * row);
    for (uint32_t k = p->top, j = p->top * row; k < p->bottom; k++, j += row) {
        end = list_all(end, j, j + p->left * c);
        end = list_run(end, image, mb_place_at(l, p, k), (p->right - p->left) * c, j + p->left * c);
        end = list_all(end, j + p->right * c, j + row);
    }
    end = list_all(end, p->bottom * row, l->inputs);
    return mb_pad_list(list, end, l->inputs);
}

/* As a dense layer, place by place; one list serves all units. */
void mb_conv_bits(const mb_layer *l, const mb_arena *arena, const uint32_t *image, uint32_t *out)
{
    const uint32_t groups = MB_WORDS(l->units);
    mb_place place;
    memset(out, 0, 4u * MB_WORDS(mb_outputs(l)));
    for (mb_first_place(l, &place); mb_is_place(&place); mb_next_place(l, &place)) {
        const uint32_t active = active_in_window(l, &place, image, arena->list);
        for (uint32_t r = 0; r < groups; r++) {
            uint32_t v[MB_PLANES_MAX];
            mb_sums(l, r, arena->list, active, v, arena->carry);
            mb_or_bits(out, place.out + 32u * r, ~v[l->planes - 1] & mb_lane_mask(l->units, r));
        }
    }
}
