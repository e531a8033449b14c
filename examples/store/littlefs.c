/* littlefs.c: the store in one file of littlefs. Every lfs_file_sync is whole or not at all, so the store's pages are only numbers:
 * take page_size 256 to 4096. Open the file with LFS_O_RDWR | LFS_O_CREAT. */
#include <string.h>

#include "drivers.h"
#include "lfs.h"

typedef struct place {
    lfs_t *lfs;
    lfs_file_t *file;
    uint32_t page_size;
} place;

static place opened;

static int seek(const place *p, uint32_t at)
{
    return lfs_file_seek(p->lfs, p->file, (lfs_soff_t)at, LFS_SEEK_SET) != (lfs_soff_t)at;
}

static int littlefs_read(void *context, uint32_t at, void *to, uint32_t count)
{
    const place *const p = context;
    const lfs_soff_t size = lfs_file_size(p->lfs, p->file);
    const uint32_t there = size > (lfs_soff_t)at ? (uint32_t)size - at : 0, part = there < count ? there : count;
    memset((uint8_t *)to + part, 0xFF, count - part); /* behind the end of the file nothing was written yet */
    return part != 0 && (seek(p, at) || lfs_file_read(p->lfs, p->file, to, part) != (lfs_ssize_t)part);
}

static int littlefs_program(void *context, uint32_t at, const void *from, uint32_t count)
{
    const place *const p = context;
    return seek(p, at) || lfs_file_write(p->lfs, p->file, from, count) != (lfs_ssize_t)count ||
           lfs_file_sync(p->lfs, p->file) != 0;
}

static int littlefs_erase(void *context, uint32_t at)
{
    const place *const p = context;
    uint8_t ones[32];
    memset(ones, 0xFF, sizeof ones);
    if (seek(p, at)) {
        return -1;
    }
    for (uint32_t left = p->page_size, part; left != 0; left -= part) {
        part = left < sizeof ones ? left : (uint32_t)sizeof ones;
        if (lfs_file_write(p->lfs, p->file, ones, part) != (lfs_ssize_t)part) {
            return -1;
        }
    }
    return lfs_file_sync(p->lfs, p->file);
}

mb_store littlefs_store(void *lfs, void *file, uint32_t page_size, uint32_t pages)
{
    const mb_store store = {&opened, littlefs_read, littlefs_program, littlefs_erase, page_size, pages, 1};
    opened.lfs = lfs;
    opened.file = file;
    opened.page_size = page_size;
    return store;
}
