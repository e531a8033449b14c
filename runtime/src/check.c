/* Checks that make an image safe to use: every layer record against FORMAT.md. All arithmetic here is on hostile numbers, so
 * each number is bounded before it is used. */
#include <string.h>

#include "check.h"

#if MB_HAS_CHECKS

#if MB_HAS_DENSE
/* True if all arrays lie where they should, of any kind but those of check_gates.c. last: bytes of the last array. */
MB_MINSIZE MB_NOINLINE int arrays_fit(const uint8_t *p, const mb_layer *l, uint32_t last, mb_section *left)
{
    const uint32_t low_bits = l->bits - 1u, groups = MB_WORDS(l->units);
    const uint32_t row = l->kind == MB_ENCODE ? 0 : l->lanes16 ? 2u : 4u * groups;
    const uint32_t kept = MB_IS_GRADED(l) && l->learns && mb_u32_at(p + 32) != 0 ? 4u * mb_kept_words(l) : 0;
    const uint32_t bytes[6] = {row * (l->inputs + 1u), row * l->inputs * low_bits, 4u * groups * l->planes,
                               l->learns ? 4u << low_bits : 0, l->kind == MB_OUTPUT ? 8u * l->units : kept, last};
    /* sign, levels and kept samples; fold too if a flip changes it */
    const unsigned learned = l->input == MB_PLUS_MINUS ? 7u : MB_IS_GRADED(l) ? 19u : 3u;
    return mb_arrays_fit(p, bytes, l->learns ? learned : 0, left);
}

/* Checks an encoder, which must be the first of at least two layers. */
static mb_status check_encode(const mb_model *m, unsigned index, const mb_layer *l, mb_section *left)
{
    const uint8_t *const p = mb_record_at(m->image, index);
    MB_REFUSE(MB_E_KIND, mb_minor_is_known(m) && ((mb_u32_at(p + 40) | mb_u16_at(p + 46)) != 0 || !mb_all_zero(p + 48, 16)));
    MB_REFUSE(MB_E_LAYERS, index != 0 || mb_layer_count(m) == 1u);
    MB_REFUSE(MB_E_SHAPE, mb_u16_at(m->image + MB_AT_INPUT) != l->inputs);
    MB_REFUSE(MB_E_BITS, l->bits < 1 || l->bits > 8);
    MB_REFUSE(MB_E_SHAPE, l->inputs == 0 || l->units > MB_MAX_UNITS || l->units != l->bits * l->inputs ||
                          (l->channels != 0 && l->inputs % l->channels != 0));
    MB_REFUSE(MB_E_KIND, p[1] != 0 || p[3] != 0 || !mb_all_zero(p + 8, 28));
    return arrays_fit(p, l, l->units, left) ? MB_OK : MB_E_OFFSET;
}

/* True if a convolution's window fits its picture. No product overflows: each factor is bounded before it is used. */
static int window_fits(const mb_layer *l)
{
    const uint32_t pixels = (uint32_t)l->height * l->width; /* pre: both < 2^16 */
    if (pixels == 0 || pixels > MB_MAX_IMAGE || l->channels == 0 || l->channels > MB_MAX_IMAGE / pixels || l->kernel < 1 ||
        l->kernel > 31 || l->stride < 1 || l->stride > 31 || l->pool < 1 || l->pool > 31 || l->same > 1 ||
        l->inputs != (uint32_t)l->kernel * l->kernel * l->channels ||
        (!l->same && (l->kernel > l->height || l->kernel > l->width))) {
        return 0;
    }
    const uint32_t left = mb_side(l, l->height) * mb_side(l, l->width);
    return left != 0 && l->units <= MB_MAX_IMAGE / left;
}

/* True if a graded layer's ramp and, if it learns, its gain, draws and batch are in range. */
static int rule_of_votes(const mb_layer *l)
{
    if (l->low >= l->high || l->high > 2047u) {
        return 0;
    }
    return l->learns ? l->gain != 0 && (l->draws == 4 || l->draws == 8) && l->batch >= 32 && l->batch <= 256
                     : l->gain == 0 && l->draws == 0 && l->batch == 0;
}

/* Checks the samples that a graded layer keeps in the state: a slot of the batch, no bit behind the last input or unit, no unit that
 * votes for down without a vote. post: nothing that votes.c counts depends on more. */
