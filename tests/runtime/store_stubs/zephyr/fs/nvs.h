/* The part of Zephyr 3's <zephyr/fs/nvs.h> that examples/store/zephyr_nvs.c uses. */
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct nvs_fs;
ssize_t nvs_read(struct nvs_fs *fs, uint16_t id, void *data, size_t len);
ssize_t nvs_write(struct nvs_fs *fs, uint16_t id, const void *data, size_t len);
int nvs_delete(struct nvs_fs *fs, uint16_t id);
