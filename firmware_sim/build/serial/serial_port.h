/* The part of a chip that main.c needs. A target file names the C files that have it (firmware_sim/serial/targets). */
#ifndef METABIT_SERIAL_PORT_H
#define METABIT_SERIAL_PORT_H

#include "metabit_store.h"

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

void uart_start(void); /* clocks, pins, UART_BAUD with 8 bits, no parity, one stop bit */
uint8_t uart_get(void); /* waits for a byte */
void uart_put(uint8_t byte);
void uart_drain(void); /* waits until the last bit is sent */

/* The driver of flash: the three functions of an mb_store, whose context is the address where it begins. */
int flash_read(void *context, uint32_t at, void *to, uint32_t count);
int flash_program(void *context, uint32_t at, const void *from, uint32_t count);
int flash_erase(void *context, uint32_t at);

/* Sleeps until the interrupt UART_IRQ is pending, without a handler: interrupts stay masked, and a masked one wakes the core. Call it
 * where there is nothing to read, then clear the interrupt in the UART, then call irq_done. Nothing is missed: an interrupt that came
 * before the sleep ends it at once. Without UART_IRQ the program reads the status of the UART again and again. */
#if defined(UART_IRQ) && defined(__arm__)
static inline void irq_sleep(void)
{
    REGISTER(0xE000E100u + UART_IRQ / 32u * 4u) = 1u << (UART_IRQ % 32u); /* NVIC: enable */
    __asm volatile("cpsid i\n\twfi" ::: "memory");
}
static inline void irq_done(void)
{
    REGISTER(0xE000E280u + UART_IRQ / 32u * 4u) = 1u << (UART_IRQ % 32u); /* NVIC: no longer pending */
}
#else
static inline void irq_sleep(void) {}
static inline void irq_done(void) {}
#endif

#endif
