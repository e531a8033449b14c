/* How the arena is divided, and how a model gets its memories. */
#include "arena.h"

#include <string.h>

#include "fours.h"
#include "layers.h"

enum { LAYER_ROOM = 112 }; /* bytes for one mb_layer: as many where pointers are narrower, so that one image has one arena size */
typedef char layer_fits_its_room[sizeof(mb_layer) <= LAYER_ROOM ? 1 : -1];

/* Takes the next words of the arena. */
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

/* Divides the arena at `begin` and returns its size in bytes. Records are read into `table`. Without one, only the size means
 * anything. begin is an integer, because there may be no memory yet. */
static uint32_t divide(const mb_model *m, mb_mode mode, uintptr_t begin, mb_layer *table, mb_arena *arena)
{
    const unsigned count = mb_layer_count(m);
    uintptr_t next = begin;
    mb_layer local, *l = table != NULL ? table : &local;
    uint32_t most_inputs = 16; /* a convolution on bytes pads its window to 32 values */
    uint32_t most_units = 0, most_work = 0, kernel = 0, learn_words = MB_LEARN_WORDS, masks = 0;
    uint32_t gate_bits = 0; /* words of the input of gates */
    uint32_t graded = 0, graded_words = 0, batch = 0; /* of the graded layer: N; words of its input; samples kept, 0 if it does not learn */
    uint32_t lists = 0, kept = 0; /* words of its list of kept samples for one input, and of the samples themselves in the arena */
    uint32_t *in_state = NULL;    /* the samples in the state */
    (void)take(&next, 1u + LAYER_ROOM / 4u * count); /* one word more: where pointers have 8 bytes the table is aligned to 8 */
    arena->layers = table;
    if (!MB_HAS_GATES) {
        arena->values = NULL;
    }
    arena->count = arena->lowest = count;
    for (unsigned i = 0; i < count; i++, l += table != NULL) {
        mb_layer_at(m, i, l);
        if (l->kind == MB_ENCODE || MB_IS_CUTS(l) || MB_IS_TRIPLES(l)) {
            continue;
        }
        /* cppcheck-suppress redundantCondition -- the macros are 0 or 1 in other builds */
        if (l->learns && arena->lowest == count && (MB_HAS_VISITS || !MB_HAS_DENSE || MB_IS_GRADED(l) || MB_IS_LEVELS(l) || MB_IS_HEAD(l))) {
            arena->lowest = i;
        }
        if (MB_IS_HEAD(l) || MB_IS_LEVELS(l)) { /* last; it needs only this to learn, and nothing that visits need */
            const uint32_t gated = MB_IS_HEAD(l) ? mb_head_values(l) : l->inputs;
            arena->values = take(&next, larger((gated + 3u) / 4u, gate_bits));
            if (table != NULL) {
                l[-1].in = (uint32_t *)(void *)arena->values; /* gates have listed their input when they write their values */
            }
            learn_words = MB_IS_HEAD(l) ? gated : 0;
            most_inputs = larger(most_inputs, gated); /* pairs of values lie there, when the list has been used */
            most_units = 0;
            continue;
        }
        const uint32_t values = mb_values(l), digits = MB_HAS_BYTES && l->kind == MB_DENSE && MB_ON_BYTES(l);
        const uint32_t planes = digits ? MB_BYTE_PLANES : l->input <= MB_PLUS_MINUS;
        if (MB_HAS_DENSE && !MB_IS_GATES(l)) {
            l->in = take(&next, MB_WORDS(values) * planes);
        }
        /* The signed digits of bytes can list K inputs before the last place adds K more and pads twice. Ten entries beyond that
         * are for the carries. A build at -Os needs less, but one image has one arena size. */
        uint32_t listed = MB_IS_GRADED(l) ? values : digits ? 2u * l->inputs + 24u : l->inputs;
        if (!MB_HAS_DENSE || MB_IS_GATES(l)) {
            listed = listed < MB_LISTED ? listed : MB_LISTED;
            arena->sums = take(&next, l->inputs > MB_LISTED - MB_ROOM_LEFT ? MB_WORDS(l->units) * l->planes : 0);
            gate_bits = MB_WORDS(l->inputs);
        }
        most_inputs = larger(most_inputs, listed);
        most_units = MB_HAS_DENSE ? larger(most_units, l->units) : 0; /* a last layer after gates needs none of this */
        if (MB_HAS_DENSE && l->kind == MB_DENSE && arena->lowest != count) {
            masks += MB_WORDS(l->units);
        }
        if (MB_HAS_DENSE && l->ternary) {
            learn_words = larger(learn_words, 3u * ((MB_WORDS(l->units) + 7u) & ~7u));
        }
        if (MB_IS_CONV(l)) {
            kernel = larger(kernel, l->kernel);
            most_work = larger(most_work, MB_ON_BYTES(l) ? mb_conv_bytes_work(l) : mb_conv_bits_work(l));
        } else if (MB_ON_BYTES(l)) {
            most_work = larger(most_work, MB_WORDS(l->units) * (l->planes + 2u));
        } else if (MB_IS_GRADED(l)) { /* at most one, directly before the output */
            graded = l->units;
            graded_words = MB_WORDS(values);
            batch = l->learns ? l->batch : 0;
            if (MB_HAS_LEARN && l->learns) {
                learn_words = MB_FOURS_WORDS;
                lists = (mb_list_room(l) + 1u) / 2u;
                in_state = mb_kept(mb_record_at(m->image, i), l);
                kept = in_state == NULL ? mb_kept_words(l) : 0;
            }
        }
    }
    arena->active = take(&next, (most_inputs + 9u) / 2u);
    arena->carry = take(&next, most_inputs / 16u + kernel + 9u);
    if (MB_HAS_DENSE) {
        arena->kernel_scratch = take(&next, most_work);
        arena->graded_values = take(&next, larger(graded, MB_WORDS(graded) * (MB_PLANES_MAX + 2u)));
        arena->votes.slot = NULL;
    }
    arena->scores = take(&next, mb_u16_at(m->image + MB_AT_CLASSES));
    if (MB_HAS_LEARN && mode == MB_LEARN) { /* last, so that all before lies at the same place in both modes */
        uint32_t *mask = take(&next, masks);
        for (unsigned i = 0; MB_HAS_DENSE && table != NULL && i < count; i++) {
            table[i].mask = i >= arena->lowest && table[i].kind == MB_DENSE ? mask : NULL;
            mask += table[i].mask != NULL ? MB_WORDS(table[i].units) : 0;
        }
        arena->learn_scratch = take(&next, learn_words);
        if (MB_HAS_DENSE) {
            arena->error[0] = take(&next, most_units);
            arena->error[1] = take(&next, most_units);
        }
        if (MB_HAS_GRADED && batch != 0) {
            arena->votes.lists = (uint16_t *)(void *)arena->error[0];
            arena->votes.passes = take(&next, larger(4u * graded, lists > 2u * most_units ? lists - 2u * most_units : 0));
            arena->votes.lists_end = take(&next, kept);
            arena->votes.slot = kept != 0 ? arena->votes.lists_end : in_state;
            arena->votes.inputs = arena->votes.slot + 1;
            arena->votes.drawn = arena->votes.inputs + batch * graded_words;
        }
    }
    return (uint32_t)(next - begin);
}

