/* zephyr_nvs.c: the store in Zephyr's NVS, one entry of 32 bytes for each program, with the identifiers from 0x4000 on; an entry that
 * is not there is a unit that is blank. Mount the file system first (nvs_mount). Flash of its own is faster: flash_area_read,
 * flash_area_write and flash_area_erase with flash_area_align as program_size. */
#include <string.h>

#include <zephyr/fs/nvs.h>

#include "drivers.h"

enum { UNIT = 32, PAGE = 1024, FIRST = 0x4000, MISSING = -2 }; /* MISSING: -ENOENT */

static uint16_t id_of(uint32_t at)
{
    return (uint16_t)(FIRST + at / UNIT);
}

static int zephyr_read(void *context, uint32_t at, void *to, uint32_t count)
{
    uint8_t *p = to;
    for (uint32_t part; count != 0; at += part, p += part, count -= part) {
        uint8_t unit[UNIT];
        const ssize_t found = nvs_read(context, id_of(at), unit, sizeof unit);
        if (found == MISSING) {
            memset(unit, 0xFF, sizeof unit);
        } else if (found != UNIT) {
            return -1;
        }
        part = UNIT - at % UNIT < count ? UNIT - at % UNIT : count;
        memcpy(p, unit + at % UNIT, part);
    }
    return 0;
}

static int zephyr_program(void *context, uint32_t at, const void *from, uint32_t count)
{
    for (uint32_t done = 0; done < count; done += UNIT) {
        const ssize_t written = nvs_write(context, id_of(at + done), (const uint8_t *)from + done, UNIT);
        if (written != UNIT && written != 0) { /* 0: the entry holds these bytes already */
            return -1;
        }
    }
    return 0;
}

static int zephyr_erase(void *context, uint32_t at)
{
    for (uint32_t done = 0; done < PAGE; done += UNIT) {
        if (nvs_delete(context, id_of(at + done)) != 0) { /* 0 too if there was none */
            return -1;
        }
    }
    return 0;
}

mb_store zephyr_nvs_store(void *nvs_fs, uint32_t pages)
{
    const mb_store store = {nvs_fs, zephyr_read, zephyr_program, zephyr_erase, PAGE, pages, UNIT};
    return store;
}
