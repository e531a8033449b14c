/* The image: checked byte for byte once, then read in place. FORMAT.md is the specification. */
#include <string.h>

#include "layer.h"

/// Bytes ///

static uint32_t u16_at(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static uint32_t u32_at(const uint8_t *p)
{
    return u16_at(p) | u16_at(p + 2) << 16;
}

static void put_u32(uint8_t *p, uint32_t v)
{
    for (unsigned i = 0; i < 4; i++) {
        p[i] = (uint8_t)(v >> (8u * i));
    }
}

/* CRC-32 (reflected 0xEDB88320) four bits at a time: sixteen table words instead of 256. */
static uint32_t crc32_update(uint32_t crc, const uint8_t *p, size_t n)
{
    static const uint32_t NIBBLE[16] = {0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u,
                                        0x4DB26158u, 0x5005713Cu, 0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu,
                                        0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu};
    while (n-- > 0) {
        crc ^= *p++;
        crc = NIBBLE[crc & 15u] ^ (crc >> 4);
        crc = NIBBLE[crc & 15u] ^ (crc >> 4);
    }
    return crc;
}

static uint32_t crc32_of(const uint8_t *p, size_t n)
{
    return ~crc32_update(0xFFFFFFFFu, p, n);
}

/* Of header and records, with the checksum's own four bytes taken as zero. */
static uint32_t header_crc(const uint8_t *image, uint32_t const_offset)
{
    static const uint8_t ZERO[4] = {0, 0, 0, 0};
    uint32_t crc = crc32_update(0xFFFFFFFFu, image, 12);
    crc = crc32_update(crc, ZERO, 4);
    return ~crc32_update(crc, image + 16, const_offset - 16u);
}

/// Fields ///

static const uint32_t MAGIC = 0x5449424Du; /* "MBIT" */

enum {
    AT_MINOR = 6, AT_SIZE = 8, AT_HEADER_CRC = 12,
    AT_CONST = 16, AT_CONST_SIZE = 20, AT_CONST_CRC = 24,
    AT_STATE = 28, AT_STATE_SIZE = 32, AT_STATE_CRC = 36,
    AT_LAYERS = 40, AT_INPUT = 42, AT_CLASSES = 44, AT_RESERVED = 52
};

static const uint8_t *record_at(const uint8_t *image, unsigned index)
{
    return image + MB_HEADER_SIZE + (size_t)MB_RECORD_SIZE * index;
}

unsigned mb_layer_count(const mb_model *m)
{
    return u16_at(m->image + AT_LAYERS);
}

/* An offset as a pointer: into the attached state if it lies there, else into the image. The library writes only through
 * pointers of layers that learn, and mb_open made sure that those lie in the state. */
static uint8_t *locate(const mb_model *m, uint32_t offset)
{
    const uint32_t state = u32_at(m->image + AT_STATE);
    if (offset >= state && m->state != NULL) {
        return m->state + (offset - state);
    }
    return (uint8_t *)((uintptr_t)m->image + offset); /* an integer sum: the offset may not have been checked yet */
}

void mb_layer_at(const mb_model *m, unsigned index, mb_layer *l)
{
    const uint8_t *p = record_at(m->image, index);
    l->kind = p[0];
    l->input = p[1];
    l->bits = p[2];
    l->planes = p[3];
    l->half = p[8] == 16;
    l->learns = p[9];
    l->inputs = u16_at(p + 4);
    l->units = u16_at(p + 6);
    l->window = u16_at(p + 10);
    l->dose = u32_at(p + 12);
    l->sign = locate(m, u32_at(p + 16));
    l->levels = locate(m, u32_at(p + 20));
    l->fold = (mb_word *)(void *)locate(m, u32_at(p + 24));
    l->tables = (const mb_half *)(const void *)locate(m, u32_at(p + 28));
    l->scores = (const mb_int *)(const void *)locate(m, u32_at(p + 32));
    l->thresholds = locate(m, u32_at(p + 36));
}

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
    return u16_at(m->image + AT_MINOR) > MB_FORMAT_MINOR || all_zero(p, n);
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
    if (p[1] != 0 || p[3] != 0 || !all_zero(p + 8, 28)) {
        return MB_E_KIND;
    }
    return claim(constants, u32_at(p + 36), l->units) ? MB_OK : MB_E_OFFSET;
}

