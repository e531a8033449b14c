/* The image, read in place, and the memories beside it. FORMAT.md is the specification; check.c made sure of it. */
#include <string.h>

#include "layer.h"

/// Bytes ///

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

uint32_t mb_crc32(const uint8_t *p, size_t n)
{
    return ~crc32_update(0xFFFFFFFFu, p, n);
}

/* Of header and records, with the checksum's own four bytes taken as zero. */
uint32_t mb_header_crc(const uint8_t *image, uint32_t const_offset)
{
    static const uint8_t ZERO[4] = {0, 0, 0, 0};
    uint32_t crc = crc32_update(0xFFFFFFFFu, image, 12);
    crc = crc32_update(crc, ZERO, 4);
    return ~crc32_update(crc, image + 16, const_offset - 16u);
}

/// Fields ///

unsigned mb_layer_count(const mb_model *m)
{
    return mb_u16_at(m->image + MB_AT_LAYERS);
}

/* An offset as a pointer: into the attached state if it lies there, else into the image. The library writes only through
 * pointers of layers that learn, and mb_open made sure that those lie in the state. */
static uint8_t *locate(const mb_model *m, uint32_t offset)
{
    const uint32_t state = mb_u32_at(m->image + MB_AT_STATE);
    if (offset >= state && m->state != NULL) {
        return m->state + (offset - state);
    }
    return (uint8_t *)((uintptr_t)m->image + offset); /* an integer sum: the offset may not have been checked yet */
}

void mb_layer_at(const mb_model *m, unsigned index, mb_layer *l)
{
#ifdef MB_WIDE
    if (m->wide != NULL) {
        mb_wide_layer_at(m, index, l);
        return;
    }
    l->wide = NULL;
#endif
    const uint8_t *p = mb_record_at(m->image, index);
    l->ternary = p[0] == MB_TERNARY;
    l->kind = l->ternary ? MB_DENSE : p[0];
    l->input = p[1];
    l->bits = p[2];
    l->planes = p[3];
    l->half = p[8] == 16;
    l->learns = p[9];
    l->inputs = mb_u16_at(p + 4);
    l->units = mb_u16_at(p + 6);
    l->height = l->width = l->kernel = l->stride = l->pool = 1; /* a dense layer is a window on an image of one pixel */
    l->channels = (uint16_t)(l->kind == MB_ENCODE ? mb_u16_at(p + 44) : l->inputs);
    l->same = 0;
    if (MB_IS_CONV(l)) {
        l->height = (uint16_t)mb_u16_at(p + 40);
        l->width = (uint16_t)mb_u16_at(p + 42);
        l->channels = (uint16_t)mb_u16_at(p + 44);
        l->kernel = p[46];
        l->stride = p[47];
        l->pool = p[48];
        l->same = p[49];
    }
    l->low = l->high = l->gain = 0;
    l->depth = l->draws = 0;
    l->batch = 0;
    if (MB_IS_GRADED(l)) {
        l->low = (uint16_t)mb_u16_at(p + 40);
        l->high = (uint16_t)mb_u16_at(p + 42);
        l->gain = (uint16_t)mb_u16_at(p + 44);
        l->depth = p[46];
        l->draws = p[47];
        l->batch = (uint16_t)(32u * p[48]);
        l->height = l->depth; /* planes lie one after the other: what mb_values counts */
    }
    l->window = mb_u16_at(p + 10);
    l->dose = mb_u32_at(p + 12);
    l->sign = locate(m, mb_u32_at(p + 16));
    l->levels = locate(m, mb_u32_at(p + 20));
    l->fold = (mb_word *)(void *)locate(m, mb_u32_at(p + 24));
    l->tables = (const mb_half *)(const void *)locate(m, mb_u32_at(p + 28));
    l->scores = (const mb_int *)(const void *)locate(m, mb_u32_at(p + 32));
    l->thresholds = locate(m, mb_u32_at(p + 36));
    l->need = (const mb_half *)(const void *)l->thresholds;
}

/// Public ///

