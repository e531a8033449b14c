/* Convolutions on bits. They never learn on the device, so they keep nothing but the activations.
 *
 * A picture is packed as (row, column, channel), channel fastest, without gaps between pixels. So one row of a window is one
 * run of bits, and a whole picture is what a dense layer takes. */
#include <string.h>

#include "layers.h"

#if MB_HAS_CONV

enum { ROW = 1024 }; /* largest number of entries in a row's list: a larger one lists fewer columns twice but takes more memory */

/* A strip of places that is computed at a time, as wide as the lists of its rows allow. */
typedef struct strip {
    uint32_t places, span, room; /* places side by side; columns of a row; entries of its list */
    uint16_t *lists;             /* [kernel][room] active inputs, row r of the picture in number r mod kernel; then the tails */
    uint16_t *starts;            /* [kernel][span + 1] index into the list at which each column begins */
    mb_run *runs;                /* [kernel + 1] runs of one window */
} strip;

static strip strip_of(const mb_layer *l, uint32_t *work)
{
    const uint32_t c = l->channels, kernel = l->kernel, columns = mb_side(l, l->width) * l->pool;
    const uint32_t most = ROW / c > kernel ? (ROW / c - kernel) / l->stride + 1u : 1u;
    strip s = {most < columns ? most : columns, 0, 0, NULL, NULL, NULL};
    s.span = (s.places - 1u) * l->stride + kernel;
    s.room = s.span * c;
    if (work != NULL) {
        s.runs = (mb_run *)(void *)work;
        s.lists = (uint16_t *)(s.runs + kernel + 1u);
        s.starts = s.lists + kernel * (s.room + 7u) + 8u;
    }
    return s;
}

uint32_t mb_conv_bits_work(const mb_layer *l)
{
    const strip s = strip_of(l, NULL);
    return 3u * (l->kernel + 1u) + MB_WORDS(16u * (l->kernel * (s.room + s.span + 8u) + 8u));
}

/* Lists the active inputs of `span` pixels of row y from column x on. Outside the picture every input is on. */
static void list_row(const mb_layer *l, const uint32_t *image, int32_t y, int32_t x, uint32_t span, uint16_t *list,
                     uint16_t *starts)
{
    const uint32_t c = l->channels;
    const int inside = y >= 0 && y < l->height;
    uint16_t *end = list;
    for (uint32_t i = 0, j = 0; i < span; i++, x++) {
        starts[i] = (uint16_t)(end - list);
        if (inside && x >= 0 && x < l->width) {
            const uint32_t at = ((uint32_t)y * l->width + (uint32_t)x) * c;
            for (uint32_t k = 0; k < c; k += 32u) {
                end = mb_list_bits(end, mb_bits_at(image, at + k, c - k < 32u ? c - k : 32u), j + k);
            }
            j += c;
        } else {
            for (const uint32_t next = j + c; j < next; j++) {
                *end++ = (uint16_t)j;
            }
        }
    }
    starts[span] = (uint16_t)(end - list);
}

/* Makes the runs of one window: one for the whole eights of each row's list, and one for all tails. Returns the number of
 * active inputs. */
static uint32_t runs_of(const mb_layer *l, const strip *s, uint32_t y, uint32_t x)
{
    uint16_t *const tails = s->lists + l->kernel * s->room;
    uint16_t *end = tails;
    mb_run *run = s->runs;
    uint32_t active = 0, offset = 0u - x * l->channels;
    for (uint32_t k = 0; k < l->kernel; k++, run++, offset += l->kernel * l->channels) {
        const uint32_t slot = (y + k) % l->kernel;
        const uint16_t *const starts = s->starts + slot * (s->span + 1u), *const list = s->lists + slot * s->room;
        const uint32_t from = starts[x], to = starts[x + l->kernel], count = (to - from) & ~7u;
        run->from = slot * s->room + from;
        run->count = count;
        run->offset = (int32_t)offset;
        for (uint32_t i = from + count; i < to; i++) {
            *end++ = (uint16_t)(list[i] + offset);
        }
        active += to - from;
    }
    *run = mb_whole_list(mb_pad_list(tails, end, l->inputs));
    run->from = l->kernel * s->room;
    return active;
}

/* Computes each place as a dense layer does. A row is listed once for all windows that see it. */
void mb_conv_bits(const mb_layer *l, const mb_arena *arena, const uint32_t *image, uint32_t *out)
{
    const uint32_t groups = MB_WORDS(l->units), rows = mb_side(l, l->height) * l->pool, columns = mb_side(l, l->width) * l->pool;
    const int32_t above = mb_pad_before(l, l->height), before = mb_pad_before(l, l->width);
    const strip s = strip_of(l, arena->kernel_scratch);
    memset(out, 0, 4u * MB_WORDS(mb_outputs(l)));
    for (uint32_t left = 0; left < columns; left += s.places) {
        const uint32_t here = columns - left < s.places ? columns - left : s.places;
        for (uint32_t row = 0, listed = 0; row < rows; row++) {
            const uint32_t y = row * l->stride, seen = y + l->kernel; /* rows of the padded picture */
            for (listed = listed < y ? y : listed; listed < seen; listed++) {
                const uint32_t slot = listed % l->kernel, span = (here - 1u) * l->stride + l->kernel;
                list_row(l, image, (int32_t)listed - above, (int32_t)(left * l->stride) - before, span, s.lists + slot * s.room,
                         s.starts + slot * (s.span + 1u));
            }
            for (uint32_t column = 0; column < here; column++) {
                const uint32_t active = runs_of(l, &s, y, column * l->stride);
                const uint32_t at = (row / l->pool * (columns / l->pool) + (left + column) / l->pool) * l->units;
                for (uint32_t r = 0; r < groups; r++) { /* pooling is the OR over a square */
                    uint32_t v[MB_PLANES_MAX];
                    mb_sums(l, r, s.lists, s.runs, l->kernel + 1u, v, arena->carry);
                    mb_or_bits(out, at + 32u * r, ~mb_sign_of_sum(v, l->planes, -(int32_t)active) & mb_lane_mask(l->units, r));
                }
            }
        }
    }
}
#endif
