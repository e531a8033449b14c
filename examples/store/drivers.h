/* Drivers of the store (metabit_store.h). Each file makes a mb_store from what a platform has; take the one that fits, and change it. */
#ifndef DRIVERS_H
#define DRIVERS_H

#include "metabit_store.h"

#ifdef __cplusplus
extern "C" {
#endif

/* raw_flash.c: pages of the chip's own flash, which the core reads as memory. begin: the first byte, at the begin of a page. */
mb_store raw_flash_store(const uint8_t *begin, uint32_t page_size, uint32_t pages, uint32_t program_size);

/* file.c: a file on a computer. It is made if it does not exist; with NULL in `context` it could not be opened. One store at a time. */
mb_store file_store(const char *path, uint32_t page_size, uint32_t pages);

mb_store littlefs_store(void *lfs, void *file, uint32_t page_size, uint32_t pages); /* littlefs.c: lfs_t *, an open lfs_file_t * */
mb_store esp_nvs_store(uint32_t nvs_handle, uint32_t pages);                        /* esp_nvs.c: pages of 1,024 bytes */
mb_store zephyr_nvs_store(void *nvs_fs, uint32_t pages);                            /* zephyr_nvs.c: pages of 1,024 bytes */
mb_store arduino_eeprom_store(uint32_t page_size, uint32_t pages);                  /* arduino_eeprom.cpp: EEPROM from address 0 */

#ifdef __cplusplus
}
#endif
#endif