static mb_status check_dense(const uint8_t *p, const mb_layer *l, section *constants, section *state)
{
    const int is_output = l->kind == MB_OUTPUT;
    if (l->inputs == 0 || l->inputs > MB_MAX_UNITS || l->units == 0 || l->units > MB_MAX_UNITS) {
        return MB_E_SHAPE;
    }
    if (l->bits < 1 || l->bits > 8 || l->learns > 1 || (l->learns && l->bits < 2)) {
        return MB_E_BITS;
    }
    if (l->planes < MB_PLANES_MIN || l->planes > MB_PLANES_MAX || l->planes < bit_length(l->inputs) + 1u ||
        l->window >= (1u << (l->planes - 1u))) {
        return MB_E_PLANES;
    }
    if (p[8] != (is_output && l->units <= 16u ? 16 : 32)) {
        return MB_E_SHAPE;
    }
    if (l->learns ? l->dose == 0 || l->dose >= (1u << 20) : l->dose != 0) {
        return MB_E_RULE;
    }
    const uint32_t lane_bytes = l->half ? 2u : 4u, rows = (l->units + 8u * lane_bytes - 1u) / (8u * lane_bytes);
    const uint32_t low_bits = (uint32_t)l->bits - 1u, entries = 1u << low_bits;
    section *const planes = l->learns ? state : constants;
    section *const fold = l->learns && l->input == MB_PLUS_MINUS ? state : constants;
    const uint32_t levels_at = u32_at(p + 20), tables_at = u32_at(p + 28), scores_at = u32_at(p + 32);
    if (!claim(planes, u32_at(p + 16), rows * (l->inputs + 1u) * lane_bytes) ||
        !(low_bits ? claim(planes, levels_at, rows * l->inputs * low_bits * lane_bytes) : levels_at == 0) ||
        !claim(fold, u32_at(p + 24), MB_WORDS(l->units) * l->planes * 4u) ||
        !(l->learns ? claim(constants, tables_at, 4u * entries) : tables_at == 0) ||
        !(is_output ? claim(constants, scores_at, 8u * l->units) : scores_at == 0) || u32_at(p + 36) != 0) {
        return MB_E_OFFSET;
    }
    for (uint32_t c = 0; is_output && c < l->units; c++) { /* |a| <= 2^planes + 1 whatever the folded constants say */
        const int64_t mul = l->scores[c], add = l->scores[l->units + c];
        const int64_t most = (mul < 0 ? -mul : mul) * (((int32_t)1 << l->planes) + 1) + (add < 0 ? -add : add);
        if (most > INT32_MAX) {
            return MB_E_SCORES;
        }
    }
    return padding_is_zero(l) ? MB_OK : MB_E_PADDING;
}

