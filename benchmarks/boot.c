/* A firmware that opens the image again on command, as after a reset: the first byte of the sample chooses how. */
#include "port.h"

#if !defined(STATE_BYTES) || !defined(ARENA_BYTES)
#error "pass -DSTATE_BYTES= and -DARENA_BYTES="
#endif

extern const uint8_t image[], image_end[];

static uint32_t state_memory[STATE_BYTES / 4], arena_memory[ARENA_BYTES / 4];
static mb_model model;

int main(void);

int main(void)
{
    const size_t image_len = (size_t)(image_end - image);
    mb_status status = mb_open(&model, image, image_len);
    const uint32_t seal = mb_seal(&model);
    if (status == MB_OK) {
        status = mb_attach(&model, state_memory, sizeof state_memory, arena_memory, sizeof arena_memory);
    }
    if (status != MB_OK) {
        return status;
    }
    port_ready(mb_input_size(&model), 1);
    while (port_wait() == PORT_PREDICT) {
        const mb_learn_info none = {0};
        const int32_t score = 0;
        const uint8_t way = *(const uint8_t *)port_sample();
        port_begin();
        if (way == 0) {
            status = mb_open(&model, image, image_len);
        } else if (way == 1) {
            status = mb_attach(&model, state_memory, sizeof state_memory, arena_memory, sizeof arena_memory);
        } else {
            status = mb_reopen(&model, image, image_len, seal);
            if (status == MB_OK) {
                status = mb_reattach(&model, state_memory, sizeof state_memory, arena_memory, sizeof arena_memory);
            }
        }
        port_end();
        port_reply(status, &score, 1, &none);
    }
    return MB_OK;
}
