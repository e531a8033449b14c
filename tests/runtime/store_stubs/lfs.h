/* The part of littlefs 2.9's lfs.h that examples/store/littlefs.c uses. */
#include <stdint.h>

typedef uint32_t lfs_size_t;
typedef int32_t lfs_ssize_t, lfs_soff_t;
typedef struct lfs lfs_t;
typedef struct lfs_file lfs_file_t;
enum lfs_whence_flags { LFS_SEEK_SET = 0, LFS_SEEK_CUR = 1, LFS_SEEK_END = 2 };
lfs_soff_t lfs_file_seek(lfs_t *lfs, lfs_file_t *file, lfs_soff_t off, int whence);
lfs_soff_t lfs_file_size(lfs_t *lfs, lfs_file_t *file);
lfs_ssize_t lfs_file_read(lfs_t *lfs, lfs_file_t *file, void *buffer, lfs_size_t size);
lfs_ssize_t lfs_file_write(lfs_t *lfs, lfs_file_t *file, const void *buffer, lfs_size_t size);
int lfs_file_sync(lfs_t *lfs, lfs_file_t *file);
