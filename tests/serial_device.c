/* A device at the end of a line, as a library on this computer: metabit_serial.h over memory that stands for flash. With FUZZ it is
 * the target of a fuzzer, which gives it frames whose checksums are mended. */
#include <stdlib.h>
#include <string.h>

#include "metabit_serial.h"

#define PAGE 256u
#define STORE_PAGES 400u
#define SPARE_PAGES 400u
#define ARENA 400000u

static mb_model model;
static mb_serial serial;
static uint32_t *state, *arena, *buffer;
static uint32_t image[65536], store_words[STORE_PAGES * PAGE / 4], spare_words[SPARE_PAGES * PAGE / 4];
static uint8_t out[1 << 16];
static size_t sent;
static int flash_fails;

static int fails(const void *flash)
{
    return flash_fails == 1 || (flash_fails == 2 && flash == store_words);
}

static int flash_read(void *context, uint32_t at, void *to, uint32_t count)
{
    memcpy(to, (uint8_t *)context + at, count);
    return 0;
}

static int flash_program(void *context, uint32_t at, const void *from, uint32_t count)
{
    uint8_t *to = (uint8_t *)context + at;
    if (at % 4 != 0 || count % 4 != 0 || fails(context))
        return 1;
    for (uint32_t i = 0; i < count; i++) {
        if (to[i] != 0xFF) /* the parts of flash that refuse a second write would lose this */
            return 1;
        to[i] = ((const uint8_t *)from)[i];
    }
    return 0;
}

static int flash_erase(void *context, uint32_t at)
{
    if (at % PAGE != 0 || fails(context))
        return 1;
    memset((uint8_t *)context + at, 0xFF, PAGE);
    return 0;
}

static const mb_store store = {store_words, flash_read, flash_program, flash_erase, PAGE, STORE_PAGES, 4};
static const mb_store spare = {spare_words, flash_read, flash_program, flash_erase, PAGE, SPARE_PAGES, 4};

static void send(void *context, uint8_t byte)
{
    (void)context;
    if (sent < sizeof out)
        out[sent++] = byte;
}

int device_start(const uint8_t *bytes, size_t size, int erase);
size_t device_take(const uint8_t *in, size_t count, uint8_t *to, size_t room);
int device_cut(void);
void device_flash(int which);
void device_buffer(uint32_t size);

/* From now on each program and erase fails: 0 none, 1 all, 2 those of the store. */
void device_flash(int which)
{
    flash_fails = which;
}

/* The buffer has so many bytes, not more than before. */
void device_buffer(uint32_t size)
{
    serial.buffer_size = size;
}

/* Begins as the program of a chip does. Returns the status of the image that runs. */
int device_cut(void)
{
    const void *pushed = NULL;
    uint32_t size = 0;
    mb_status status;
    memset(state, 0xA5, mb_state_size(&model));
    mb_serial_newest(&spare, (const uint8_t *)spare_words, &pushed, &size);
    if (pushed == NULL || mb_open(&model, pushed, size) != MB_OK ||
        mb_attach(&model, state, serial.state_size, arena, serial.arena_size) != MB_OK) {
        status = mb_open(&model, image, sizeof image);
        status = status != MB_OK ? status : mb_attach(&model, state, serial.state_size, arena, serial.arena_size);
        if (status != MB_OK)
            return status;
    }
#ifndef MB_WITHOUT_STORE
    (void)mb_restore(&model, &store);
#endif
    const mb_serial fresh = {
        .model = &model, .state = state, .state_size = serial.state_size, .arena = arena, .arena_size = serial.arena_size,
        .buffer = buffer, .buffer_size = serial.buffer_size, .store = &store, .spare = &spare,
        .spare_bytes = (const uint8_t *)spare_words, .core = "this computer", .send = send,
    };
    serial = fresh;
    return MB_OK;
}

/* erase: the flash is new */
int device_start(const uint8_t *bytes, size_t size, int erase)
{
    if (size > sizeof image)
        return MB_E_TRUNCATED;
    memset(image, 0, sizeof image);
    memcpy(image, bytes, size);
    const mb_status status = mb_open(&model, image, size);
    if (status != MB_OK)
        return status;
    if (erase) {
        memset(store_words, 0xFF, sizeof store_words);
        memset(spare_words, 0xFF, sizeof spare_words);
    }
    free(state), free(arena), free(buffer);
    serial.state_size = (uint32_t)mb_state_size(&model);
    serial.arena_size = (uint32_t)mb_arena_size(&model, MB_LEARN);
    serial.buffer_size = MB_SERIAL_BYTES((uint32_t)mb_input_size(&model), (uint32_t)mb_classes(&model));
    state = malloc(serial.state_size), arena = malloc(serial.arena_size), buffer = malloc(serial.buffer_size); /* no byte more */
    return state == NULL || arena == NULL || buffer == NULL ? MB_E_NULL : device_cut();
}

