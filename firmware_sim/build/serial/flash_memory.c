/* Memory of an emulator that survives a reset, with the rules of NOR flash: programming only clears bits, erasing sets them. */
#include <string.h>

#include "serial_port.h"

int flash_read(void *context, uint32_t at, void *to, uint32_t count)
{
    memcpy(to, (const uint8_t *)context + at, count);
    return 0;
}

int flash_program(void *context, uint32_t at, const void *from, uint32_t count)
{
    volatile uint8_t *to = (uint8_t *)context + at;
    const uint8_t *bytes = from;
    for (uint32_t i = 0; i < count; i++) {
        to[i] &= bytes[i];
    }
    return 0;
}

int flash_erase(void *context, uint32_t at)
{
    memset((uint8_t *)context + at, 0xFF, FLASH_PAGE_SIZE);
    return 0;
}
