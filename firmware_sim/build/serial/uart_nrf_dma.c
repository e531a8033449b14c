/* UARTE of the nRF5340 (nRF5340 Product Specification, "UARTE"), one byte at a time by DMA. It has a queue of a few bytes for the
 * time between two reads. UART_TX and UART_RX are pins, P0.xx as xx. */
#include "serial_port.h"

#define STARTRX (UART_BASE + 0x000u)
#define STARTTX (UART_BASE + 0x008u)
#define ENDRX (UART_BASE + 0x110u)
#define ENDTX (UART_BASE + 0x120u)
#define ENABLE (UART_BASE + 0x500u)
#define PSELTXD (UART_BASE + 0x50Cu)
#define PSELRXD (UART_BASE + 0x514u)
#define BAUDRATE (UART_BASE + 0x524u)
#define RXD_PTR (UART_BASE + 0x534u)
#define RXD_MAXCNT (UART_BASE + 0x538u)
#define TXD_PTR (UART_BASE + 0x544u)
#define TXD_MAXCNT (UART_BASE + 0x548u)

static volatile uint8_t received, to_send;

static void receive(void)
{
    REGISTER(ENDRX) = 0;
    REGISTER(RXD_PTR) = (uint32_t)(uintptr_t)&received;
    REGISTER(RXD_MAXCNT) = 1;
    REGISTER(STARTRX) = 1;
}

void uart_start(void)
{
    REGISTER(PSELTXD) = UART_TX;
    REGISTER(PSELRXD) = UART_RX;
    REGISTER(BAUDRATE) = (uint32_t)((((uint64_t)UART_BAUD << 32) / UART_CLOCK + 0x800u) & 0xFFFFF000u);
    REGISTER(ENABLE) = 8;
    receive();
}

uint8_t uart_get(void)
{
    while (REGISTER(ENDRX) == 0) {
    }
    const uint8_t byte = received;
    receive();
    return byte;
}

void uart_put(uint8_t byte)
{
    to_send = byte;
    REGISTER(ENDTX) = 0;
    REGISTER(TXD_PTR) = (uint32_t)(uintptr_t)&to_send;
    REGISTER(TXD_MAXCNT) = 1;
    REGISTER(STARTTX) = 1;
    while (REGISTER(ENDTX) == 0) {
    }
}

void uart_drain(void) {}