static mb_status check_kept(const mb_layer *l, const uint32_t *kept)
{
    const uint32_t words = MB_WORDS(mb_values(l)), rows = MB_WORDS(l->units), *input = kept, *drawn = kept + 1u + l->batch * words;
    uint32_t bits = 0;
    MB_REFUSE(MB_E_RULE, *kept >= l->batch);
    for (uint32_t b = 0; b < l->batch; b++) {
        input += words; /* the last word of sample b */
        bits |= *input & ~mb_last_mask(mb_values(l));
        for (uint32_t r = 1; r <= rows; r++, drawn += 3) {
            const uint32_t spare = r == rows ? ~mb_last_mask(l->units) : 0, any = drawn[1] | drawn[2];
            bits |= (any & spare) | (drawn[0] & ~any);
        }
    }
    return bits == 0 ? MB_OK : MB_E_PADDING;
}

/* True if no score can overflow. |a| <= 2^planes + 1 whatever the folded constants say; on grades the deviations of learning
 * must fit as well. */
static int scores_fit(const mb_layer *l, int grades)
{
    const uint32_t sum = grades ? 8u * l->inputs : (1u << l->planes) + 1u;
    const uint32_t most = grades ? (uint32_t)INT32_MAX / (2u * l->units) : (uint32_t)INT32_MAX;
    for (uint32_t c = 0; c < l->units; c++) {
        const uint32_t mul = mb_magnitude(l->own.scores[c]), add = mb_magnitude(l->own.scores[l->units + c]);
        if (add > most || mul > (most - add) / sum) {
            return 0;
        }
    }
    return 1;
}

/* Checks everything about one layer that is no encoder, except how it follows the layer before. */
MB_MINSIZE MB_NOINLINE mb_status check_weights(const uint8_t *p, const mb_layer *l, mb_section *left)
{
    const int is_output = l->kind == MB_OUTPUT, bytes = MB_ON_BYTES(l), grades = MB_ON_GRADES(l), graded = MB_IS_GRADED(l);
    MB_REFUSE(MB_E_SHAPE, l->inputs == 0 || l->inputs > MB_MAX_UNITS || l->units == 0 || l->units > MB_MAX_UNITS);
    MB_REFUSE(MB_E_BITS, l->bits < 1 || l->bits > (grades ? 1 : 8) || l->learns > (l->bits > 1));
    MB_REFUSE(MB_E_LEARNS, mb_is_feature(l) && l->learns);
    MB_REFUSE(MB_E_SHAPE, (graded || grades) && l->units > 1024u);
    MB_REFUSE(MB_E_SHAPE, graded && (l->depth < 1 || l->depth > 8 || mb_values(l) > MB_MAX_UNITS));
    const uint32_t sum = bytes ? 255u * l->inputs : graded ? mb_values(l) : l->inputs; /* the largest sum of inputs */
    MB_REFUSE(MB_E_PLANES, grades ? l->planes != 0
                                  : l->planes < (bytes ? MB_PLANES_MIN_BYTES : MB_PLANES_MIN) ||
                                        l->planes > (bytes ? MB_PLANES_MAX_BYTES : MB_PLANES_MAX) ||
                                        ((sum | l->window) >> (l->planes - 1u)) != 0);
    MB_REFUSE(MB_E_SHAPE, p[8] != (is_output && l->units <= 16u ? 16 : 32));
    MB_REFUSE(MB_E_RULE, graded && !rule_of_votes(l));
    MB_REFUSE(MB_E_RULE, l->learns ? l->dose == 0 || l->dose >= (1u << 20) : l->dose != 0);
    MB_REFUSE(MB_E_RULE, (mb_is_feature(l) || graded || grades) && l->window != 0);
    const uint32_t needs = graded && l->learns ? 3u * l->batch * l->depth + 1u : 0;
    MB_REFUSE(MB_E_OFFSET, !arrays_fit(p, l, 2u * needs, left));
    /* cppcheck-suppress unsignedLessThanZero -- needs is 0 only where MB_WITHOUT_GRADED leaves votes out */
    for (uint32_t n = 1; n < needs; n++) {
        MB_REFUSE(MB_E_RULE, l->own.need[n - 1u] > l->own.need[n]);
    }
    MB_REFUSE(MB_E_SCORES, is_output && !scores_fit(l, grades));
    MB_REFUSE(MB_E_PADDING, !mb_padding_is_zero(l));
    /* cppcheck-suppress knownConditionTrueFalse -- as above */
    return needs != 0 && mb_u32_at(p + 32) != 0 ? check_kept(l, mb_kept(p, l)) : MB_OK;
}
#endif

