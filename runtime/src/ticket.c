/* Tickets: what a learning step needs of a sample, for a label that comes late. metabit.h, "Tickets". */
#include <string.h>

#include "layers.h"
#include "learn.h"

/* Returns the layer at whose input a ticket is taken, and in *bytes its size: the one with the fewest bytes, the last of several, up to
 * and with the lowest layer that learns, because no step changes what lies before. It depends on the image alone. 0: the ticket is
 * the input itself. pre: an image is open. */
MB_MINSIZE static unsigned ticket_layer(const mb_model *m, uint32_t *bytes)
{
    const unsigned count = mb_layer_count(m);
    unsigned best = 0;
    mb_layer l = {0}; /* gcc -O3 does not see that only a convolution's sizes are read, and warns */
    *bytes = mb_input_size(m);
    for (unsigned i = 0; i < count; i++) {
        mb_layer_at(m, i, &l);
        const uint32_t here = l.input <= MB_PLUS_MINUS ? (mb_values(&l) + 7u) >> 3 : MB_IS_HEAD(&l) ? mb_head_values(&l) : l.inputs;
        if (i != 0 && (l.input <= MB_PLUS_MINUS || l.input >= MB_GATED) && here <= *bytes) {
            *bytes = here;
            best = i;
        }
        if (l.learns) {
            break;
        }
    }
    return best;
}

/* Puts a ticket where its layer takes its input. MB_E_TICKET if a byte is a value that the layer cannot take. A head takes all of them, and
 * bits beyond the last are not looked at. */
static mb_status load(const mb_model *m, unsigned layer, const uint8_t *ticket, uint32_t bytes)
{
    mb_arena arena;
    mb_arena_plan(m, MB_INFER, &arena);
    const mb_layer *const l = arena.layers + layer;
    if (layer != 0 && l->input < MB_GATED) {
        mb_unpack(l, ticket, l->in);
        return MB_OK;
    }
    for (uint32_t i = 0; layer != 0 && i < bytes; i++) {
        MB_REFUSE(MB_E_TICKET, MB_IS_LEVELS(l) && (uint8_t)(ticket[i] + 8u) > 16u); /* -8 .. 8 */
        arena.values[i] = (int8_t)ticket[i];
    }
    return MB_OK;
}

uint16_t mb_ticket_size(const mb_model *m)
{
    uint32_t bytes = 0;
    if (m != NULL && m->image != NULL) {
        (void)ticket_layer(m, &bytes);
    }
    return (uint16_t)bytes; /* at most those of an input */
}

mb_status mb_ticket(const mb_model *m, const void *input, void *ticket)
{
    mb_arena arena;
    uint32_t bytes;
    MB_REFUSE(MB_E_NULL, m == NULL || input == NULL || ticket == NULL);
    MB_REFUSE(MB_E_DETACHED, m->arena == NULL);
    const unsigned layer = ticket_layer(m, &bytes);
    if (layer == 0) {
        memcpy(ticket, input, bytes);
        return MB_OK;
    }
    mb_arena_plan(m, MB_INFER, &arena);
    const mb_layer *const l = arena.layers + layer;
    (void)mb_forward(&arena, 0, layer, input, 0);
    if (MB_IS_CUTS(l - 1) && MB_IS_GATES(l) && l[-1].host == NULL) { /* a host packs bits itself */
        mb_cut_bits(l - 1, input, arena.active, l->in);
    }
    memcpy(ticket, l->input >= MB_GATED ? (const void *)arena.values : (const void *)l->in, bytes);
    return MB_OK;
}

mb_status mb_predict_ticket(const mb_model *m, const void *ticket, int32_t *scores, uint16_t *label)
{
    uint32_t bytes;
    MB_REFUSE(MB_E_NULL, m == NULL || ticket == NULL);
    MB_REFUSE(MB_E_DETACHED, m->arena == NULL);
    const unsigned layer = ticket_layer(m, &bytes);
    const mb_status status = load(m, layer, ticket, bytes);
    return status != MB_OK ? status : mb_predict_from(m, layer, ticket, scores, label);
}

#if MB_HAS_LEARN
mb_status mb_learn_ticket(mb_model *m, const void *ticket, uint16_t label, mb_learn_info *info)
{
    uint32_t bytes;
    MB_REFUSE(MB_E_NULL, m == NULL || ticket == NULL);
    MB_REFUSE(MB_E_DETACHED, m->arena == NULL);
    const unsigned layer = ticket_layer(m, &bytes);
    const mb_status status = load(m, layer, ticket, bytes);
    return status != MB_OK ? status : mb_learn_from(m, layer, ticket, label, info);
}
#endif
