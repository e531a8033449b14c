/* RP2040 before its UART (datasheet: 2.14 resets, 2.15 clocks, 2.16 crystal, 2.19 GPIO): the crystal of 12 MHz drives core and UART,
 * pins 0 and 1 are transmitter and receiver. */
#include "serial_port.h"

#define SET 0x2000u   /* writes at this distance set bits, */
#define CLEAR 0x3000u /* at this one clear bits */
#define RESETS 0x4000C000u
#define XOSC 0x40024000u
#define CLOCKS 0x40008000u
#define IO_BANK0 0x40014000u
#define BLOCKS (1u << 5 | 1u << 8 | 1u << 22) /* IO_BANK0, PADS_BANK0, UART0 */

void chip_start(void);

void chip_start(void)
{
    REGISTER(XOSC + 0x0Cu) = 47;       /* STARTUP: 1 ms at 12 MHz, in 256 cycles */
    REGISTER(XOSC) = 0xFABu << 12 | 0xAA0u; /* CTRL: on, 1 to 15 MHz */
    while ((REGISTER(XOSC + 4u) >> 31) == 0) {
    }
    REGISTER(CLOCKS + 0x30u) = 2; /* CLK_REF: crystal */
    while ((REGISTER(CLOCKS + 0x38u) & 4u) == 0) {
    }
    REGISTER(CLOCKS + 0x3Cu) = 0; /* CLK_SYS: CLK_REF */
    while ((REGISTER(CLOCKS + 0x44u) & 1u) == 0) {
    }
    REGISTER(CLOCKS + 0x48u) = 1u << 11 | 4u << 5; /* CLK_PERI: on, crystal */
    REGISTER(RESETS + CLEAR) = BLOCKS;
    while ((REGISTER(RESETS + 8u) & BLOCKS) != BLOCKS) {
    }
    REGISTER(IO_BANK0 + 0x04u) = 2; /* GPIO0 and GPIO1: UART0 */
    REGISTER(IO_BANK0 + 0x0Cu) = 2;
}