size_t mb_state_size(const mb_model *m)
{
    return m == NULL || m->image == NULL ? 0 : mb_u32_at(m->image + MB_AT_STATE_SIZE);
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
#ifdef MB_WIDE
    if (m->wide != NULL && arena != NULL) {
        mb_wide_arena(m, arena);
        return 0;
    }
#endif
    const unsigned count = mb_layer_count(m);
    mb_arena local;
    mb_layer l;
    uint32_t used = 0, most_inputs = 0, most_units = 0, most_work = 0, graded = 0, kernel = 0, sums = 8u * 16u;
    if (arena == NULL) {
        arena = &local;
    }
    for (unsigned i = 0; i < count; i++) {
        mb_layer_at(m, i, &l);
        const uint32_t values = mb_values(&l), of_bytes = l.kind == MB_DENSE ? MB_BYTE_PLANES : 0;
        const uint32_t depth = l.kind == MB_ENCODE || MB_ON_GRADES(&l) ? 0 : MB_ON_BYTES(&l) ? of_bytes : 1u;
        arena->bits[i] = depth == 0 ? NULL : take(m, &used, 4u * MB_WORDS(values) * depth);
        if (l.kind != MB_ENCODE) {
            const uint32_t least = l.inputs < 16u ? 16u : l.inputs; /* a convolution on bytes pads its window to 32 */
            const uint32_t listed = MB_IS_GRADED(&l) ? values : depth == MB_BYTE_PLANES ? 2u * least + 40u : least;
            most_inputs = listed > most_inputs ? listed : most_inputs;
            most_units = l.units > most_units ? l.units : most_units;
        }
        const uint32_t drawn = l.ternary ? 3u * ((MB_WORDS(l.units) + 7u) & ~7u) : 0;
        sums = drawn > sums ? drawn : sums;
        if (MB_IS_GRADED(&l)) { /* only the last before the output */
            graded = l.units;
        }
        uint32_t work = 0;
        if (MB_IS_CONV(&l)) {
            kernel = l.kernel > kernel ? l.kernel : kernel;
            work = MB_ON_BYTES(&l) ? mb_conv_bytes_work(&l) : mb_conv_bits_work(&l);
        } else if (MB_ON_BYTES(&l)) {
            work = MB_WORDS(l.units) * (l.planes + 2u);
        }
        most_work = work > most_work ? work : most_work;
    }
    arena->list = take(m, &used, 2u * (most_inputs + 8u));
    arena->carry = take(m, &used, 4u * (most_inputs / 16u + kernel + 9u));
    arena->work = take(m, &used, 4u * most_work);
    arena->values = take(m, &used, 4u * graded);
    arena->sizes = graded == 0 ? NULL : take(m, &used, 8u);
    arena->scores = take(m, &used, 4u * mb_classes(m));
    if (MB_HAS_LEARN && mode == MB_LEARN) { /* after all that prediction takes, so that it lies the same in both modes */
        for (unsigned i = 0; i < count; i++) {
            mb_layer_at(m, i, &l);
            arena->mask[i] = l.kind == MB_DENSE && !MB_ON_BYTES(&l) ? take(m, &used, 4u * MB_WORDS(l.units)) : NULL;
        }
        arena->error[0] = take(m, &used, 4u * most_units);
        arena->error[1] = take(m, &used, 4u * most_units);
        arena->sums = take(m, &used, 4u * sums);
        arena->votes.slot = NULL;
        mb_layer_at(m, count < 2u ? 0 : count - 2u, &l);
        if (MB_IS_GRADED(&l) && l.learns) {
            const uint32_t batch = l.batch;
            arena->votes.passes = take(m, &used, 16u * l.units);
            arena->votes.slot = take(m, &used, 4u);
            arena->votes.inputs = take(m, &used, mb_values(&l) * (batch >> 3));
            arena->votes.asked = take(m, &used, 12u * batch * MB_WORDS(l.units));
        }
    }
    return used;
}

size_t mb_arena_size(const mb_model *m, mb_mode mode)
{
    return m == NULL || m->image == NULL ? 0 : mb_arena_plan(m, mode, NULL);
}

mb_status mb_attach(mb_model *m, void *state, size_t state_len, void *arena, size_t arena_len)
{
#ifdef MB_WIDE
    if (m != NULL) {
        m->wide = NULL; /* of another state and arena, and perhaps gone: not to be read from here on */
    }
#endif
    const int in_place = state == NULL && state_len == 0; /* predicts from the image itself */
    if (m == NULL || m->image == NULL || (state == NULL && !in_place) || arena == NULL) {
        return MB_E_NULL;
    }
    if ((((uintptr_t)state | (uintptr_t)arena) & 3u) != 0) {
        return MB_E_ALIGN;
    }
    if (!in_place && state_len < mb_state_size(m)) {
        return MB_E_STATE_SIZE;
    }
    if (arena_len < mb_arena_size(m, MB_INFER)) {
        return MB_E_ARENA_SIZE;
    }
    m->mode = MB_HAS_LEARN && !in_place && arena_len >= mb_arena_size(m, MB_LEARN) ? MB_LEARN : MB_INFER;
    m->state = state;
    m->arena = arena;
    if (!in_place) {
        memcpy(state, m->image + mb_u32_at(m->image + MB_AT_STATE), mb_state_size(m));
    }
    mb_arena plan; /* no sample has been seen or kept yet */
    const uint32_t size = mb_arena_plan(m, m->mode, &plan);
    if (MB_HAS_GRADED && plan.sizes != NULL) {
        memset(plan.sizes, 0, 8);
    }
    if (MB_HAS_GRADED && m->mode == MB_LEARN && plan.votes.slot != NULL) {
        uint8_t *from = (uint8_t *)plan.votes.slot;
        memset(from, 0, size - (uint32_t)(from - m->arena));
    }
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
    put_u32(out + MB_AT_STATE_CRC, mb_crc32(out + state_at, state_size));
    put_u32(out + MB_AT_HEADER_CRC, mb_header_crc(out, mb_u32_at(out + MB_AT_CONST)));
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
