/* UART 16550, registers one byte apart, as QEMU's RISC-V machine has it. */
#include "serial_port.h"

#define PLIC 0x0C000000u
#define PLIC_CLAIM (PLIC + 0x200004u)

#define PORT(offset) (*(volatile uint8_t *)(uintptr_t)(UART_BASE + (offset)))
#define DIVISOR (UART_CLOCK / (16u * UART_BAUD))

void uart_start(void)
{
    PORT(3) = 0x83; /* 8 bits; the next two writes set the divisor */
    PORT(0) = (uint8_t)DIVISOR;
    PORT(1) = (uint8_t)(DIVISOR >> 8);
    PORT(3) = 0x03;
    PORT(2) = 0x07; /* queues on and empty */
    PORT(1) = 0x01; /* interrupt of the receiver */
    REGISTER(PLIC + 4u * UART_IRQ) = 1; /* priority */
    REGISTER(PLIC + 0x2000u) = 1u << UART_IRQ;
    REGISTER(PLIC + 0x200000u) = 0;               /* threshold */
    __asm volatile("csrs mie, %0" ::"r"(1u << 11)); /* external interrupts; mstatus.MIE stays off, so none is taken */
}

uint8_t uart_get(void)
{
    while ((PORT(5) & 0x01u) == 0) { /* sleeps until the interrupt is pending: one that came before ends the sleep at once */
        __asm volatile("wfi" ::: "memory");
        REGISTER(PLIC_CLAIM) = REGISTER(PLIC_CLAIM);
    }
    return PORT(0);
}

void uart_put(uint8_t byte)
{
    while ((PORT(5) & 0x20u) == 0) {
    }
    PORT(0) = byte;
}

void uart_drain(void)
{
    while ((PORT(5) & 0x40u) == 0) {
    }
}
