/* The image, read in place. FORMAT.md specifies it, and check.c has checked it. Checksums, layer records, sizes. */
#include "image.h"

/* Takes one byte into the CRC. The caller has XORed it into the lowest bits. Where size does not matter, four bits at a
 * time: a table of 16 words instead of 256. */
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

/* An array that learning changes lies in the state, or in the image while no state is attached; the library writes to no other.
 * Addresses are computed as integers, because mb_open calls this before it has checked an offset. */
MB_MINSIZE void mb_layer_at(const mb_model *m, unsigned index, mb_layer *l)
{
    const uint8_t *p = mb_record_at(m->image, index);
    l->ternary = p[0] == MB_TERNARY;
    l->kind = l->ternary ? MB_DENSE : p[0];
    l->input = p[1];
    l->bits = p[2];
    l->planes = p[3];
    l->lanes16 = p[8] == 16;
    l->learns = p[9];
    l->inputs = mb_u16_at(p + 4);
    l->units = mb_u16_at(p + 6);
    l->window = (uint16_t)mb_u16_at(p + 10);
    l->dose = mb_u32_at(p + 12);
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
    l->shift = p[l->kind == MB_HEAD ? 47 : 46];
    l->shared = p[46];
    const uintptr_t image = (uintptr_t)m->image;
    const uintptr_t learned = l->learns && m->state != NULL ? (uintptr_t)m->state - mb_u32_at(m->image + MB_AT_STATE) : image;
    l->sign = (uint8_t *)(learned + mb_u32_at(p + 16));
    l->levels = (uint8_t *)(learned + mb_u32_at(p + 20));
    l->fold = (mb_word *)((l->input == MB_PLUS_MINUS ? learned : image) + mb_u32_at(p + 24));
    l->tables = (const mb_half *)(image + mb_u32_at(p + 28));
    if (l->kind == MB_OUTPUT) {
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
