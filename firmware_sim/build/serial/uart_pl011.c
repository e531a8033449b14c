/* Arm PrimeCell UART PL011 (ARM DDI 0183): RP2040 (datasheet, 4.2), Stellaris LM3S. A chip that needs clocks and pins first has them
 * in chip_start. */
#include "serial_port.h"

#define DR (UART_BASE + 0x00u)
#define FR (UART_BASE + 0x18u) /* bit 3: busy, bit 4: nothing received, bit 5: transmit queue full */
#define IBRD (UART_BASE + 0x24u)
#define FBRD (UART_BASE + 0x28u)
#define LCR_H (UART_BASE + 0x2Cu)
#define IMSC (UART_BASE + 0x38u) /* bit 4: bytes received, bit 6: a byte received and then none */
#define ICR (UART_BASE + 0x44u)
#define CR (UART_BASE + 0x30u)

#ifdef CHIP_START
void chip_start(void);
#endif

void uart_start(void)
{
#ifdef CHIP_START
    chip_start();
#endif
    const uint32_t divisor = (UART_CLOCK * 4u + UART_BAUD / 2u) / UART_BAUD; /* 64ths of clock / 16 / baud */
    REGISTER(CR) = 0;
    REGISTER(IBRD) = divisor >> 6;
    REGISTER(FBRD) = divisor & 63u;
    REGISTER(LCR_H) = 0x70; /* 8 bits, queues on */
    REGISTER(IMSC) = 0x50;
    REGISTER(CR) = 0x301;   /* receiver, transmitter, on */
}

uint8_t uart_get(void)
{
    while ((REGISTER(FR) & 0x10u) != 0) {
        irq_sleep();
        REGISTER(ICR) = 0x50;
        irq_done();
    }
    return (uint8_t)REGISTER(DR);
}

void uart_put(uint8_t byte)
{
    while ((REGISTER(FR) & 0x20u) != 0) {
    }
    REGISTER(DR) = byte;
}

void uart_drain(void)
{
    while ((REGISTER(FR) & 8u) != 0) {
    }
}
