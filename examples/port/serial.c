/* serial.c: the two functions for a computer */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

uint8_t serial_get(void);
void serial_put(uint8_t byte);

uint8_t serial_get(void)
{
    const int byte = getchar();
    if (byte == EOF) {
        exit(0);
    }
    return (uint8_t)byte;
}

void serial_put(uint8_t byte)
{
    putchar(byte);
}
