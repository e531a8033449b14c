/* UART of the SAM3X8E at PA8 and PA9, the programming port of an Arduino Due (SAM3X/SAM3A datasheet: 28 PMC, 31 PIO, 34 UART). The
 * core runs at 84 MHz from the crystal of 12 MHz and the PLL: no divisor of the clock after reset gives 115,200 baud. */
#include "serial_port.h"

#define PMC 0x400E0600u
#define CKGR_MOR (PMC + 0x20u)
#define CKGR_PLLAR (PMC + 0x28u)
#define PMC_MCKR (PMC + 0x30u)
#define PMC_SR (PMC + 0x68u) /* bit 0: crystal stable, 1: PLL locked, 3: master clock ready, 16: main clock selected */
#define KEY 0x00370000u
#define SR (UART_BASE + 0x14u) /* bit 0: byte received, 1: transmit register empty, 9: all sent */

static void wait(uint32_t bit)
{
    while ((REGISTER(PMC_SR) & bit) == 0) {
    }
}

void uart_start(void)
{
    REGISTER(0x400E1A54u) = 0x8000;     /* watchdog off; it may be set once */
    REGISTER(0x400E0A00u) = 4u << 8;    /* flash, both banks: 4 wait states */
    REGISTER(0x400E0C00u) = 4u << 8;
    REGISTER(CKGR_MOR) = KEY | 8u << 8 | 1u << 3 | 1u; /* crystal on beside the internal clock */
    wait(1u);
    REGISTER(CKGR_MOR) = KEY | 8u << 8 | 1u << 24 | 1u << 3 | 1u;
    wait(1u << 16);
    REGISTER(PMC_MCKR) = 1; /* main clock */
    wait(1u << 3);
    REGISTER(CKGR_PLLAR) = 1u << 29 | 13u << 16 | 0x3Fu << 8 | 1u; /* 12 MHz * 14 */
    wait(1u << 1);
    REGISTER(PMC_MCKR) = 1u << 4 | 1u; /* half of it, first by the main clock, then by the PLL */
    wait(1u << 3);
    REGISTER(PMC_MCKR) = 1u << 4 | 2u;
    wait(1u << 3);
    REGISTER(PMC + 0x10u) = 1u << 8; /* clock of the UART */
    REGISTER(0x400E0E70u) &= ~0x300u; /* PA8, PA9: peripheral A */
    REGISTER(0x400E0E04u) = 0x300;
    REGISTER(UART_BASE + 0x20u) = (UART_CLOCK / 8u / UART_BAUD + 1u) / 2u;
    REGISTER(UART_BASE + 0x04u) = 4u << 9; /* no parity */
    REGISTER(UART_BASE) = 0x50;            /* receiver and transmitter on */
}

uint8_t uart_get(void)
{
    while ((REGISTER(SR) & 1u) == 0) {
    }
    return (uint8_t)REGISTER(UART_BASE + 0x18u);
}

void uart_put(uint8_t byte)
{
    while ((REGISTER(SR) & 2u) == 0) {
    }
    REGISTER(UART_BASE + 0x1Cu) = byte;
}

void uart_drain(void)
{
    while ((REGISTER(SR) & 0x200u) == 0) {
    }
}
