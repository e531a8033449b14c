/* file.c: the store in a file of a computer, for tests and for gateways. */
#include <stdio.h>
#include <string.h>

#include "drivers.h"

static int file_read(void *context, uint32_t at, void *to, uint32_t count)
{
    return fseek(context, (long)at, SEEK_SET) != 0 || fread(to, 1, count, context) != count;
}

static int file_program(void *context, uint32_t at, const void *from, uint32_t count)
{
    return fseek(context, (long)at, SEEK_SET) != 0 || fwrite(from, 1, count, context) != count || fflush(context) != 0;
}

static int file_erase_bytes(FILE *file, uint32_t at, uint32_t count)
{
    uint8_t ones[64];
    memset(ones, 0xFF, sizeof ones);
    for (uint32_t part; count != 0; at += part, count -= part) {
        part = count < sizeof ones ? count : (uint32_t)sizeof ones;
        if (file_program(file, at, ones, part) != 0) {
            return -1;
        }
    }
    return 0;
}

static uint32_t erase_size;

static int file_erase(void *context, uint32_t at)
{
    return file_erase_bytes(context, at, erase_size);
}

mb_store file_store(const char *path, uint32_t page_size, uint32_t pages)
{
    FILE *file = fopen(path, "r+b");
    if (file == NULL) {
        file = fopen(path, "w+b");
    }
    if (file != NULL && (fseek(file, 0, SEEK_END) != 0 || ftell(file) < (long)(page_size * pages))) { /* new, or not finished */
        const long end = ftell(file);
        if (end < 0 || file_erase_bytes(file, (uint32_t)end, page_size * pages - (uint32_t)end) != 0) {
            (void)fclose(file);
            file = NULL;
        }
    }
    const mb_store store = {file, file_read, file_program, file_erase, page_size, pages, 1};
    erase_size = page_size;
    return store;
}
