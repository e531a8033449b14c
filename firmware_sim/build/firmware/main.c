/* A complete device that learns: opens the image in flash, gives the library its two memories, and serves the port for ever. */
#include "port.h"

/* image.S */
extern const uint8_t image[], image_end[];

/* Sizes in bytes by mb_state_size() and mb_arena_size(), and the number of classes. The build passes them. */
#if !defined(STATE_BYTES) || !defined(ARENA_BYTES) || !defined(CLASSES)
#error "pass -DSTATE_BYTES=, -DARENA_BYTES= and -DCLASSES="
#endif

#if STATE_BYTES > 0
static uint8_t state_memory[STATE_BYTES] __attribute__((aligned(16)));
#else
#define state_memory NULL /* the library predicts from the image in flash */
#endif
static uint8_t arena_memory[ARENA_BYTES] __attribute__((aligned(16)));
static int32_t scores[CLASSES];
static mb_model model;

int main(void);

static mb_status boot(void) {
    mb_status status = mb_open(&model, image, (size_t)(image_end - image));
    if (status != MB_OK) {
        return status;
    }
    if (mb_classes(&model) != CLASSES) {
        return MB_E_SHAPE; /* this program was built for another image */
    }
    return mb_attach(&model, state_memory, STATE_BYTES, arena_memory, sizeof arena_memory);
}

static void predict(void) {
    mb_learn_info info = {0};
    port_begin();
    const mb_status status = mb_predict(&model, port_sample(), scores, &info.predicted);
    port_end();
    port_reply(status, scores, CLASSES, &info);
}

static void learn(void) {
    mb_learn_info info = {0};
    const uint16_t label = port_label();
    port_begin();
#ifdef MB_WITHOUT_LEARN
    const mb_status status = MB_E_FROZEN;
    (void)label;
#else
    const mb_status status = mb_learn(&model, port_sample(), label, &info);
#endif
    port_end();
    port_reply(status, scores, 0, &info);
}

int main(void) {
    const mb_status status = boot();
    if (status != MB_OK) {
        return status;
    }
    port_ready(mb_input_size(&model), CLASSES);
    for (;;) {
        switch (port_wait()) {
        case PORT_PREDICT:
            predict();
            break;
        case PORT_LEARN:
            learn();
            break;
        default:
            return MB_OK;
        }
    }
}
