/* What makes an image safe to use: every layer record against FORMAT.md. Arithmetic here is on hostile numbers. */
#include <string.h>

#include "layer.h"

#if MB_HAS_CHECKS

/// Checks ///

typedef struct section {
    uint32_t begin, end;
} section;

/* Takes an array of `bytes` at `offset` from what is left of a section. Arrays come in the order of their records, so none
 * can overlap another. All sizes here are below 2^31: see MB_MAX_UNITS. */
static int claim(section *left, uint32_t offset, uint32_t bytes)
{
    if ((offset & 3u) != 0 || offset < left->begin || offset > left->end || bytes > left->end - offset) {
        return 0;
    }
    left->begin = offset + bytes;
    return 1;
}

static int all_zero(const uint8_t *p, size_t n)
{
    while (n-- > 0) {
        if (*p++ != 0) {
            return 0;
        }
    }
    return 1;
}

/* Bytes that no field of this minor version uses; a later one may. */
static int reserved_is_zero(const mb_model *m, const uint8_t *p, size_t n)
{
    return mb_u16_at(m->image + MB_AT_MINOR) > MB_FORMAT_MINOR || all_zero(p, n);
}

static uint32_t bit_length(uint32_t x)
{
    uint32_t n = 0;
    while (x >> n) {
        n++;
    }
    return n;
}

/* The zero word that ends each row of sign words, and the lanes beyond the last unit. */
static int padding_is_zero(const mb_layer *l)
{
    const uint32_t lanes = l->half ? 16u : 32u, rows = (l->units + lanes - 1u) / lanes, pitch = l->inputs + 1u;
    const uint32_t used = l->units - lanes * (rows - 1u);
    const uint32_t spare = used == 32u ? 0 : 0xFFFFFFFFu << used;
    const uint32_t low_bits = (uint32_t)l->bits - 1u;
    const mb_half *halves = (const mb_half *)(const void *)l->sign;
    const mb_word *words = (const mb_word *)(const void *)l->sign;
    for (uint32_t r = 0; r < rows; r++) {
        const uint32_t last = r * pitch + l->inputs;
        if ((l->half ? halves[last] : words[last]) != 0) {
            return 0;
        }
    }
    for (uint32_t j = 0; j < l->inputs; j++) {
        const uint32_t at = (rows - 1u) * pitch + j;
        if (((l->half ? halves[at] : words[at]) & spare) != 0) {
            return 0;
        }
    }
    halves = (const mb_half *)(const void *)l->levels;
    words = (const mb_word *)(const void *)l->levels;
    for (uint32_t i = 0; i < l->inputs * low_bits; i++) {
        const uint32_t at = (rows - 1u) * l->inputs * low_bits + i;
        if (((l->half ? halves[at] : words[at]) & spare) != 0) {
            return 0;
        }
    }
    return 1;
}

static mb_status check_encode(const uint8_t *p, const mb_layer *l, section *constants)
{
    if (l->bits < 1 || l->bits > 8) {
        return MB_E_BITS;
    }
    if (l->inputs == 0 || l->units > MB_MAX_UNITS || l->units != l->bits * l->inputs) {
        return MB_E_SHAPE;
    }
    if (l->channels != 0 && l->inputs % l->channels != 0) {
        return MB_E_SHAPE;
    }
    if (p[1] != 0 || p[3] != 0 || !all_zero(p + 8, 28)) {
        return MB_E_KIND;
    }
    return claim(constants, mb_u32_at(p + 36), l->units) ? MB_OK : MB_E_OFFSET;
}

/* No product here can overflow: each factor is bounded before it is used. */
static int window_fits(const mb_layer *l)
{
    const uint32_t pixels = (uint32_t)l->height * l->width; /* of 16 bits each */
    if (pixels == 0 || pixels > MB_MAX_IMAGE || l->channels == 0 || l->channels > MB_MAX_IMAGE / pixels) {
        return 0;
    }
    if (l->kernel < 1 || l->kernel > 31 || l->stride < 1 || l->stride > 31 || l->pool < 1 || l->pool > 31 || l->same > 1 ||
        l->inputs != (uint32_t)l->kernel * l->kernel * l->channels) {
        return 0;
    }
    if (!l->same && (l->kernel > l->height || l->kernel > l->width)) {
        return 0;
    }
    const uint32_t left = mb_side(l, l->height) * mb_side(l, l->width);
    return left != 0 && l->units <= MB_MAX_IMAGE / left;
}

