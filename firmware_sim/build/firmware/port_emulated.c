/* The port of the emulated board: loads and stores of registers that run/hook.c implements. */
#include "port.h"
#include "port_registers.h"

static inline volatile uint32_t *reg(enum port_register offset) { return (volatile uint32_t *)(PORT_BASE + offset); }

void port_ready(uint32_t input_size, uint32_t classes) {
    *reg(REG_INPUT_SIZE) = input_size;
    *reg(REG_CLASSES) = classes;
}

port_command port_wait(void) {
    for (;;) {
        const uint32_t command = *reg(REG_COMMAND);
        if (command != PORT_IDLE) {
            return (port_command)command;
        }
    }
}

const void *port_sample(void) { return (const void *)SAMPLE_BASE; }

uint16_t port_label(void) { return (uint16_t)*reg(REG_LABEL); }

void port_begin(void) { *reg(REG_BEGIN) = 1; }

void port_end(void) { *reg(REG_END) = 1; }

void port_reply(mb_status status, const int32_t *scores, uint32_t classes, const mb_learn_info *info) {
    *reg(REG_STATUS) = (uint32_t)status;
    *reg(REG_PREDICTED) = info->predicted;
    *reg(REG_SKIPPED) = info->skipped;
    *reg(REG_VISITED) = info->visited;
    *reg(REG_MOVED) = info->moved;
    *reg(REG_FLIPPED) = info->flipped;
    for (uint32_t c = 0; c < classes; c++) {
        *reg(REG_SCORE) = (uint32_t)scores[c];
    }
    *reg(REG_DONE) = 1;
}

void port_exit(int32_t code) {
    *reg(REG_EXIT) = (uint32_t)code;
    for (;;) {
    }
}

#ifdef MB_PROFILE
void mb_profile(mb_phase phase, unsigned layer) {
    *reg(REG_PROFILE) = phase == MB_DONE ? PROFILE_NOTHING : (uint32_t)phase << 16 | layer;
}
#endif
