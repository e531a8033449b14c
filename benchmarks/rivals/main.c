/* The device of a rival: as firmware_sim/build/firmware/main.c, without an image to open. */
#include "port.h"
#include "rival.h"

static int32_t scores[CLASSES];

int main(void);

int main(void) {
    port_ready(FEATURES * FEATURE_BYTES, CLASSES);
    for (;;) {
        mb_learn_info info = {0};
        const port_command command = port_wait();
        if (command == PORT_PREDICT) {
            port_begin();
            rival_predict(port_sample(), scores);
            port_end();
            for (uint16_t c = 1; c < CLASSES; c++) {
                info.predicted = scores[c] > scores[info.predicted] ? c : info.predicted;
            }
            port_reply(MB_OK, scores, CLASSES, &info);
        } else if (command == PORT_LEARN) {
#ifdef LEARNS
            const uint16_t label = port_label();
            port_begin();
            rival_learn(port_sample(), label);
            port_end();
            port_reply(MB_OK, scores, 0, &info);
#else
            port_reply(MB_E_FROZEN, scores, 0, &info);
#endif
        } else {
            return MB_OK;
        }
    }
}
