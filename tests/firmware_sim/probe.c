/* A firmware that does on command what a firmware should not: the first byte of the sample chooses. */
#include "port.h"

#define UNMAPPED 0x60000000u

void counted_loop(uint32_t rounds);
void counted_memory(void);
void counted_call(void);
void divide(void);
void write_flash(void);
void read_unmapped(void);
void run_ram(void);
void run_constant(void);
void read_unaligned(void);
void spin(void);
uint32_t overflow(uint32_t depth);
int main(void);

#define KEEP __attribute__((noinline))

KEEP void write_flash(void) { *(volatile uint32_t *)((uintptr_t)&main & ~3u) = 0; }
KEEP void read_unmapped(void) { (void)*(volatile uint32_t *)UNMAPPED; }
KEEP void read_unaligned(void) { (void)*(volatile uint32_t *)(0x20000000u + 1u); }

KEEP void run_ram(void) {
    static uint16_t code[2] = {0x4770, 0x4770}; /* bx lr */
    ((void (*)(void))((uintptr_t)code | 1u))();
}

KEEP void run_constant(void) {
    static const uint16_t code[2] = {0x4770, 0x4770};
    ((void (*)(void))((uintptr_t)code | 1u))();
}

KEEP void spin(void) {
    for (volatile int forever = 1; forever;) {
    }
}

KEEP uint32_t overflow(uint32_t depth) {
    volatile uint32_t frame[16];
    frame[depth & 15] = depth;
    return overflow(depth + 1) + frame[depth & 15];
}

int main(void) {
    port_ready(2, 1);
    for (;;) {
        const mb_learn_info none = {0};
        const int32_t score = 7;
        if (port_wait() == PORT_STOP) {
            return 0;
        }
        const uint8_t *sample = port_sample();
        switch (sample[0]) {
        case 0: counted_loop(sample[1]); break;
        case 1: counted_memory(); break;
        case 2: counted_call(); break;
        case 3: divide(); break;
        case 4: write_flash(); break;
        case 5: read_unmapped(); break;
        case 6: run_ram(); break;
        case 7: spin(); break;
        case 8: overflow(0); break;
        case 9: read_unaligned(); break;
        case 10: port_exit(-7); break;
        case 11: run_constant(); break;
        default: port_reply(MB_E_LABEL, &score, 1, &none); continue;
        }
        port_reply(MB_OK, &score, 1, &none);
    }
}
