/* The learned image: the opened one with the state of now. */
#include <string.h>

#include "image.h"

#if MB_HAS_LEARN
mb_status mb_export(const mb_model *m, void *image, size_t image_len)
{
    uint8_t *out = image;
    MB_REFUSE(MB_E_NULL, m == NULL || image == NULL);
    MB_REFUSE(MB_E_SAME, (const void *)m->image == image);
    MB_REFUSE(MB_E_DETACHED, m->state == NULL);
    MB_REFUSE(MB_E_TRUNCATED, image_len < m->image_size);
    const mb_status status = mb_check(m, m->image_size); /* a fresh checksum would hide bits that changed by accident */
    MB_REFUSE(status, status != MB_OK);
    const uint32_t state_at = mb_u32_at(m->image + MB_AT_STATE), state_size = mb_u32_at(m->image + MB_AT_STATE_SIZE);
    memcpy(out, m->image, state_at);
    memcpy(out + state_at, m->state, state_size);
    uint32_t crc = mb_crc32(out + state_at, state_size, state_size);
    memcpy(out + MB_AT_STATE_CRC, &crc, sizeof crc);
    crc = mb_crc32(out, mb_u32_at(m->image + MB_AT_CONST), MB_AT_HEADER_CRC);
    memcpy(out + MB_AT_HEADER_CRC, &crc, sizeof crc);
    return MB_OK;
}
#endif
