/* Runs update.c and signed.c of docs/porting.md on a store in RAM.
 *
 *   update OLD.mbit NEW.mbit KEEP    the old image learns 50 samples and saves, then the new one starts, with the old image to read if KEEP is 1;
 *                                    its state goes to the output */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "metabit_store.h"

typedef struct memory {
    void *p;
    size_t len;
} memory;

typedef int verifier(const uint8_t signature[64], const void *bytes, size_t count);
mb_status start(mb_model *m, memory image, memory before, memory state, memory old_state, memory arena, const mb_store *store);
mb_status open_signed(mb_model *m, const uint8_t *update, size_t len, verifier *verify, uint32_t *lowest_version);

#define CHECK(condition) ((condition) ? (void)0 : (fprintf(stderr, "update: line %d: %s\n", __LINE__, #condition), exit(1)))

static uint8_t flash[1 << 18];

static int read_flash(void *context, uint32_t at, void *to, uint32_t count)
{
    (void)context;
    memcpy(to, flash + at, count);
    return 0;
}

static int program(void *context, uint32_t at, const void *from, uint32_t count)
{
    (void)context;
    memcpy(flash + at, from, count);
    return 0;
}

static int erase(void *context, uint32_t at)
{
    (void)context;
    memset(flash + at, 0xFF, 4096);
    return 0;
}

static memory of_size(size_t len)
{
    memory m = {calloc(1, len + 1), len};
    CHECK(m.p != NULL);
    return m;
}

static memory of_file(const char *path)
{
    memory m = of_size(1 << 20);
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL);
    m.len = fread(m.p, 1, m.len, file);
    fclose(file);
    return m;
}

static int sum_is_right(const uint8_t signature[64], const void *bytes, size_t count) /* stands for a signature */
{
    uint8_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum = (uint8_t)(sum * 31u + ((const uint8_t *)bytes)[i]);
    }
    return signature[0] == sum ? 0 : -1;
}

static void signing(memory image)
{
    memory update = of_size(image.len + 68);
    uint8_t *const p = update.p, *const version = p + image.len, *const signature = version + 4;
    mb_model m;
    uint32_t lowest = 7;
    memcpy(p, image.p, image.len);
    for (unsigned now = 6; now < 10; now++) {
        version[0] = (uint8_t)now;
        for (unsigned byte = 0; byte < 256u && sum_is_right(signature, p, image.len + 4) != 0; byte++) {
            signature[0] = (uint8_t)byte;
        }
        CHECK(open_signed(&m, p, update.len, sum_is_right, &lowest) == (now < 7 ? MB_E_VERSION : MB_OK) && lowest == (now < 7 ? 7 : now));
    }
    version[0] = 8;
    CHECK(open_signed(&m, p, update.len, sum_is_right, &lowest) == MB_E_HEADER_CRC); /* not signed */
    CHECK(open_signed(&m, p, update.len - 1, sum_is_right, &lowest) == MB_E_TRUNCATED);
    CHECK(open_signed(&m, p, 20, sum_is_right, &lowest) == MB_E_TRUNCATED && lowest == 9);
}

int main(int argc, char **argv)
{
    const mb_store store = {NULL, read_flash, program, erase, 4096, sizeof flash / 4096, 4};
    const memory nothing = {NULL, 0};
    mb_model old, m;
    CHECK(argc == 4);
    const memory before = of_file(argv[1]), image = of_file(argv[2]);
    signing(image);
    memset(flash, 0xFF, sizeof flash);
    CHECK(mb_open(&old, before.p, before.len) == MB_OK && mb_open(&m, image.p, image.len) == MB_OK);
    const memory old_state = of_size(mb_state_size(&old)), state = of_size(mb_state_size(&m)), x = of_size(mb_input_size(&old));
    const size_t one = mb_arena_size(&old, MB_LEARN), two = mb_arena_size(&m, MB_LEARN);
    const memory arena = of_size(one > two ? one : two);
    CHECK(start(&old, before, nothing, old_state, nothing, arena, &store) == MB_OK);
    for (unsigned step = 0; step < 50; step++) {
        for (size_t i = 0; i < x.len; i++) {
            ((uint8_t *)x.p)[i] = (uint8_t)(step * 37u + i * 11u);
        }
        CHECK(mb_learn(&old, x.p, (uint16_t)(step % 3u), NULL) == MB_OK);
    }
    CHECK(mb_save(&old, &store) == MB_OK);
    CHECK(start(&m, image, argv[3][0] == '1' ? before : nothing, state, old_state, arena, &store) == MB_OK);
    fwrite(m.state, 1, state.len, stdout);
    memset(state.p, 0, state.len); /* once more, as after a reset */
    CHECK(start(&m, image, argv[3][0] == '1' ? before : nothing, state, old_state, arena, &store) == MB_OK);
    fwrite(m.state, 1, state.len, stdout);
    return 0;
}