/* Checks each layer, and that each fits the one before: (encode | cuts)? conv* dense* graded? output, or cuts? gates (levels | head). */
static mb_status check_layers(const mb_model *m, mb_section *left)
{
    const unsigned count = mb_layer_count(m);
    unsigned before = MB_ENCODE;                /* kind of the layer before */
    uint32_t values = 0, rows = 0, columns = 0; /* values of the layer before; rows and columns of a convolution */
    uint32_t channels = 0;                      /* channels of an encoder: only a convolution takes bits in their order */
    int learner = 0;                            /* 1 if some layer before learns */
    for (unsigned i = 0; i < count; i++) {
        mb_layer l;
        mb_layer_at(m, i, &l);
        if (l.kind >= MB_CUTS && l.kind <= MB_TRIPLES) {
            MB_REFUSE(MB_E_ABSENT, !MB_HAS_GATES);
#if MB_HAS_GATES
            const mb_status status = mb_check_gates(m, i, &l, before, i != 0 ? values : mb_u16_at(m->image + MB_AT_INPUT), left);
            MB_REFUSE(status, status != MB_OK);
#endif
            values = l.units;
            before = l.kind;
            continue;
        }
#if MB_HAS_DENSE
        if (l.kind == MB_ENCODE) {
            const mb_status status = check_encode(m, i, &l, left);
            MB_REFUSE(status, status != MB_OK);
            channels = l.channels;
            values = l.units;
            continue;
        }
        const uint8_t *p = mb_record_at(m->image, i);
        const int is_conv = MB_IS_CONV(&l), is_graded = MB_IS_GRADED(&l);
        MB_REFUSE(MB_E_ABSENT, (MB_HAS_VISITS && !MB_HAS_TERNARY && l.ternary) || (!MB_HAS_CONV && l.kind == MB_CONV) ||
                               (!MB_HAS_GRADED && l.kind == MB_GRADED) || (!MB_HAS_BYTES && l.input == MB_BYTES));
        const uint32_t used = is_conv ? 50u : is_graded ? 49u : 40u; /* bytes of the record that have a meaning */
        MB_REFUSE(MB_E_KIND, l.kind < MB_ENCODE || l.kind > MB_GRADED ||
                             (mb_minor_is_known(m) && !mb_all_zero(p + used, MB_RECORD_SIZE - used)));
        MB_REFUSE(MB_E_LAYERS, before >= MB_GATES || (is_conv && before != MB_ENCODE && before != MB_CONV) ||
                               (l.kind == MB_OUTPUT) != (i + 1u == count) || (before == MB_GRADED && l.kind != MB_OUTPUT));
        const int bytes = i == 0 && MB_ON_BYTES(&l) && l.kind != MB_OUTPUT && !is_graded && !l.ternary;
        const int after = MB_HAS_GRADED && before == MB_GRADED ? MB_GRADES : MB_PLUS_MINUS; /* input kind after any other layer */
        const int bits = before == MB_ENCODE || before == MB_CUTS || is_graded ? MB_ON_OFF : after;
        MB_REFUSE(MB_E_KIND, !bytes && l.input != bits);
        MB_REFUSE(MB_E_WINDOW, is_conv && !window_fits(&l));
        const uint32_t given = i != 0 ? values : mb_u16_at(m->image + MB_AT_INPUT);
        MB_REFUSE(MB_E_SHAPE, given != (i != 0 || bytes ? mb_values(&l) : (mb_values(&l) + 7u) / 8u) ||
                              (channels != 0 && !is_conv) ||
                              (before == MB_CONV && is_conv && (l.height != rows || l.width != columns)));
        MB_REFUSE(MB_E_LEARNS, (is_graded && learner) || (before == MB_GRADED && l.learns)); /* no error passes a graded layer */
        const mb_status status = check_weights(p, &l, left);
        MB_REFUSE(status, status != MB_OK);
        if (is_conv) {
            rows = mb_side(&l, l.height);
            columns = mb_side(&l, l.width);
        }
        channels = 0;
        values = mb_outputs(&l);
        learner |= l.learns;
        before = l.kind;
#else
        (void)rows, (void)columns, (void)channels, (void)learner;
        return l.kind < MB_ENCODE || l.kind > MB_TRIPLES ? MB_E_KIND : MB_E_ABSENT;
#endif
    }
    return values >= 2u && values == mb_u16_at(m->image + MB_AT_CLASSES) ? MB_OK : MB_E_SHAPE;
}

