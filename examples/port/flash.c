/* flash.c: the driver of keep.c for QEMU's mps2-an386: memory that a file keeps. On another chip it calls the vendor's functions. */
#include <stdint.h>
#include <string.h>

extern uint8_t store_begin[]; /* chip.ld */

int flash_read(void *context, uint32_t at, void *to, uint32_t count);
int flash_program(void *context, uint32_t at, const void *from, uint32_t count);
int flash_erase(void *context, uint32_t at);

int flash_read(void *context, uint32_t at, void *to, uint32_t count)
{
    (void)context;
    memcpy(to, store_begin + at, count);
    return 0;
}

int flash_program(void *context, uint32_t at, const void *from, uint32_t count)
{
    (void)context;
    for (uint32_t i = 0; i < count; i++) {
        store_begin[at + i] &= ((const uint8_t *)from)[i]; /* as in flash: a program clears bits, an erase sets them */
    }
    return 0;
}

int flash_erase(void *context, uint32_t at)
{
    (void)context;
    memset(store_begin + at, 0xFF, 4096); /* a page of keep.c */
    return 0;
}
