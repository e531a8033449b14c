/* USART3 of an STM32F7 at PD8 and PD9, which a Nucleo-144 leads to its USB (RM0385: 5.3 RCC, 6.4 GPIO, 31.8 USART). The core runs
 * from the internal clock of 16 MHz, as after reset. */
#include "serial_port.h"

#define RCC 0x40023800u
#define GPIOD 0x40020C00u
#define CR1 (UART_BASE + 0x00u)
#define BRR (UART_BASE + 0x0Cu)
#define ISR (UART_BASE + 0x1Cu) /* bit 3: overrun, 5: byte received, 6: all sent, 7: transmit register empty */
#define ICR (UART_BASE + 0x20u)
#define RDR (UART_BASE + 0x24u)
#define TDR (UART_BASE + 0x28u)

void uart_start(void)
{
    REGISTER(RCC + 0x30u) |= 1u << 3;  /* AHB1ENR: GPIOD */
    REGISTER(RCC + 0x40u) |= 1u << 18; /* APB1ENR: USART3 */
    (void)REGISTER(RCC + 0x40u);       /* the clock runs two cycles later */
    REGISTER(GPIOD) = (REGISTER(GPIOD) & ~(0xFu << 16)) | 0xAu << 16;                   /* MODER: alternate function */
    REGISTER(GPIOD + 0x24u) = (REGISTER(GPIOD + 0x24u) & ~0xFFu) | 0x77u;               /* AFRH: 7 */
    REGISTER(BRR) = (UART_CLOCK + UART_BAUD / 2u) / UART_BAUD;
    REGISTER(CR1) = 0xD; /* on, transmitter, receiver */
}

uint8_t uart_get(void)
{
    while ((REGISTER(ISR) & 0x20u) == 0) {
        REGISTER(ICR) = 8; /* an overrun would stop the receiver */
    }
    return (uint8_t)REGISTER(RDR);
}

void uart_put(uint8_t byte)
{
    while ((REGISTER(ISR) & 0x80u) == 0) {
    }
    REGISTER(TDR) = byte;
}

void uart_drain(void)
{
    while ((REGISTER(ISR) & 0x40u) == 0) {
    }
}