/* Checks everything that checksums and sections do not say. */
static mb_status check_image(const mb_model *m, mb_section *left)
{
    const uint8_t *b = m->image;
    const uint32_t state_at = left[1].begin - MB_STATE_HEADER, layers = mb_layer_count(m);
    MB_REFUSE(MB_E_SECTION, !mb_all_zero(b + left[0].end, state_at - left[0].end));
    MB_REFUSE(MB_E_LAYERS, layers < 1 || layers > MB_MAX_LAYERS);
    MB_REFUSE(MB_E_RULE, mb_u16_at(b + MB_AT_TEMPERATURE) == 0 || mb_u16_at(b + MB_AT_MARGIN) > 4096u);
    MB_REFUSE(MB_E_RULE, mb_minor_is_known(m) && (mb_u16_at(b + 46) != 0 || mb_u32_at(b + 60) != 0)); /* reserved bytes */
    MB_REFUSE(MB_E_GENERATOR, mb_u32_at(m->state != NULL ? m->state : b + state_at) == 0);
    const mb_status status = check_layers(m, left);
    MB_REFUSE(status, status != MB_OK);
    const uint32_t notes = mb_u32_at(b + MB_AT_NOTES), size = mb_u32_at(b + MB_AT_NOTES + 4);
    return (size == 0 ? notes == 0 : mb_take_array(left, notes, size)) ? MB_OK : MB_E_OFFSET;
}

#endif

MB_MINSIZE mb_status mb_check(const mb_model *m, size_t image_len, uint32_t seal)
{
    const uint8_t *const b = m->image;
    MB_REFUSE(MB_E_TRUNCATED, image_len < MB_HEADER_SIZE);
    MB_REFUSE(MB_E_MAGIC, mb_u32_at(b) != MB_MAGIC);
    MB_REFUSE(MB_E_VERSION, mb_u16_at(b + 4) != MB_FORMAT_MAJOR);
    const uint32_t size = mb_u32_at(b + MB_AT_SIZE), layers = mb_u16_at(b + MB_AT_LAYERS);
    const uint32_t records_end = MB_HEADER_SIZE + MB_RECORD_SIZE * layers;
    MB_REFUSE(MB_E_TRUNCATED, size > image_len || size < records_end);
    const uint32_t state_sum = mb_u32_at(b + MB_AT_STATE_SUM), header_sum = mb_u32_at(b + MB_AT_HEADER_SUM);
    MB_REFUSE(MB_E_HEADER_CRC, mb_header_sum(b, state_sum) != header_sum);
    if (seal == (header_sum | 1u)) {
        return MB_OK; /* this program has checked the rest before */
    }
    const uint32_t const_at = mb_u32_at(b + MB_AT_CONST), const_size = mb_u32_at(b + MB_AT_CONST_SIZE);
    const uint32_t state_at = mb_u32_at(b + MB_AT_STATE), state_size = mb_u32_at(b + MB_AT_STATE_SIZE);
    MB_REFUSE(MB_E_SECTION, (size & 0x80000003u) != 0 || const_at != records_end || const_size > size ||
                            state_at != const_at + ((const_size + 3u) & ~3u) || state_at > size ||
                            state_size != size - state_at || state_size < MB_STATE_HEADER);
    MB_REFUSE(MB_E_CONST_CRC, mb_section_sum(b, b + const_at, const_size) != mb_u32_at(b + MB_AT_CONST_SUM));
    MB_REFUSE(MB_E_STATE_CRC, mb_section_sum(b, b + state_at, state_size) != state_sum);
#if MB_HAS_CHECKS
    mb_section left[2] = {{const_at, const_at + const_size}, {state_at + MB_STATE_HEADER, size}};
    return check_image(m, left);
#else
    return MB_OK;
#endif
}

uint32_t mb_seal(const mb_model *m)
{
    return m == NULL || m->image == NULL ? 0 : mb_u32_at(m->image + MB_AT_HEADER_SUM) | 1u;
}

uint32_t mb_identity(const mb_model *m)
{
    return m == NULL || m->image == NULL ? 0 : mb_header_sum(m->image, 0) | 1u; /* the header holds the sum of the constants */
}

mb_status mb_verify(const mb_model *m)
{
    return m == NULL || m->image == NULL ? MB_E_NULL : mb_check(m, m->image_size, 0);
}

mb_status mb_open(mb_model *m, const void *image, size_t image_len)
{
    return mb_reopen(m, image, image_len, 0);
}

MB_MINSIZE mb_status mb_reopen(mb_model *m, const void *image, size_t image_len, uint32_t seal)
{
    MB_REFUSE(MB_E_NULL, m == NULL || image == NULL);
    memset(m, 0, sizeof *m);
    MB_REFUSE(MB_E_ALIGN, ((uintptr_t)image & 3u) != 0);
    m->image = image;
    const mb_status status = mb_check(m, image_len, seal);
    m->image = status == MB_OK ? image : NULL;
    m->image_size = status == MB_OK ? mb_u32_at(m->image + MB_AT_SIZE) : 0;
    return status;
}