/* What a graded layer has in place of a window and, if it learns, beside the dose. */
static int rule_of_votes(const mb_layer *l)
{
    if (l->low >= l->high || l->high > 2047u) {
        return 0;
    }
    if (!l->learns) {
        return l->gain == 0 && l->draws == 0 && l->batch == 0;
    }
    return l->gain != 0 && (l->draws == 4 || l->draws == 8) && l->batch >= 32 && l->batch <= 256;
}

/* Of every layer but an encoder. */
static mb_status check_weights(const uint8_t *p, const mb_layer *l, section *constants, section *state)
{
    const int is_output = l->kind == MB_OUTPUT, bytes = MB_ON_BYTES(l), grades = MB_ON_GRADES(l);
    if (l->inputs == 0 || l->inputs > MB_MAX_UNITS || l->units == 0 || l->units > MB_MAX_UNITS) {
        return MB_E_SHAPE;
    }
    if (l->bits < 1 || l->bits > (grades ? 1 : 8) || l->learns > 1 || (l->learns && l->bits < 2)) {
        return MB_E_BITS;
    }
    if (mb_is_feature(l) && l->learns) {
        return MB_E_LEARNS;
    }
    if ((MB_IS_GRADED(l) || grades) && l->units > 1024u) {
        return MB_E_SHAPE;
    }
    if (MB_IS_GRADED(l) && (l->depth < 1 || l->depth > 8 || mb_values(l) > MB_MAX_UNITS)) {
        return MB_E_SHAPE;
    }
    const uint32_t listed = bytes ? 255u * l->inputs : MB_IS_GRADED(l) ? mb_values(l) : l->inputs; /* most in a sum */
    if (grades ? l->planes != 0
               : l->planes < (bytes ? MB_PLANES_MIN_BYTES : MB_PLANES_MIN) ||
                     l->planes > (bytes ? MB_PLANES_MAX_BYTES : MB_PLANES_MAX) || l->planes < bit_length(listed) + 1u ||
                     l->window >= (1u << (l->planes - 1u))) {
        return MB_E_PLANES;
    }
    if (p[8] != (is_output && l->units <= 16u ? 16 : 32)) {
        return MB_E_SHAPE;
    }
    if ((MB_IS_GRADED(l) && !rule_of_votes(l)) || (l->learns ? l->dose == 0 || l->dose >= (1u << 20) : l->dose != 0) ||
        ((mb_is_feature(l) || MB_IS_GRADED(l) || grades) && l->window != 0)) {
        return MB_E_RULE;
    }
    const uint32_t lane_bytes = l->half ? 2u : 4u, rows = (l->units + 8u * lane_bytes - 1u) / (8u * lane_bytes);
    const uint32_t low_bits = (uint32_t)l->bits - 1u, entries = 1u << low_bits;
    section *const planes = l->learns ? state : constants;
    section *const fold = l->learns && l->input == MB_PLUS_MINUS ? state : constants;
    const uint32_t votes = MB_IS_GRADED(l) && l->learns ? 3u * l->batch * l->depth : 0; /* most for one synapse */
    const uint32_t levels_at = mb_u32_at(p + 20), tables_at = mb_u32_at(p + 28), scores_at = mb_u32_at(p + 32);
    if (!claim(planes, mb_u32_at(p + 16), rows * (l->inputs + 1u) * lane_bytes) ||
        !(low_bits ? claim(planes, levels_at, rows * l->inputs * low_bits * lane_bytes) : levels_at == 0) ||
        !(grades ? mb_u32_at(p + 24) == 0 : claim(fold, mb_u32_at(p + 24), MB_WORDS(l->units) * l->planes * 4u)) ||
        !(l->learns ? claim(constants, tables_at, 4u * entries) : tables_at == 0) ||
        !(is_output ? claim(constants, scores_at, 8u * l->units) : scores_at == 0) ||
        !(votes ? claim(constants, mb_u32_at(p + 36), 2u * (votes + 1u)) : mb_u32_at(p + 36) == 0)) {
        return MB_E_OFFSET;
    }
    for (uint32_t n = 0; n < votes; n++) {
        if (l->need[n] > l->need[n + 1u]) {
            return MB_E_RULE;
        }
    }
    for (uint32_t c = 0; is_output && c < l->units; c++) { /* |a| <= 2^planes + 1 whatever the folded constants say */
        const int64_t mul = l->scores[c], add = l->scores[l->units + c];
        const int64_t sum = grades ? 8 * (int64_t)l->inputs : ((int64_t)1 << l->planes) + 1;
        const int64_t most = (mul < 0 ? -mul : mul) * sum + (add < 0 ? -add : add);
        if (most > (grades ? INT32_MAX / (2 * (int32_t)l->units) : INT32_MAX)) { /* on grades their deviations fit as well */
            return MB_E_SCORES;
        }
    }
    return padding_is_zero(l) ? MB_OK : MB_E_PADDING;
}