/* Each layer on its own, and the chain: encode? dense* output, each fitting the one before. */
static mb_status check_layers(const mb_model *m, section *constants, section *state)
{
    const unsigned count = mb_layer_count(m);
    uint32_t bits = 0; /* units of the layer before; 0 at the start */
    for (unsigned i = 0; i < count; i++) {
        const uint8_t *p = record_at(m->image, i);
        mb_layer l;
        mb_status status;
        mb_layer_at(m, i, &l);
        if (l.kind < MB_ENCODE || l.kind > MB_OUTPUT || !reserved_is_zero(m, p + 40, 24)) {
            return MB_E_KIND;
        }
        if ((l.kind == MB_ENCODE && i != 0) || (l.kind == MB_OUTPUT) != (i + 1u == count)) {
            return MB_E_LAYERS;
        }
        const int first = i == 0 || record_at(m->image, i - 1u)[0] == MB_ENCODE;
        if (l.kind != MB_ENCODE && l.input != (first ? MB_ON_OFF : MB_PLUS_MINUS)) {
            return MB_E_KIND;
        }
        if (bits != 0 && l.inputs != bits) {
            return MB_E_SHAPE;
        }
        if (i == 0 && u16_at(m->image + AT_INPUT) != (l.kind == MB_ENCODE ? l.inputs : (l.inputs + 7u) / 8u)) {
            return MB_E_SHAPE;
        }
        status = l.kind == MB_ENCODE ? check_encode(p, &l, constants) : check_dense(p, &l, constants, state);
        if (status != MB_OK) {
            return status;
        }
        bits = l.units;
    }
    return bits >= 2u && bits == u16_at(m->image + AT_CLASSES) ? MB_OK : MB_E_SHAPE;
}

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
    if (u32_at(b) != MAGIC) {
        return MB_E_MAGIC;
    }
    if (u16_at(b + 4) != MB_FORMAT_MAJOR) {
        return MB_E_VERSION;
    }
    const uint32_t size = u32_at(b + AT_SIZE), layers = u16_at(b + AT_LAYERS);
    const uint32_t records_end = MB_HEADER_SIZE + MB_RECORD_SIZE * layers;
    if (size > image_len || size < records_end) {
        return MB_E_TRUNCATED;
    }
    if (header_crc(b, records_end) != u32_at(b + AT_HEADER_CRC)) {
        return MB_E_HEADER_CRC;
    }
    const uint32_t const_at = u32_at(b + AT_CONST), const_size = u32_at(b + AT_CONST_SIZE);
    const uint32_t state_at = u32_at(b + AT_STATE), state_size = u32_at(b + AT_STATE_SIZE);
    if (const_at != records_end || state_at < const_at || state_at > size || (state_at & 3u) != 0 || (size & 3u) != 0 ||
        const_size > state_at - const_at || state_at - const_at - const_size > 3u || state_size != size - state_at ||
        state_size < MB_STATE_HEADER || size > 0x7FFFFFFFu ||
        !all_zero(b + const_at + const_size, state_at - const_at - const_size)) {
        return MB_E_SECTION;
    }
    if (crc32_of(b + const_at, const_size) != u32_at(b + AT_CONST_CRC)) {
        return MB_E_CONST_CRC;
    }
    if (crc32_of(b + state_at, state_size) != u32_at(b + AT_STATE_CRC)) {
        return MB_E_STATE_CRC;
    }
    if (layers < 1 || layers > MB_MAX_LAYERS) {
        return MB_E_LAYERS;
    }
    mb_model opened = {b, NULL, NULL, size, MB_INFER};
    if (u16_at(b + MB_AT_TEMPERATURE) == 0 || u16_at(b + MB_AT_MARGIN) > 4096u || !reserved_is_zero(&opened, b + 46, 2) ||
        !reserved_is_zero(&opened, b + AT_RESERVED, 12)) {
        return MB_E_RULE;
    }
    if (u32_at(b + state_at) == 0) {
        return MB_E_GENERATOR;
    }
    section constants = {const_at, const_at + const_size}, state = {state_at + MB_STATE_HEADER, size};
    const mb_status status = check_layers(&opened, &constants, &state);
    if (status == MB_OK) {
        *m = opened;
    }
    return status;
}

size_t mb_state_size(const mb_model *m)
{
    return m == NULL || m->image == NULL ? 0 : u32_at(m->image + AT_STATE_SIZE);
}

/* Hands out the next `bytes` of the arena, rounded up to words. */
static void *take(const mb_model *m, uint32_t *used, uint32_t bytes)
{
    uint8_t *p = m->arena == NULL ? NULL : m->arena + *used;
    *used += (bytes + 3u) & ~3u;
    return p;
}

uint32_t mb_arena_plan(const mb_model *m, mb_mode mode, mb_arena *arena)
{
    const unsigned count = mb_layer_count(m);
    mb_arena local;
    mb_layer l;
    uint32_t used = 0, most_inputs = 0, most_units = 0;
    if (arena == NULL) {
        arena = &local;
    }
    for (unsigned i = 0; i < count; i++) {
        mb_layer_at(m, i, &l);
        if (l.kind != MB_ENCODE) {
            most_inputs = l.inputs > most_inputs ? l.inputs : most_inputs;
            most_units = l.units > most_units ? l.units : most_units;
        }
    }
    arena->list = take(m, &used, 2u * (most_inputs + 8u));
    arena->carry = take(m, &used, 4u * (most_inputs / 16u + 2u));
    for (unsigned i = 0; i < count; i++) {
        mb_layer_at(m, i, &l);
        arena->bits[i] = l.kind == MB_ENCODE ? NULL : take(m, &used, 4u * MB_WORDS(l.inputs));
    }
    arena->scores = take(m, &used, 4u * mb_classes(m));
    if (mode == MB_LEARN) {
        for (unsigned i = 0; i < count; i++) {
            mb_layer_at(m, i, &l);
            arena->mask[i] = l.kind == MB_DENSE ? take(m, &used, 4u * MB_WORDS(l.units)) : NULL;
        }
        arena->error[0] = take(m, &used, 4u * most_units);
        arena->error[1] = take(m, &used, 4u * most_units);
        arena->sums = take(m, &used, 4u * 8u * 16u);
    }
    return used;
}

