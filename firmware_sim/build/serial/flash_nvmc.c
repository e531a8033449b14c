/* Flash of the nRF52840 and nRF5340 by their NVMC (Product Specifications, "NVMC"). The core stops while the flash works. */
#include <string.h>

#include "serial_port.h"

#define READY (NVMC_BASE + 0x400u)
#define CONFIG (NVMC_BASE + 0x504u) /* 0 read, 1 write, 2 erase */

static void wait(void)
{
    while ((REGISTER(READY) & 1u) == 0) {
    }
}

int flash_read(void *context, uint32_t at, void *to, uint32_t count)
{
    memcpy(to, (const uint8_t *)context + at, count);
    return 0;
}

int flash_program(void *context, uint32_t at, const void *from, uint32_t count)
{
    const uint8_t *bytes = from;
    REGISTER(CONFIG) = 1;
    for (uint32_t i = 0; i < count; i += 4) {
        uint32_t word;
        memcpy(&word, bytes + i, sizeof word);
        REGISTER((uintptr_t)context + at + i) = word;
        wait();
    }
    REGISTER(CONFIG) = 0;
    return 0;
}

/* By a word of ones into the page, as the nRF5340 wants it; the nRF52840 has a register, at 0x508, which the other does not have. */
int flash_erase(void *context, uint32_t at)
{
    REGISTER(CONFIG) = 2;
#ifdef NVMC_ERASEPAGE
    REGISTER(NVMC_BASE + NVMC_ERASEPAGE) = (uint32_t)(uintptr_t)context + at;
#else
    REGISTER((uintptr_t)context + at) = 0xFFFFFFFFu;
#endif
    wait();
    REGISTER(CONFIG) = 0;
    return 0;
}