void mb_arena_plan(const mb_model *m, mb_mode mode, mb_arena *arena)
{
#ifdef MB_WIDE
    if (m->host != NULL) {
        *arena = m->host->arena;
        return;
    }
#endif
    const uintptr_t begin = (uintptr_t)m->arena;
    (void)divide(m, mode, begin, (mb_layer *)((begin + sizeof(void *) - 1u) & ~(uintptr_t)(sizeof(void *) - 1u)), arena);
}

size_t mb_arena_size(const mb_model *m, mb_mode mode)
{
    mb_arena arena;
    return m == NULL || m->image == NULL ? 0 : divide(m, mode, 0, NULL, &arena);
}

/* kept: the state memory holds the state already. */
MB_MINSIZE MB_NOINLINE mb_status attach(mb_model *m, void *state, size_t state_len, void *arena, size_t arena_len, int kept)
{
    if (m != NULL) {
        m->host = NULL; /* it belongs to the memories before, which may be gone */
    }
    MB_REFUSE(MB_E_NULL, m == NULL || m->image == NULL || (state == NULL && state_len != 0) || arena == NULL);
    MB_REFUSE(MB_E_ALIGN, (((uintptr_t)state | (uintptr_t)arena) & 3u) != 0);
    MB_REFUSE(MB_E_STATE_SIZE, state != NULL && state_len < mb_u32_at(m->image + MB_AT_STATE_SIZE));
    MB_REFUSE(MB_E_ARENA_SIZE, arena_len < mb_arena_size(m, MB_INFER));
    MB_REFUSE(MB_E_GENERATOR, kept && state != NULL && *(const mb_word *)state == 0);
    m->mode = MB_HAS_LEARN && state != NULL && arena_len >= mb_arena_size(m, MB_LEARN) ? MB_LEARN : MB_INFER;
    m->state = state;
    m->arena = arena;
    if (state != NULL && !kept) { /* without one the model predicts from the image itself */
        memcpy(state, m->image + mb_u32_at(m->image + MB_AT_STATE), mb_u32_at(m->image + MB_AT_STATE_SIZE));
    }
#if MB_HAS_GRADED && MB_HAS_LEARN
    mb_arena plan;
    mb_arena_plan(m, m->mode, &plan);
    if (plan.votes.slot != NULL && plan.votes.slot == plan.votes.lists_end) { /* no sample is kept in the arena yet */
        uint8_t *const from = (uint8_t *)plan.votes.slot;
        memset(from, 0, mb_arena_size(m, MB_LEARN) - (size_t)(from - m->arena));
    }
#endif
    return MB_OK;
}

mb_status mb_attach(mb_model *m, void *state, size_t state_len, void *arena, size_t arena_len)
{
    return attach(m, state, state_len, arena, arena_len, 0);
}

mb_status mb_reattach(mb_model *m, void *state, size_t state_len, void *arena, size_t arena_len)
{
    return attach(m, state, state_len, arena, arena_len, 1);
}
