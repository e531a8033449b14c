/* Layers that look through a window: convolutions with their pooling, and dense layers on 8-bit inputs, whose window is all
 * there is. They never learn on the device, so nothing here keeps more than the activations.
 *
 * An image is packed bits, (row, column, channel), the last one fastest and nothing between pixels: one row of a window is one
 * run of bits, and a whole image is what a dense layer takes. */
#include <string.h>

#include "layer.h"

/// Shapes ///

/* Height or width after the convolution, before pooling. */
static uint32_t convolved(const mb_layer *l, uint32_t size)
{
    return l->same ? (size + l->stride - 1u) / l->stride : (size - l->kernel) / l->stride + 1u;
}

/* Rows (or columns) of +1 before the image: of an odd number of them the larger half lies after it. */
static uint32_t pad_before(const mb_layer *l, uint32_t size)
{
    const uint32_t span = (convolved(l, size) - 1u) * l->stride + l->kernel;
    return l->same && span > size ? (span - size) / 2u : 0;
}

uint32_t mb_side(const mb_layer *l, uint32_t size)
{
    return convolved(l, size) / l->pool; /* what does not fill a square is dropped */
}

uint32_t mb_outputs(const mb_layer *l)
{
    return l->kind == MB_CONV ? mb_side(l, l->height) * mb_side(l, l->width) * l->units : l->units;
}

/// Bits ///

void mb_slice_bytes(const uint8_t *input, uint32_t n, uint32_t *planes)
{
    const uint32_t words = MB_WORDS(n);
    memset(planes, 0, 4u * 8u * words);
    for (uint32_t i = 0; i < n; i += 4u) {
        uint32_t four = 0;
        for (uint32_t k = 0; k < 4u && i + k < n; k++) {
            four |= (uint32_t)input[i + k] << (8u * k);
        }
        for (unsigned b = 0; b < 8u; b++) {
            planes[b * words + (i >> 5)] |= mb_bit_of_four(four, b) << (i & 31u);
        }
    }
}

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

/* Appends n inputs from j on: outside the image everything is on. */
static uint16_t *list_all(uint16_t *list, uint32_t n, uint32_t j)
{
    while (n-- > 0) {
        *list++ = (uint16_t)j++;
    }
    return list;
}

/* The window's inputs (row, column, channel) that are on, where its first pixel lies at (y, x) of the image, or outside. */
static uint32_t active_in_window(const mb_layer *l, const uint32_t *image, int32_t y, int32_t x, uint16_t *list)
{
    const int32_t width = (int32_t)l->width, height = (int32_t)l->height, kernel = (int32_t)l->kernel;
    const uint32_t first = x < 0 ? (uint32_t)-x : 0; /* columns [first, last) of the window lie inside */
    const uint32_t last = (uint32_t)(x + kernel > width ? width - x : kernel);
    const uint32_t c = l->channels, row = l->kernel * c; /* values of a pixel, of a row of the window */
    uint16_t *end = list;
    for (uint32_t k = 0, j = 0; k < l->kernel; k++, j += row, y++) {
        if (y < 0 || y >= height) {
            end = list_all(end, row, j);
            continue;
        }
        const uint32_t at = ((uint32_t)(y * width + x) + first) * c;
        end = list_all(end, first * c, j);
        end = list_run(end, image, at, (last - first) * c, j + first * c);
        end = list_all(end, row - last * c, j + last * c);
    }
    return mb_pad_list(list, end, l->inputs);
}

/// Layer ///

/* The units at one place of the window, or-ed into their place in `out`. V is fold + twice the columns of what is on, counted
 * 2^b times in bit plane b, minus the sum of the inputs (docs/learning-rule.md, "Sums"). */
static void window(const mb_layer *l, const mb_arena *arena, const uint32_t *bits, int32_t y, int32_t x, uint32_t *out,
                   uint32_t at)
{
    const uint32_t groups = MB_WORDS(l->units), pitch = l->inputs + 1u, plane = MB_WORDS(mb_values(l));
    const mb_word *sign = (const mb_word *)(const void *)l->sign;
    uint32_t sum = 0;
    memcpy(arena->counters, l->fold, 4u * groups * l->planes);
    for (unsigned b = 0; b < mb_depth(l); b++) {
        const uint32_t active = active_in_window(l, bits + b * plane, y, x, arena->list), count = (active + 7u) & ~7u;
        uint32_t *v = arena->counters + b;
        sum += active << b;
        for (uint32_t r = 0; r < groups; r++, v += l->planes) {
            mb_add_columns(sign + r * pitch, arena->list, count, v, l->planes - b, arena->carry);
        }
    }
    for (uint32_t r = 0; r < groups; r++) {
        const uint32_t negative = mb_sign_of_sum(arena->counters + r * l->planes, l->planes, -(int32_t)sum);
        mb_or_bits(out, at + 32u * r, ~negative & mb_lane_mask(l->units, r));
    }
}

void mb_windows(const mb_layer *l, const mb_arena *arena, const uint32_t *bits, uint32_t *out)
{
    const uint32_t rows = mb_side(l, l->height), columns = mb_side(l, l->width), pool = l->pool;
    const int32_t stride = (int32_t)l->stride;
    const int32_t top = -(int32_t)pad_before(l, l->height), left = -(int32_t)pad_before(l, l->width);
    memset(out, 0, 4u * MB_WORDS(mb_outputs(l)));
    for (uint32_t row = 0; row < rows * pool; row++) {
        for (uint32_t column = 0; column < columns * pool; column++) {
            const uint32_t at = (row / pool * columns + column / pool) * l->units; /* pooling is the OR of a square */
            window(l, arena, bits, top + (int32_t)row * stride, left + (int32_t)column * stride, out, at);
        }
    }
}
