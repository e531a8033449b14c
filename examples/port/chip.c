/* chip.c: start-up and serial port of a Cortex-M, here of QEMU's mps2-an386. On another chip UART and its registers change. */
#include <stddef.h>
#include <stdint.h>

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define UART 0x40004000u /* of Arm's CMSDK: +0 data, +4 state (1: transmitter full, 2: byte received), +8 control, +16 divisor */

extern uint32_t stack_top, data_start, data_end, data_load, bss_start, bss_end; /* chip.ld */

int main(void);
uint8_t serial_get(void);
void serial_put(uint8_t byte);
void reset(void);
void fault(void);
void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memset(void *to, int value, size_t n);

__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    (void (*)(void))(uintptr_t)&stack_top, reset, fault, fault, fault, fault, fault, 0, 0, 0, 0, fault, fault, 0, fault, fault,
};

void reset(void)
{
#ifdef __ARM_FP
    REGISTER(0xE000ED88u) |= 0xFu << 20; /* CPACR: the FPU is on, before the first instruction that needs it */
    __asm volatile("dsb\n\tisb" ::: "memory");
#endif
    for (uint32_t *to = &data_start, *from = &data_load; to < &data_end;) {
        *to++ = *from++;
    }
    for (uint32_t *to = &bss_start; to < &bss_end;) {
        *to++ = 0;
    }
    REGISTER(UART + 16u) = 25000000u / 115200u; /* your chip may need clocks and pins first */
    REGISTER(UART + 8u) = 3;                    /* transmitter and receiver on */
    (void)main();
    fault();
}

void fault(void)
{
    for (;;) {
    }
}

uint8_t serial_get(void)
{
    while ((REGISTER(UART + 4u) & 2u) == 0) {
    }
    return (uint8_t)REGISTER(UART);
}

void serial_put(uint8_t byte)
{
    while ((REGISTER(UART + 4u) & 1u) != 0) {
    }
    REGISTER(UART) = byte;
}

/* Leave these two out if your program has a C library. The empty assembler keeps the compiler from calling them for their own loops. */
void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ((uint8_t *)to)[i] = ((const uint8_t *)from)[i];
        __asm volatile("" ::: "memory");
    }
    return to;
}

void *memset(void *to, int value, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ((uint8_t *)to)[i] = (uint8_t)value;
        __asm volatile("" ::: "memory");
    }
    return to;
}
