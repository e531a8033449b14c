/* Runs two drivers of examples/store.
 *
 *   drivers NAME.mbit raw            four runs on emulated flash, which stays in memory between them
 *   drivers NAME.mbit FILE [first]   one run on a file: with `first` there must be no saved state, else there must be one
 *
 * A run restores, learns 30 samples, saves now and then, and prints the steps in its state beyond those of the image. */
#include <stdio.h>
#include <stdlib.h>

#include "../../examples/store/drivers.h"
#include "images.h"
#include "nor.h"

int flash_program_unit(const uint8_t *at, const void *from, uint32_t count);
int flash_erase_page(const uint8_t *at);

static nor chip;

int flash_program_unit(const uint8_t *at, const void *from, uint32_t count)
{
    return nor_program(&chip, (uint32_t)(at - chip.bytes), from, count);
}

int flash_erase_page(const uint8_t *at)
{
    return nor_erase(&chip, (uint32_t)(at - chip.bytes));
}

static void run(const uint8_t *image, size_t image_len, const mb_store *store, int first)
{
    mb_model m;
    if (mb_open(&m, image, image_len) != MB_OK) {
        exit(1);
    }
    const size_t state_len = mb_state_size(&m), arena_len = mb_arena_size(&m, MB_LEARN);
    uint32_t *const state = calloc(state_len, 1), *const arena = calloc(arena_len, 1);
    uint8_t *const input = calloc(mb_input_size(&m), 1);
    if (mb_attach(&m, state, state_len, arena, arena_len) != MB_OK) {
        exit(2);
    }
    const uint32_t made = state[1];
    const mb_status status = mb_restore(&m, store);
    if (status != (first ? MB_E_NO_SNAPSHOT : MB_OK) || first != (state[1] == made)) {
        fprintf(stderr, "drivers: %s\n", mb_strerror(status));
        exit(3);
    }
    for (uint16_t step = 0; step < 30; step++) {
        memset(input, step * 37, mb_input_size(&m));
        if (mb_learn(&m, input, (uint16_t)(step % mb_classes(&m)), NULL) != MB_OK || (step % 3 == 0 && mb_save(&m, store) != MB_OK)) {
            exit(4);
        }
    }
    if (mb_save(&m, store) != MB_OK) {
        exit(5);
    }
    printf("%u steps\n", (unsigned)(state[1] - made));
    free(state);
    free(arena);
    free(input);
}

int main(int argc, char **argv)
{
    size_t image_len;
    if (argc < 3) {
        return 2;
    }
    uint8_t *const image = read_file(argv[1], &image_len);
    if (strcmp(argv[2], "raw") == 0) {
        static uint8_t bytes[24 * 512], used[24 * 512 / 8];
        chip.page_size = 512;
        chip.pages = 24;
        chip.unit = 8;
        chip.seed = 1;
        chip.bytes = bytes;
        chip.used = used;
        memset(used, 4, sizeof used);
        const mb_store store = raw_flash_store(chip.bytes, 512, 24, 8);
        for (int i = 0; i < 4; i++) {
            run(image, image_len, &store, i == 0);
        }
        free(image);
        return chip.refused != 0;
    }
    const mb_store store = file_store(argv[2], 512, 24);
    if (store.context == NULL) {
        return 6;
    }
    run(image, image_len, &store, argc > 3);
    free(image);
    return 0;
}
