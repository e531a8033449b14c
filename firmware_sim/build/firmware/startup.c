/* Startup code of any Cortex-M: vector table, FPU, .data, .bss, then main. link.ld defines the symbols. */
#include <stdint.h>

#include "port.h"

extern uint32_t stack_top, data_start, data_end, data_load, bss_start, bss_end;

int main(void);
void Reset_Handler(void);
void HardFault_Handler(void);

#define CPACR (*(volatile uint32_t *)0xE000ED88u) /* coprocessor access control */

__attribute__((noreturn, used)) void Reset_Handler(void) {
#if defined(__ARM_FP)
    /* Must be first: the compiler may use FPU registers in any later statement, also to copy .data. */
    CPACR |= 0xFu << 20;
    __asm volatile("dsb\n\tisb" ::: "memory");
#endif
    const uint32_t *from = &data_load;
    for (uint32_t *to = &data_start; to < &data_end;) {
        *to++ = *from++;
    }
    for (uint32_t *to = &bss_start; to < &bss_end;) {
        *to++ = 0;
    }
    port_exit(main());
    for (;;) {
    }
}

/* Handler of every exception. This firmware uses no interrupts, so each exception is a fault. */
__attribute__((noreturn, used)) void HardFault_Handler(void) {
    port_exit(PORT_EXCEPTION);
    for (;;) {
    }
}

/* ARMv6-M and ARMv7-M: the initial stack pointer, then the fifteen system exceptions. 0 = reserved. */
__attribute__((section(".vectors"), used)) void (*const vectors[16])(void) = {
    (void (*)(void))(uintptr_t)&stack_top,
    Reset_Handler,
    HardFault_Handler, /* NMI */
    HardFault_Handler,
    HardFault_Handler, /* MemManage */
    HardFault_Handler, /* BusFault */
    HardFault_Handler, /* UsageFault */
    0, 0, 0, 0,
    HardFault_Handler, /* SVCall */
    HardFault_Handler, /* DebugMonitor */
    0,
    HardFault_Handler, /* PendSV */
    HardFault_Handler, /* SysTick */
};
