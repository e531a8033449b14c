/* The arena: how it is divided, and how a model gets its memories. */
#include <string.h>

#include "arena.h"
#include "layers.h"

/* Hands out the next words of the arena. */
static void *take(uintptr_t *next, uint32_t words)
{
    void *const p = (void *)*next;
    *next += 4u * words;
    return p;
}

static uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

uint32_t mb_arena_plan(const mb_model *m, mb_mode mode, mb_arena *arena)
{
#ifdef MB_WIDE
    if (m->wide != NULL) {
        mb_wide_arena(m, arena);
        return 0;
    }
#endif
    const unsigned count = mb_layer_count(m);
    uintptr_t next = (uintptr_t)m->arena; /* an integer: there may be no arena yet */
    mb_layer l;
    uint32_t most_inputs = 16; /* a convolution on bytes pads its window to 32 */
    uint32_t most_units = 0, most_work = 0, graded = 0, kernel = 0, sums = MB_SUMS;
    for (unsigned i = 0; i < count; i++) {
        mb_layer_at(m, i, &l);
        if (l.kind == MB_ENCODE) {
            continue;
        }
        const uint32_t values = mb_values(&l), digits = l.kind == MB_DENSE && MB_ON_BYTES(&l);
        const uint32_t planes = digits ? MB_BYTE_PLANES : !MB_ON_GRADES(&l) && !MB_ON_BYTES(&l);
        arena->bits[i] = take(&next, MB_WORDS(values) * planes);
        /* of digits K may be listed before a last place adds K more and pads twice; ten beyond that, and the carries fit too. A build
         * at -Os takes less, but the sizes of one image are the same everywhere. */
        most_inputs = larger(most_inputs, MB_IS_GRADED(&l) ? values : digits ? 2u * l.inputs + 24u : l.inputs);
        most_units = larger(most_units, l.units);
        if (l.ternary) {
            sums = larger(sums, 3u * ((MB_WORDS(l.units) + 7u) & ~7u));
        }
        if (MB_IS_GRADED(&l)) { /* only the last before the output */
            graded = l.units;
        }
        if (MB_IS_CONV(&l)) {
            kernel = larger(kernel, l.kernel);
            most_work = larger(most_work, MB_ON_BYTES(&l) ? mb_conv_bytes_work(&l) : mb_conv_bits_work(&l));
        } else if (MB_ON_BYTES(&l)) {
            most_work = larger(most_work, MB_WORDS(l.units) * (l.planes + 2u));
        }
    }
    arena->list = take(&next, (most_inputs + 9u) / 2u);
    arena->carry = take(&next, most_inputs / 16u + kernel + 9u);
    arena->work = take(&next, most_work);
    arena->values = take(&next, graded);
    arena->scores = take(&next, mb_u16_at(m->image + MB_AT_CLASSES));
    if (MB_HAS_LEARN && mode == MB_LEARN) { /* after all that prediction takes, so that it lies the same in both modes */
        for (unsigned i = 0; i < count; i++) {
            mb_layer_at(m, i, &l);
            arena->mask[i] = l.kind == MB_DENSE && !MB_ON_BYTES(&l) ? take(&next, MB_WORDS(l.units)) : NULL;
        }
        arena->error[0] = take(&next, most_units);
        arena->error[1] = take(&next, most_units);
        arena->sums = take(&next, sums);
        arena->votes.slot = NULL;
        mb_layer_at(m, count < 2u ? 0 : count - 2u, &l);
        if (MB_IS_GRADED(&l) && l.learns) {
            const uint32_t batch = l.batch;
            arena->votes.passes = take(&next, 4u * l.units);
            arena->votes.slot = take(&next, 1);
            arena->votes.inputs = take(&next, mb_values(&l) * (batch >> 5));
            arena->votes.asked = take(&next, 3u * batch * MB_WORDS(l.units));
        }
    }
    return (uint32_t)(next - (uintptr_t)m->arena);
}

size_t mb_arena_size(const mb_model *m, mb_mode mode)
{
    mb_arena arena;
    if (m == NULL || m->image == NULL) {
        return 0;
    }
#ifdef MB_WIDE
    mb_model plain = *m;
    plain.wide = NULL;
    m = &plain;
#endif
    return mb_arena_plan(m, mode, &arena);
}

MB_SMALL mb_status mb_attach(mb_model *m, void *state, size_t state_len, void *arena, size_t arena_len)
{
#ifdef MB_WIDE
    if (m != NULL) {
        m->wide = NULL; /* of another state and arena, and perhaps gone: not to be read from here on */
    }
#endif
    if (m == NULL || m->image == NULL || (state == NULL && state_len != 0) || arena == NULL) {
        return MB_E_NULL;
    }
    if ((((uintptr_t)state | (uintptr_t)arena) & 3u) != 0) {
        return MB_E_ALIGN;
    }
    if (state != NULL && state_len < mb_u32_at(m->image + MB_AT_STATE_SIZE)) {
        return MB_E_STATE_SIZE;
    }
    mb_arena plan;
    if (arena_len < mb_arena_plan(m, MB_INFER, &plan)) {
        return MB_E_ARENA_SIZE;
    }
    m->mode = MB_HAS_LEARN && state != NULL && arena_len >= mb_arena_plan(m, MB_LEARN, &plan) ? MB_LEARN : MB_INFER;
    m->state = state;
    m->arena = arena;
    if (state != NULL) { /* else it predicts from the image itself */
        memcpy(state, m->image + mb_u32_at(m->image + MB_AT_STATE), mb_u32_at(m->image + MB_AT_STATE_SIZE));
    }
#if MB_HAS_GRADED
    const uint32_t size = mb_arena_plan(m, m->mode, &plan);
    if (m->mode == MB_LEARN && plan.votes.slot != NULL) {
        uint8_t *from = (uint8_t *)plan.votes.slot;
        memset(from, 0, size - (uint32_t)(from - m->arena));
    }
#endif
    return MB_OK;
}

