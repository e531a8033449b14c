/* raw_flash.c: the store in the chip's own flash. Write the two functions below with your vendor's library, for example
 * HAL_FLASH_Program and HAL_FLASHEx_Erase (STM32), nrfx_nvmc_words_write and nrfx_nvmc_page_erase (nRF), flash_range_program and
 * flash_range_erase (RP2040). They return 0, or anything else if the chip reports an error. Reserve the pages in the linker script.
 *
 * A program of one unit and an erase must not be cut short by your own code: feed the watchdog in between, not inside. Where a read of
 * a unit that power left half programmed raises a fault (ECC), let `flash_read` return an error in its place. */
#include <string.h>

#include "drivers.h"

int flash_program_unit(const uint8_t *at, const void *from, uint32_t count); /* count: program_size bytes; from: 4-byte aligned */
int flash_erase_page(const uint8_t *at);

typedef struct raw_flash {
    const uint8_t *begin;
    uint32_t program_size;
} raw_flash;

static raw_flash flash;

static int flash_read(void *context, uint32_t at, void *to, uint32_t count)
{
    memcpy(to, ((raw_flash *)context)->begin + at, count);
    return 0;
}

static int flash_program(void *context, uint32_t at, const void *from, uint32_t count)
{
    const raw_flash *const f = context;
    for (uint32_t done = 0; done < count; done += f->program_size) {
        uint32_t unit[8]; /* the state is 4-byte aligned, some chips want 8 */
        memcpy(unit, (const uint8_t *)from + done, f->program_size);
        if (flash_program_unit(f->begin + at + done, unit, f->program_size) != 0) {
            return -1;
        }
    }
    return 0;
}

static int flash_erase(void *context, uint32_t at)
{
    return flash_erase_page(((raw_flash *)context)->begin + at);
}

mb_store raw_flash_store(const uint8_t *begin, uint32_t page_size, uint32_t pages, uint32_t program_size)
{
    const mb_store store = {&flash, flash_read, flash_program, flash_erase, page_size, pages, program_size};
    flash.begin = begin;
    flash.program_size = program_size;
    return store;
}
