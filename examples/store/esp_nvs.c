/* esp_nvs.c: the store in ESP-IDF's NVS, one blob of 32 bytes for each program; a key that is not there is a unit that is blank.
 * Each blob takes 96 bytes of NVS: for states of more than some kilobytes give the store a partition of its own, with
 * esp_partition_read, esp_partition_write and esp_partition_erase_range (pages of 4,096 bytes, program_size 1). */
#include <string.h>

#include "drivers.h"
#include "nvs.h"

enum { UNIT = 32, PAGE = 1024 };

static nvs_handle_t handle;

static void key_of(uint32_t at, char key[10]) /* "m" and the number of the unit in hexadecimal */
{
    uint32_t unit = at / UNIT;
    key[0] = 'm';
    for (unsigned i = 8; i >= 1; i--, unit >>= 4) {
        key[i] = "0123456789abcdef"[unit & 15u];
    }
    key[9] = '\0';
}

static int esp_read(void *context, uint32_t at, void *to, uint32_t count)
{
    uint8_t *p = to;
    char key[10];
    for (uint32_t part; count != 0; at += part, p += part, count -= part) {
        uint8_t unit[UNIT];
        size_t size = sizeof unit;
        key_of(at, key);
        const esp_err_t found = nvs_get_blob(*(nvs_handle_t *)context, key, unit, &size);
        if (found == ESP_ERR_NVS_NOT_FOUND) {
            memset(unit, 0xFF, sizeof unit);
        } else if (found != ESP_OK || size != sizeof unit) {
            return -1;
        }
        part = UNIT - at % UNIT < count ? UNIT - at % UNIT : count;
        memcpy(p, unit + at % UNIT, part);
    }
    return 0;
}

static int esp_program(void *context, uint32_t at, const void *from, uint32_t count)
{
    const nvs_handle_t nvs = *(nvs_handle_t *)context;
    char key[10];
    for (uint32_t done = 0; done < count; done += UNIT) {
        key_of(at + done, key);
        if (nvs_set_blob(nvs, key, (const uint8_t *)from + done, UNIT) != ESP_OK) {
            return -1;
        }
    }
    return nvs_commit(nvs) != ESP_OK;
}

static int esp_erase(void *context, uint32_t at)
{
    const nvs_handle_t nvs = *(nvs_handle_t *)context;
    char key[10];
    for (uint32_t done = 0; done < PAGE; done += UNIT) {
        key_of(at + done, key);
        const esp_err_t gone = nvs_erase_key(nvs, key);
        if (gone != ESP_OK && gone != ESP_ERR_NVS_NOT_FOUND) {
            return -1;
        }
    }
    return nvs_commit(nvs) != ESP_OK;
}

mb_store esp_nvs_store(uint32_t nvs_handle, uint32_t pages)
{
    const mb_store store = {&handle, esp_read, esp_program, esp_erase, PAGE, pages, UNIT};
    handle = nvs_handle;
    return store;
}
