/* UART of the nRF52840 (nRF52840 Product Specification, "UART": the one without DMA). UART_TX and UART_RX are pins, P0.xx as xx. */
#include "serial_port.h"

#define STARTRX (UART_BASE + 0x000u)
#define STARTTX (UART_BASE + 0x008u)
#define RXDRDY (UART_BASE + 0x108u)
#define TXDRDY (UART_BASE + 0x11Cu)
#define ENABLE (UART_BASE + 0x500u)
#define PSELTXD (UART_BASE + 0x50Cu)
#define PSELRXD (UART_BASE + 0x514u)
#define RXD (UART_BASE + 0x518u)
#define TXD (UART_BASE + 0x51Cu)
#define BAUDRATE (UART_BASE + 0x524u)

void uart_start(void)
{
    REGISTER(PSELTXD) = UART_TX;
    REGISTER(PSELRXD) = UART_RX;
    REGISTER(BAUDRATE) = (uint32_t)((((uint64_t)UART_BAUD << 32) / UART_CLOCK + 0x800u) & 0xFFFFF000u);
    REGISTER(ENABLE) = 4;
    REGISTER(STARTTX) = 1;
    REGISTER(STARTRX) = 1;
}

uint8_t uart_get(void)
{
    while (REGISTER(RXDRDY) == 0) {
    }
    REGISTER(RXDRDY) = 0;
    return (uint8_t)REGISTER(RXD);
}

void uart_put(uint8_t byte)
{
    REGISTER(TXDRDY) = 0;
    REGISTER(TXD) = byte;
    while (REGISTER(TXDRDY) == 0) {
    }
}

void uart_drain(void) {}