size_t mb_arena_size(const mb_model *m, mb_mode mode)
{
    return m == NULL || m->image == NULL ? 0 : mb_arena_plan(m, mode, NULL);
}

mb_status mb_attach(mb_model *m, void *state, size_t state_len, void *arena, size_t arena_len)
{
    if (m == NULL || m->image == NULL || state == NULL || arena == NULL) {
        return MB_E_NULL;
    }
    if ((((uintptr_t)state | (uintptr_t)arena) & 3u) != 0) {
        return MB_E_ALIGN;
    }
    if (state_len < mb_state_size(m)) {
        return MB_E_STATE_SIZE;
    }
    if (arena_len < mb_arena_size(m, MB_INFER)) {
        return MB_E_ARENA_SIZE;
    }
    m->mode = arena_len < mb_arena_size(m, MB_LEARN) ? MB_INFER : MB_LEARN;
    m->state = state;
    m->arena = arena;
    memcpy(state, m->image + u32_at(m->image + AT_STATE), mb_state_size(m));
    return MB_OK;
}

uint16_t mb_input_size(const mb_model *m)
{
    return m == NULL || m->image == NULL ? 0 : (uint16_t)u16_at(m->image + AT_INPUT);
}

uint16_t mb_classes(const mb_model *m)
{
    return m == NULL || m->image == NULL ? 0 : (uint16_t)u16_at(m->image + AT_CLASSES);
}

mb_status mb_export(const mb_model *m, void *image, size_t image_len)
{
    uint8_t *out = image;
    if (m == NULL || image == NULL) {
        return MB_E_NULL;
    }
    if ((const void *)m->image == image) {
        return MB_E_SAME;
    }
    if (m->state == NULL) {
        return MB_E_DETACHED;
    }
    if (image_len < m->image_size) {
        return MB_E_TRUNCATED;
    }
    const uint32_t state_at = u32_at(m->image + AT_STATE), state_size = u32_at(m->image + AT_STATE_SIZE);
    memcpy(out, m->image, state_at);
    memcpy(out + state_at, m->state, state_size);
    put_u32(out + AT_STATE_CRC, crc32_of(out + state_at, state_size));
    put_u32(out + AT_HEADER_CRC, header_crc(out, u32_at(out + AT_CONST)));
    return MB_OK;
}

const char *mb_strerror(mb_status status)
{
    switch (status) {
    case MB_OK: return "no error";
    case MB_E_NULL: return "a required pointer is NULL";
    case MB_E_ALIGN: return "a memory is not 4-byte aligned";
    case MB_E_TRUNCATED: return "the image is truncated";
    case MB_E_MAGIC: return "not a metabit image (it does not start with \"MBIT\")";
    case MB_E_VERSION: return "the image has another major format version than this library reads";
    case MB_E_HEADER_CRC: return "the image's header or layer records are damaged (checksum mismatch)";
    case MB_E_CONST_CRC: return "the image's constant section is damaged (checksum mismatch)";
    case MB_E_STATE_CRC: return "the image's state section is damaged (checksum mismatch)";
    case MB_E_SECTION: return "the image's sections overlap or are misplaced";
    case MB_E_LAYERS: return "the layers are not an optional encode, then dense layers, then one output";
    case MB_E_KIND: return "a layer is of a kind this library does not know";
    case MB_E_SHAPE: return "a layer is empty, larger than 16384, or does not fit the one before it";
    case MB_E_BITS: return "a layer's hidden bits are outside 1..8, or it learns with fewer than 2";
    case MB_E_PLANES: return "a layer has too few or too many counter planes for its sums";
    case MB_E_OFFSET: return "an offset points outside its section or is misaligned";
    case MB_E_RULE: return "a learning parameter is outside its range";
    case MB_E_SCORES: return "a score could overflow 32 bits";
    case MB_E_GENERATOR: return "the generator state is zero";
    case MB_E_PADDING: return "a padding bit is not zero";
    case MB_E_STATE_SIZE: return "the state memory is smaller than mb_state_size()";
    case MB_E_ARENA_SIZE: return "the arena is smaller than mb_arena_size()";
    case MB_E_DETACHED: return "no memories attached: call mb_attach first";
    case MB_E_LABEL: return "the label is not smaller than the number of classes";
    case MB_E_SAME: return "an image cannot be exported over the one in use";
    case MB_E_FROZEN: return "nothing to learn: no layer learns, or the arena was sized for inference";
    }
    return "unknown status";
}