/* Takes bytes, and returns how many it answers in `to`. A reset of the chip starts it anew. */
size_t device_take(const uint8_t *in, size_t count, uint8_t *to, size_t room)
{
    sent = 0;
    for (size_t i = 0; i < count; i++)
        if (mb_serial_take(&serial, in[i]) == MB_SERIAL_RESTART)
            (void)device_cut();
    const size_t given = sent < room ? sent : room;
    memcpy(to, out, given);
    return given;
}

#ifdef FUZZ
#include <stdio.h>

static unsigned long frames, answers;

static void feed(const uint8_t *raw, size_t count, int mend)
{
    uint8_t frame[4096];
    if (count > sizeof frame - 4)
        count = sizeof frame - 4;
    memcpy(frame, raw, count);
    mb_serial_put(frame + count, mb_serial_crc(0, frame, (uint32_t)count), 4);
    count += mend ? 4 : 0;
    sent = 0;
    int event = mb_serial_take(&serial, 0);
    for (size_t at = 0;;) { /* COBS, as serial.c sends it */
        size_t run = 0;
        while (run < 254 && at + run < count && frame[at + run] != 0)
            run++;
        mb_serial_take(&serial, (uint8_t)(run + 1));
        for (size_t i = 0; i < run; i++)
            mb_serial_take(&serial, frame[at + i]);
        at += run;
        if (at == count)
            break;
        at += run < 254;
    }
    event = mb_serial_take(&serial, 0);
    frames++;
    answers += sent > 20;
    if (event == MB_SERIAL_RESTART && device_cut() != MB_OK)
        abort();
}

/* The input: requests, each two bytes of length, a byte of flags, then head and payload. Flags: 1 mends the checksum, 2 sets the
 * session, 4 gives the bytes to the parser as they are, 8 fills a short payload up to what a prediction needs. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    while (size > 3) {
        const size_t length = (data[0] | (size_t)data[1] << 8) % 512;
        const unsigned flags = data[2];
        data += 3, size -= 3;
        const size_t here = length < size ? length : size;
        uint8_t raw[4096] = {0};
        memcpy(raw, data, here);
        size_t count = here;
        if ((flags & 8) && here >= 6)
            count = 6u + mb_input_size(&model) + (raw[0] == MB_SERIAL_LEARN ? 2u : 0u);
        if ((flags & 2) && here >= 6)
            mb_serial_put(raw + 2, serial.session ? serial.session : 1, 2);
        if (flags & 4)
            for (size_t i = 0; i < here; i++)
                (void)mb_serial_take(&serial, data[i]);
        else
            feed(raw, count < sizeof raw - 4 ? count : sizeof raw - 4, flags & 1);
        data += here, size -= here;
    }
    return 0;
}

int LLVMFuzzerInitialize(int *count, char ***words);

static void report(void) { fprintf(stderr, "fuzz: %lu frames, %lu answered\n", frames, answers); }

int LLVMFuzzerInitialize(int *count, char ***words)
{
    static uint8_t bytes[sizeof image];
    (void)count, (void)words;
    const char *path = getenv("METABIT_IMAGE");
    FILE *file = path ? fopen(path, "rb") : NULL;
    if (file == NULL || device_start(bytes, fread(bytes, 1, sizeof bytes, file), 1) != MB_OK)
        abort();
    fclose(file);
    return atexit(report);
}
#endif

#ifdef OWN_LOOP
#include <time.h>

/* A fuzzer for compilers without one: random requests, most of them nearly right. argv[1]: seconds */
int main(int count, char **words)
{
    uint32_t random = 2463534242u;
    LLVMFuzzerInitialize(&count, &words);
    for (const time_t end = time(NULL) + atoi(words[1]); time(NULL) < end;) {
        for (int i = 0; i < 1000; i++) {
            uint8_t data[64];
            for (unsigned b = 0; b < sizeof data; b++) {
                random ^= random << 13, random ^= random >> 17, random ^= random << 5;
                data[b] = (uint8_t)(random >> 8);
            }
            data[0] = data[0] % 40, data[1] = 0, data[2] |= (uint8_t)(data[3] % 4 ? 3 : 0);
            data[2] &= (uint8_t)(data[4] % 8 ? ~4 : 0xFF);
            data[3] %= 12;
            LLVMFuzzerTestOneInput(data, sizeof data);
        }
    }
    return 0;
}
#endif
