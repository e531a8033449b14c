/* The image, read in place. FORMAT.md specifies it, and check.c has checked it. Checksums, layer records, sizes. */
#include "image.h"

#include <string.h>

/* CRC-32, for images before 1.5. */
MB_MINSIZE static uint32_t sum_bytes(uint32_t sum, const uint8_t *p, uint32_t n)
{
    for (; n != 0; n--) {
        sum ^= *p++;
        for (unsigned bit = 0; bit < 8u; bit++) {
            sum = (sum >> 1) ^ (0xEDB88320u & (0u - (sum & 1u)));
        }
    }
    return sum;
}

uint32_t mb_sum_words(uint32_t sum, const void *words, uint32_t n)
{
    for (const mb_word *p = words; n != 0; n--) {
        sum ^= *p++;
        uint32_t part = sum >> 9;
        sum ^= part ^ (part << 5);
        part = sum << 23;
        sum ^= part ^ (part >> 8);
    }
    return sum;
}

/* Continues a checksum of the image's kind over n bytes. pre: p is 4-byte aligned, and readable to the end of its last word. */
MB_MINSIZE static uint32_t sum_on(const uint8_t *image, uint32_t sum, const void *p, uint32_t n)
{
    return mb_u16_at(image + MB_AT_MINOR) < MB_MINOR_OF_WORDS ? sum_bytes(sum, p, n) : mb_sum_words(sum, p, (n + 3u) >> 2);
}

uint32_t mb_section_sum(const uint8_t *image, const uint8_t *section, uint32_t size)
{
    return ~sum_on(image, 0xFFFFFFFFu, section, size);
}

uint32_t mb_header_sum(const uint8_t *image, uint32_t state_sum)
{
    mb_word header[MB_HEADER_SIZE / 4];
    memcpy(header, image, sizeof header);
    header[MB_AT_HEADER_SUM / 4] = 0;
    header[MB_AT_STATE_SUM / 4] = state_sum;
    const uint32_t sum = sum_on(image, 0xFFFFFFFFu, header, sizeof header);
    return ~sum_on(image, sum, image + MB_HEADER_SIZE, MB_RECORD_SIZE * mb_u16_at(image + MB_AT_LAYERS));
}

/* An array that learning changes lies in the state, or in the image while no state is attached; the library writes to no other.
 * Addresses are computed as integers, because mb_open calls this before it has checked an offset. */
MB_MINSIZE void mb_layer_at(const mb_model *m, unsigned index, mb_layer *l)
{
    const uint8_t *p = mb_record_at(m->image, index);
    const uint8_t ternary = MB_HAS_DENSE && p[0] == MB_TERNARY;
    l->kind = ternary ? MB_DENSE : p[0];
#if MB_HAS_DENSE
    l->ternary = ternary;
    l->lanes16 = p[8] == 16;
    l->window = (uint16_t)mb_u16_at(p + 10);
    l->channels = (uint16_t)mb_u16_at(p + 44);
#endif
    l->input = p[1];
    l->bits = p[2];
    l->planes = p[3];
    l->learns = p[9];
    l->inputs = mb_u16_at(p + 4);
    l->units = mb_u16_at(p + 6);
    l->dose = mb_u32_at(p + 12);
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
    l->shift = p[l->kind == MB_HEAD ? 47 : 46];
    l->shared = p[46];
    const uintptr_t image = (uintptr_t)m->image;
    const uintptr_t learned = l->learns && m->state != NULL ? (uintptr_t)m->state - mb_u32_at(m->image + MB_AT_STATE) : image;
    l->sign = (uint8_t *)(learned + mb_u32_at(p + 16));
    l->levels = (uint8_t *)(learned + mb_u32_at(p + 20));
    l->fold = (mb_word *)((MB_HAS_DENSE && l->input == MB_PLUS_MINUS ? learned : image) + mb_u32_at(p + 24));
    l->tables = (const mb_half *)(image + mb_u32_at(p + 28));
    if (MB_HAS_DENSE && l->kind == MB_OUTPUT) {
        l->own.scores = (const mb_int *)(image + mb_u32_at(p + 32));
    } else if (MB_IS_HEAD(l)) {
        l->own.record = p;
    } else { /* thresholds of an encoder or cuts, need of a graded layer */
        l->own.thresholds = (const uint8_t *)(image + mb_u32_at(p + 36));
    }
    l->host = NULL;
}

size_t mb_state_size(const mb_model *m)
{
    return m == NULL || m->image == NULL ? 0 : mb_u32_at(m->image + MB_AT_STATE_SIZE);
}

uint16_t mb_input_size(const mb_model *m)
{
    return m == NULL || m->image == NULL ? 0 : (uint16_t)mb_u16_at(m->image + MB_AT_INPUT);
}

uint16_t mb_classes(const mb_model *m)
{
    return m == NULL || m->image == NULL ? 0 : (uint16_t)mb_u16_at(m->image + MB_AT_CLASSES);
}
