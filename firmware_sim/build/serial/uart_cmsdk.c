/* UART of Arm's Cortex-M System Design Kit (ARM DDI 0479, "APB UART"), as the MPS2 boards of QEMU have it. */
#include "serial_port.h"

#define DATA (UART_BASE + 0x00u)
#define STATE (UART_BASE + 0x04u) /* bit 0: transmit buffer full, bit 1: receive buffer full */
#define CTRL (UART_BASE + 0x08u)
#define INTCLEAR (UART_BASE + 0x0Cu)
#define BAUDDIV (UART_BASE + 0x10u)

void uart_start(void)
{
    REGISTER(BAUDDIV) = UART_CLOCK / UART_BAUD;
    REGISTER(CTRL) = 3 | 8; /* transmitter, receiver, interrupt of the receiver */
}

uint8_t uart_get(void)
{
    while ((REGISTER(STATE) & 2u) == 0) {
        irq_sleep();
        REGISTER(INTCLEAR) = 2;
        irq_done();
    }
    return (uint8_t)REGISTER(DATA);
}

void uart_put(uint8_t byte)
{
    uart_drain();
    REGISTER(DATA) = byte;
}

void uart_drain(void)
{
    while ((REGISTER(STATE) & 1u) != 0) {
    }
}