/* Bytes of one input of the first layer. */
static uint32_t input_bytes(const mb_layer *l)
{
    if (l->kind == MB_ENCODE) {
        return l->inputs;
    }
    return MB_ON_BYTES(l) ? mb_values(l) : (mb_values(l) + 7u) / 8u;
}

/* Each layer on its own, and the chain: encode? conv* dense* graded? output, each fitting the one before. */
static mb_status check_layers(const mb_model *m, section *constants, section *state)
{
    const unsigned count = mb_layer_count(m);
    unsigned before = MB_ENCODE; /* kind of the layer before */
    uint32_t values = 0;         /* what it gives; 0 at the start */
    uint32_t rows = 0, columns = 0; /* of a convolution, in this shape */
    uint32_t channels = 0;          /* of an encoder: its bits then lie in an order that only a convolution takes */
    int learner = 0;                /* some layer before learns */
    for (unsigned i = 0; i < count; i++) {
        const uint8_t *p = mb_record_at(m->image, i);
        mb_layer l;
        mb_status status;
        mb_layer_at(m, i, &l);
        const int is_encode = l.kind == MB_ENCODE, is_conv = MB_IS_CONV(&l), is_graded = MB_IS_GRADED(&l);
        if ((MB_HAS_LEARN && !MB_HAS_TERNARY && l.ternary) || (!MB_HAS_CONV && l.kind == MB_CONV) ||
            (!MB_HAS_GRADED && l.kind == MB_GRADED) || (!MB_HAS_BYTES && !is_encode && l.input == MB_BYTES)) {
            return MB_E_ABSENT;
        }
        const uint32_t used = is_conv ? 50u : is_graded ? 49u : 40u; /* bytes that have a meaning; of an encoder also 44 and 45 */
        if (l.kind < MB_ENCODE || l.kind > MB_GRADED || !reserved_is_zero(m, p + used, is_encode ? 4u : 64u - used) ||
            (is_encode && !reserved_is_zero(m, p + 46, 18))) {
            return MB_E_KIND;
        }
        if ((is_encode && i != 0) || (is_conv && before != MB_ENCODE && before != MB_CONV) ||
            (l.kind == MB_OUTPUT) != (i + 1u == count) || (before == MB_GRADED && l.kind != MB_OUTPUT)) {
            return MB_E_LAYERS;
        }
        const int first = i == 0 || before == MB_ENCODE;
        const int bytes = i == 0 && MB_ON_BYTES(&l) && l.kind != MB_OUTPUT && !is_graded && !l.ternary;
        const int bits = first || is_graded ? MB_ON_OFF : MB_HAS_GRADED && before == MB_GRADED ? MB_GRADES : MB_PLUS_MINUS;
        if (!is_encode && !bytes && l.input != bits) {
            return MB_E_KIND;
        }
        if (is_conv && !window_fits(&l)) {
            return MB_E_WINDOW;
        }
        if ((values != 0 && mb_values(&l) != values) || (channels != 0 && !is_conv) ||
            (before == MB_CONV && is_conv && (l.height != rows || l.width != columns)) ||
            (i == 0 && mb_u16_at(m->image + MB_AT_INPUT) != input_bytes(&l))) {
            return MB_E_SHAPE;
        }
        if ((is_graded && learner) || (before == MB_GRADED && l.learns)) { /* no error passes a graded layer */
            return MB_E_LEARNS;
        }
        status = is_encode ? check_encode(p, &l, constants) : check_weights(p, &l, constants, state);
        if (status != MB_OK) {
            return status;
        }
        if (is_conv) {
            rows = mb_side(&l, l.height);
            columns = mb_side(&l, l.width);
        }
        channels = is_encode ? l.channels : 0;
        values = mb_outputs(&l);
        learner |= l.learns;
        before = l.kind;
    }
    return values >= 2u && values == mb_u16_at(m->image + MB_AT_CLASSES) ? MB_OK : MB_E_SHAPE;
}

