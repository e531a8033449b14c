/* Files, and images whose checksums are mended after somebody changed them. All that runs this is little-endian. */
#ifndef IMAGES_H
#define IMAGES_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline uint8_t *read_file(const char *path, size_t *size) /* a block of exact size */
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = NULL;
    if (file != NULL && fseek(file, 0, SEEK_END) == 0) {
        *size = (size_t)ftell(file);
        rewind(file);
        data = malloc(*size ? *size : 1);
    }
    if (data == NULL || fread(data, 1, *size, file) != *size) {
        fprintf(stderr, "cannot read %s\n", path);
        exit(1);
    }
    fclose(file);
    return data;
}

static inline uint32_t get(const uint8_t *p, size_t width)
{
    uint32_t v = 0;
    memcpy(&v, p, width);
    return v;
}

static inline uint32_t crc32(const uint8_t *p, size_t n) /* checksum of images before 1.5 */
{
    uint32_t crc = 0xFFFFFFFFu;
    while (n-- > 0) {
        crc ^= *p++;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (0xEDB88320u & (0u - (crc & 1u)));
        }
    }
    return ~crc;
}

static inline uint32_t sum_of_words(const uint8_t *p, size_t n)
{
    uint32_t sum = 0xFFFFFFFFu;
    for (size_t at = 0; at < n; at += 4) {
        sum ^= get(p + at, n - at < 4 ? n - at : 4);
        sum ^= sum >> 9 ^ sum >> 9 << 5;
        sum ^= sum << 23 ^ sum << 23 >> 8;
    }
    return ~sum;
}

static inline uint32_t checksum(const uint8_t *image, size_t at, size_t n)
{
    return get(image + 6, 2) < 5 ? crc32(image + at, n) : sum_of_words(image + at, n);
}

/* Mends the three checksums, as far as their sections lie in the n bytes, so that only the other checks refuse the image. */
static inline void seal(uint8_t *image, size_t n)
{
    if (n < 64) {
        return;
    }
    for (size_t field = 16; field <= 28; field += 12) { /* constants, then state */
        const uint64_t at = get(image + field, 4), size = get(image + field + 4, 4);
        if (at + size <= n) {
            const uint32_t sum = checksum(image, (size_t)at, (size_t)size);
            memcpy(image + field + 8, &sum, 4);
        }
    }
    const size_t records_end = 64 + 64 * (size_t)get(image + 40, 2);
    if (records_end <= n) {
        memset(image + 12, 0, 4);
        const uint32_t sum = checksum(image, 0, records_end);
        memcpy(image + 12, &sum, 4);
    }
}

#endif
