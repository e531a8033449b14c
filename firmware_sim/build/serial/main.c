/* The program that `metabit firmware` writes: a device that learns, at the end of a serial line (docs/serial.md).
 *
 * At start it takes the image that was pushed last, or else its own, and the newest snapshot of its state. Every number about the
 * chip is a macro that the build passes, by the target file. */
#include "metabit_serial.h"
#include "port.h"
#include "serial_port.h"

extern const uint8_t image[], image_end[]; /* image.S */

#define TEXT(text) #text
#define TEXT_OF(macro) TEXT(macro)

static uint8_t state_memory[STATE_BYTES] __attribute__((aligned(16)));
static uint8_t arena_memory[ARENA_BYTES] __attribute__((aligned(16)));
static uint32_t buffer[MB_SERIAL_BYTES(INPUT_BYTES, CLASSES) / 4];
static mb_model model;

#ifdef STORE_ORIGIN
static const mb_store store = {(void *)(uintptr_t)STORE_ORIGIN, flash_read, flash_program, flash_erase,
                               FLASH_PAGE_SIZE, STORE_PAGES, FLASH_PROGRAM_SIZE};
#define STORE &store
#else
#define STORE NULL
#endif
#ifdef SPARE_ORIGIN
static const mb_store spare = {(void *)(uintptr_t)SPARE_ORIGIN, flash_read, flash_program, flash_erase,
                               FLASH_PAGE_SIZE, SPARE_PAGES, FLASH_PROGRAM_SIZE};
#define SPARE &spare
#define SPARE_BYTES (const uint8_t *)(uintptr_t)SPARE_ORIGIN
#else
#define SPARE NULL
#define SPARE_BYTES NULL
#endif

int main(void);

static mb_status attach(const void *from, size_t size)
{
    const mb_status status = mb_open(&model, from, size);
    return status != MB_OK ? status : mb_attach(&model, state_memory, sizeof state_memory, arena_memory, sizeof arena_memory);
}

static mb_status boot(void)
{
    const void *pushed = NULL;
    uint32_t size = 0;
    mb_serial_newest(SPARE, SPARE_BYTES, &pushed, &size);
    if (pushed == NULL || attach(pushed, size) != MB_OK || /* it may have come to a program with more memory, before this one was flashed */
        MB_SERIAL_BYTES((uint32_t)mb_input_size(&model), (uint32_t)mb_classes(&model)) > sizeof buffer) {
        const mb_status status = attach(image, (size_t)(image_end - image));
        if (status != MB_OK) {
            return status;
        }
    }
#if defined(STORE_ORIGIN) && !defined(MB_WITHOUT_STORE)
    (void)mb_restore(&model, &store); /* without a snapshot of this image it begins with the state of the image */
#endif
    return MB_OK;
}

static void send(void *context, uint8_t byte)
{
    (void)context;
    uart_put(byte);
}

int main(void)
{
    uart_start();
    const mb_status status = boot();
    mb_serial serial = {
        .model = &model, .state = state_memory, .state_size = sizeof state_memory,
        .arena = arena_memory, .arena_size = sizeof arena_memory,
        .buffer = buffer, .buffer_size = sizeof buffer,
        .store = STORE, .spare = SPARE, .spare_bytes = SPARE_BYTES,
        .core = TEXT_OF(TARGET_NAME) ", " TEXT_OF(CORE_NAME), .send = send,
    };
    while (status == MB_OK && mb_serial_take(&serial, uart_get()) != MB_SERIAL_RESTART) {
    }
    uart_drain();
    return status; /* the start-up code calls port_exit */
}

/* A fault, an image that does not open, or a reset by request: the chip begins anew. */
void port_exit(int32_t code)
{
    (void)code;
    for (;;) {
        REGISTER(RESET_ADDRESS) = RESET_VALUE;
    }
}