/* All that checksums and sections do not say. */
static mb_status check_image(const mb_model *m)
{
    const uint8_t *b = m->image;
    const uint32_t const_at = mb_u32_at(b + MB_AT_CONST), const_size = mb_u32_at(b + MB_AT_CONST_SIZE);
    const uint32_t state_at = mb_u32_at(b + MB_AT_STATE), layers = mb_u16_at(b + MB_AT_LAYERS);
    if (!all_zero(b + const_at + const_size, state_at - const_at - const_size)) {
        return MB_E_SECTION;
    }
    if (layers < 1 || layers > MB_MAX_LAYERS) {
        return MB_E_LAYERS;
    }
    if (mb_u16_at(b + MB_AT_TEMPERATURE) == 0 || mb_u16_at(b + MB_AT_MARGIN) > 4096u || !reserved_is_zero(m, b + 46, 2) ||
        !reserved_is_zero(m, b + MB_AT_RESERVED, 12)) {
        return MB_E_RULE;
    }
    if (mb_u32_at(b + state_at) == 0) {
        return MB_E_GENERATOR;
    }
    section constants = {const_at, const_at + const_size}, state = {state_at + MB_STATE_HEADER, m->image_size};
    return check_layers(m, &constants, &state);
}

#endif

/// Public ///

mb_status mb_open(mb_model *m, const void *image, size_t image_len)
{
    const uint8_t *b = image;
    if (m == NULL || image == NULL) {
        return MB_E_NULL;
    }
    memset(m, 0, sizeof *m);
    if (((uintptr_t)image & 3u) != 0) {
        return MB_E_ALIGN;
    }
    if (image_len < MB_HEADER_SIZE) {
        return MB_E_TRUNCATED;
    }
    if (mb_u32_at(b) != MB_MAGIC) {
        return MB_E_MAGIC;
    }
    if (mb_u16_at(b + 4) != MB_FORMAT_MAJOR) {
        return MB_E_VERSION;
    }
    const uint32_t size = mb_u32_at(b + MB_AT_SIZE), layers = mb_u16_at(b + MB_AT_LAYERS);
    const uint32_t records_end = MB_HEADER_SIZE + MB_RECORD_SIZE * layers;
    if (size > image_len || size < records_end) {
        return MB_E_TRUNCATED;
    }
    if (mb_header_crc(b, records_end) != mb_u32_at(b + MB_AT_HEADER_CRC)) {
        return MB_E_HEADER_CRC;
    }
    const uint32_t const_at = mb_u32_at(b + MB_AT_CONST), const_size = mb_u32_at(b + MB_AT_CONST_SIZE);
    const uint32_t state_at = mb_u32_at(b + MB_AT_STATE), state_size = mb_u32_at(b + MB_AT_STATE_SIZE);
    if (const_at != records_end || state_at < const_at || state_at > size || (state_at & 3u) != 0 || (size & 3u) != 0 ||
        const_size > state_at - const_at || state_at - const_at - const_size > 3u || state_size != size - state_at ||
        state_size < MB_STATE_HEADER || size > 0x7FFFFFFFu) {
        return MB_E_SECTION;
    }
    if (mb_crc32(b + const_at, const_size) != mb_u32_at(b + MB_AT_CONST_CRC)) {
        return MB_E_CONST_CRC;
    }
    if (mb_crc32(b + state_at, state_size) != mb_u32_at(b + MB_AT_STATE_CRC)) {
        return MB_E_STATE_CRC;
    }
    mb_model opened = *m; /* zero */
    opened.image = b;
    opened.image_size = size;
#if MB_HAS_CHECKS
    const mb_status status = check_image(&opened);
#else
    const mb_status status = MB_OK;
#endif
    if (status == MB_OK) {
        *m = opened;
    }
    return status;
}
