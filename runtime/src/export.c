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
    const mb_status status = mb_check(m, m->image_size, 0); /* fresh checksums would hide bits that changed by accident */
    MB_REFUSE(status, status != MB_OK);
    const uint32_t state_at = mb_u32_at(m->image + MB_AT_STATE), state_size = mb_u32_at(m->image + MB_AT_STATE_SIZE);
    const uint32_t state_sum = mb_section_sum(m->image, m->state, state_size), header_sum = mb_header_sum(m->image, state_sum);
    memcpy(out, m->image, state_at);
    memcpy(out + state_at, m->state, state_size);
    memcpy(out + MB_AT_STATE_SUM, &state_sum, sizeof state_sum);
    memcpy(out + MB_AT_HEADER_SUM, &header_sum, sizeof header_sum);
    return MB_OK;
}
#endif
