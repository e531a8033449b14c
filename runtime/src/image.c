/* The image, read in place, and the memories beside it. FORMAT.md is the specification; check.c made sure of it. */
#include <string.h>

#include "layer.h"

/// Bytes ///

/* The next byte is in the lowest bits already. Where size is no matter, four bits at a time: sixteen table words instead of 256. */
static uint32_t crc_of_byte(uint32_t crc)
{
#ifndef __OPTIMIZE_SIZE__
    static const uint32_t NIBBLE[16] = {0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u,
                                        0x4DB26158u, 0x5005713Cu, 0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu,
                                        0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu};
    crc = NIBBLE[crc & 15u] ^ (crc >> 4);
    return NIBBLE[crc & 15u] ^ (crc >> 4);
#else
    for (unsigned bit = 0; bit < 8u; bit++) {
        crc = (crc >> 1) ^ (0xEDB88320u & (0u - (crc & 1u)));
    }
    return crc;
#endif
}

uint32_t mb_crc32(const uint8_t *p, uint32_t n, uint32_t hole)
{
    uint32_t crc = 0xFFFFFFFFu;
    for (uint32_t i = 0; i < n; i++) {
        crc = crc_of_byte(i - hole < 4u ? crc : crc ^ p[i]);
    }
    return ~crc;
}

/// Fields ///

/* What learns lies in the state, attached or not; mb_open made sure of it. The library writes only there. All are integers: an
 * offset may not have been checked yet. */
MB_SMALL void mb_layer_at(const mb_model *m, unsigned index, mb_layer *l)
{
#ifdef MB_WIDE
    if (m->wide != NULL) {
        mb_wide_layer_at(m, index, l);
        return;
    }
    l->wide = NULL;
#endif
    const uint8_t *p = mb_record_at(m->image, index);
    *(mb_word *)(void *)l = mb_u32_at(p); /* kind, input, bits, planes */
    l->ternary = l->kind == MB_TERNARY;
    if (l->ternary) {
        l->kind = MB_DENSE;
    }
    l->half = p[8] == 16;
    l->learns = p[9];
    l->inputs = mb_u16_at(p + 4);
    l->units = mb_u16_at(p + 6);
    l->channels = (uint16_t)mb_u16_at(p + 44);
    if (MB_IS_CONV(l)) {
        l->height = (uint16_t)mb_u16_at(p + 40);
        l->width = (uint16_t)mb_u16_at(p + 42);
        l->kernel = p[46];
        l->stride = p[47];
        l->pool = p[48];
        l->same = p[49];
    }
    if (MB_IS_GRADED(l)) {
        l->low = (uint16_t)mb_u16_at(p + 40);
        l->high = (uint16_t)mb_u16_at(p + 42);
        l->gain = l->channels;
        l->depth = p[46];
        l->draws = p[47];
        l->batch = (uint16_t)(32u * p[48]);
    }
    l->window = mb_u16_at(p + 10);
    l->dose = mb_u32_at(p + 12);
    const uintptr_t image = (uintptr_t)m->image;
    const uintptr_t learns = l->learns && m->state != NULL ? (uintptr_t)m->state - mb_u32_at(m->image + MB_AT_STATE) : image;
    l->sign = (uint8_t *)(learns + mb_u32_at(p + 16));
    l->levels = (uint8_t *)(learns + mb_u32_at(p + 20));
    l->fold = (mb_word *)((l->input == MB_PLUS_MINUS ? learns : image) + mb_u32_at(p + 24));
    l->tables = (const mb_half *)(image + mb_u32_at(p + 28));
    l->scores = (const mb_int *)(image + mb_u32_at(p + 32));
    l->thresholds = (const uint8_t *)(image + mb_u32_at(p + 36));
    l->need = (const mb_half *)(const void *)l->thresholds;
}

/// Public ///

size_t mb_state_size(const mb_model *m)
{
    return m == NULL || m->image == NULL ? 0 : mb_u32_at(m->image + MB_AT_STATE_SIZE);
}

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
    arena->sizes = graded == 0 ? NULL : take(&next, 2);
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
    if (plan.sizes != NULL) { /* no sample has been seen or kept yet */
        memset(plan.sizes, 0, 8);
    }
    if (m->mode == MB_LEARN && plan.votes.slot != NULL) {
        uint8_t *from = (uint8_t *)plan.votes.slot;
        memset(from, 0, size - (uint32_t)(from - m->arena));
    }
#endif
    return MB_OK;
}

uint16_t mb_input_size(const mb_model *m)
{
    return m == NULL || m->image == NULL ? 0 : (uint16_t)mb_u16_at(m->image + MB_AT_INPUT);
}

uint16_t mb_classes(const mb_model *m)
{
    return m == NULL || m->image == NULL ? 0 : (uint16_t)mb_u16_at(m->image + MB_AT_CLASSES);
}

#if MB_HAS_LEARN
static void put_u32(uint8_t *p, uint32_t v)
{
    for (unsigned i = 0; i < 4; i++) {
        p[i] = (uint8_t)(v >> (8u * i));
    }
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
    const uint32_t state_at = mb_u32_at(m->image + MB_AT_STATE), state_size = mb_u32_at(m->image + MB_AT_STATE_SIZE);
    memcpy(out, m->image, state_at);
    memcpy(out + state_at, m->state, state_size);
    put_u32(out + MB_AT_STATE_CRC, mb_crc32(out + state_at, state_size, state_size));
    put_u32(out + MB_AT_HEADER_CRC, mb_crc32(out, mb_u32_at(m->image + MB_AT_CONST), MB_AT_HEADER_CRC));
    return MB_OK;
}
#endif

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
    case MB_E_LAYERS: return "the layers are not encode (if any), convolutions, dense layers, graded (if any) and one output in this order";
    case MB_E_KIND: return "a layer is of a kind this library does not know";
    case MB_E_SHAPE: return "a layer is empty, larger than 16384 (graded: 1024 units, 8 planes), or does not fit the one before it";
    case MB_E_BITS: return "a layer's hidden bits are outside 1..8 (on graded inputs: not 1), or it learns with fewer than 2";
    case MB_E_PLANES: return "a layer has too few or too many counter planes for its sums";
    case MB_E_OFFSET: return "an offset points outside its section or is misaligned";
    case MB_E_RULE: return "a learning parameter is outside its range";
    case MB_E_SCORES: return "a score could overflow 32 bits";
    case MB_E_GENERATOR: return "the generator state is zero";
    case MB_E_PADDING: return "a padding bit is not zero";
    case MB_E_STATE_SIZE: return "the state memory is smaller than mb_state_size()";
    case MB_E_ARENA_SIZE: return "the arena is smaller than mb_arena_size()";
    case MB_E_DETACHED: return "no memories attached, or no state to export: call mb_attach with both first";
    case MB_E_LABEL: return "the label is not smaller than the number of classes";
    case MB_E_SAME: return "an image cannot be exported over the one in use";
    case MB_E_WINDOW: return "a convolution's window, stride, padding or pool does not fit its image, or the image is too large";
    case MB_E_LEARNS: return "a convolution, a layer on 8-bit inputs or one beside a graded layer is marked as learning: it cannot";
    case MB_E_ABSENT: return "the image needs a part that this build of the library leaves out (MB_WITHOUT_...)";
    case MB_E_GRADED: return "the network has no graded units: there is no novelty to ask for";
    case MB_E_FROZEN: return "nothing to learn: no layer learns, or the model was attached without state or with an arena for inference";
    }
    return "unknown status";
}
