/* metabit over a serial line: a parser and answers for the protocol of docs/serial.md, which `metabit device` speaks.
 *
 * C99, freestanding: no heap, no globals, no floats. Give it every byte that arrives; it calls your function for every byte to send.
 * The library needs metabit_store.h too. With -DMB_WITHOUT_STORE it calls neither mb_save nor mb_restore, and refuses the requests
 * save and restore. A program:
 *
 *   static uint32_t buffer[MB_SERIAL_BYTES(INPUT_BYTES, CLASSES) / 4];
 *   mb_serial serial = {.model = &m, .state = state, .state_size = sizeof state, .arena = arena, .arena_size = sizeof arena,
 *                       .buffer = buffer, .buffer_size = sizeof buffer, .send = uart_put, .core = "Cortex-M4F"};
 *   for (;;)
 *       if (mb_serial_take(&serial, uart_get()) == MB_SERIAL_RESTART) { ... reset the chip }
 *
 * A frame that was damaged on its way changes nothing. A learning step that is sent twice, because its answer was lost, is made once.
 */
#ifndef METABIT_SERIAL_H
#define METABIT_SERIAL_H

#include "metabit.h"
#include "metabit_store.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MB_SERIAL_PROTOCOL 1

/* Bytes of the buffer for a model: scores, and the longest frame with 256 bytes of a chunk. Its size is a multiple of 4. */
#define MB_SERIAL_BYTES(input, classes) ((8u * (classes) + (input) + 320u) & ~3u)

typedef enum mb_serial_command {
    MB_SERIAL_INFO = 1,    /* begins a session */
    MB_SERIAL_PREDICT = 2,
    MB_SERIAL_LEARN = 3,
    MB_SERIAL_PULL = 4,    /* bytes of the state or of the image */
    MB_SERIAL_PUSH = 5,    /* announces an image */
    MB_SERIAL_CHUNK = 6,   /* its next bytes */
    MB_SERIAL_APPLY = 7,   /* checks it and runs it */
    MB_SERIAL_SAVE = 8,
    MB_SERIAL_RESTORE = 9,
    MB_SERIAL_RESET = 10
} mb_serial_command;

/* The byte behind the status MB_E_FRAME: why a request was refused. */
typedef enum mb_serial_why {
    MB_SERIAL_DAMAGED = 0, /* sent for any frame whose checksum or encoding is wrong, with session and count 0 */
    MB_SERIAL_UNKNOWN = 1, /* no such command */
    MB_SERIAL_LENGTH = 2,  /* too few or too many bytes for this command, or a value outside its range */
    MB_SERIAL_SESSION = 3, /* another session than the last MB_SERIAL_INFO began: the device has restarted */
    MB_SERIAL_ORDER = 4,   /* a chunk that does not follow the last one, or an image that is not whole */
    MB_SERIAL_LACKS = 5,   /* this program has no store, or no spare memory for an image, or the image is too large for it */
    MB_SERIAL_CHECKSUM = 6 /* the image that was pushed is not the one that was announced */
} mb_serial_why;

typedef enum mb_serial_event { MB_SERIAL_QUIET = 0, MB_SERIAL_RESTART = 1 } mb_serial_event;

/* Fill in the first part and set the rest to zero, as an initialiser does. */
typedef struct mb_serial {
    mb_model *model; /* opened and attached */
    void *state;     /* the memories of mb_attach, for reset and for an image that is pushed */
    void *arena;
    uint32_t state_size, arena_size;
    uint32_t *buffer; /* MB_SERIAL_BYTES or more */
    uint32_t buffer_size;
    const mb_store *store;      /* where mb_save and mb_restore keep the state; NULL: save and restore are refused */
    const mb_store *spare;      /* flash for two images beside the program's own; NULL: push is refused */
    const uint8_t *spare_bytes; /* where spare can be read in place, 4-byte aligned */
    const char *core;           /* a few words for people: the core */
    void (*send)(void *context, uint8_t byte);
    void *context; /* passed to send */

    uint32_t length, left, last_code, damaged; /* of the frame that arrives; frames that were damaged */
    uint32_t session, number;                  /* of the last request that was done */
    uint32_t push_size, push_sum, pushed;      /* of the image that arrives: bytes, 0 for none; checksum; bytes that are here */
    uint32_t push_at, push_sequence;           /* its slot in spare, and the number of its mark */
    uint8_t kept[28], kept_size;               /* the answer to it, if doing it twice would change something twice */
} mb_serial;

/* Takes one byte; on the last byte of a request it does it and sends the answer.
 *
 * s          .model attached, .buffer of at least MB_SERIAL_BYTES for it, .send set
 * returns    MB_SERIAL_RESTART after the answer to a reset of the chip: wait until it is sent, then reset; else MB_SERIAL_QUIET */
mb_serial_event mb_serial_take(mb_serial *s, uint8_t byte);

/* Finds the image that was pushed last into spare and is whole, for mb_open at start.
 *
 * image      set to its address in spare_bytes, or NULL if there is none: then open the program's own
 * size       set to its bytes */
void mb_serial_newest(const mb_store *spare, const uint8_t *spare_bytes, const void **image, uint32_t *size);

/// Between serial.c and serial_push.c ///

#define MB_SERIAL_HEAD 6u /* command, status, session, count; two bytes each for the last two */
#define MB_SERIAL_SUM 4u

/* Returns the CRC-32 of Ethernet and zlib over `count` bytes more. crc: the value so far, 0 at first. */
uint32_t mb_serial_crc(uint32_t crc, const void *bytes, uint32_t count);

/* Bytes that an image may have, 0 without spare memory. */
uint32_t mb_serial_push_most(const mb_serial *s);

/* The three commands that push. payload: behind the head. Each sets *why where it returns MB_E_FRAME. */
mb_status mb_serial_push(mb_serial *s, const uint8_t *payload, uint32_t count, mb_serial_why *why);
mb_status mb_serial_chunk(mb_serial *s, uint8_t *payload, uint32_t count, mb_serial_why *why);
mb_status mb_serial_apply(mb_serial *s, mb_serial_why *why);

static inline uint32_t mb_serial_get(const uint8_t *at, unsigned bytes)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint32_t)at[i] << (8 * i);
    return value;
}

static inline uint8_t *mb_serial_put(uint8_t *at, uint32_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        *at++ = (uint8_t)(value >> (8 * i));
    return at;
}

#ifdef __cplusplus
}
#endif
#endif
