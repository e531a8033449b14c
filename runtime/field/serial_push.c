/* An image that arrives over the serial line goes into flash, is checked there, and then replaces the one that runs.
 *
 * The spare memory holds two slots. A slot is: a mark, padding up to IMAGE_AT, the image. The mark is written last, when the image
 * is checked and its state is saved; the slot of the running image is never written. So power may fail at any time. */
#include <string.h>

#include "metabit_serial.h"

#define IMAGE_AT 64u        /* of the image in its slot */
#define MARK_WORDS 5u       /* magic, sequence, size, checksum of the image, checksum of the mark */
#define MAGIC 0x5550424Du   /* "MBPU" */
#define PROGRAM_MOST 32u

uint32_t mb_serial_crc(uint32_t crc, const void *bytes, uint32_t count)
{
    /* the CRC of each half of a byte, polynomial 0xEDB88320 */
    static const uint32_t half[16] = {0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u,
                                      0x4DB26158u, 0x5005713Cu, 0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu,
                                      0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu};
    const uint8_t *at = bytes;
    crc = ~crc;
    for (; count > 0; count--) {
        crc ^= *at++;
        crc = (crc >> 4) ^ half[crc & 15u];
        crc = (crc >> 4) ^ half[crc & 15u];
    }
    return ~crc;
}

static int usable(const mb_store *spare)
{
    return spare != NULL && spare->pages >= 2 && spare->page_size >= 2 * IMAGE_AT && spare->program_size > 0 &&
           spare->program_size <= PROGRAM_MOST && PROGRAM_MOST % spare->program_size == 0 &&
           spare->page_size % IMAGE_AT == 0 && spare->pages <= UINT32_MAX / spare->page_size;
}

static uint32_t slot_size(const mb_store *spare)
{
    return spare->pages / 2 * spare->page_size;
}

/* Returns the sequence number of a slot whose mark and image are whole, else 0. */
static uint32_t sequence_of(const mb_store *spare, const uint8_t *bytes, uint32_t slot)
{
    const uint8_t *mark = bytes + slot * slot_size(spare);
    const uint32_t sequence = mb_serial_get(mark + 4, 4), size = mb_serial_get(mark + 8, 4);
    if (mb_serial_get(mark, 4) != MAGIC || mb_serial_crc(0, mark, 16) != mb_serial_get(mark + 16, 4) ||
        size > slot_size(spare) - IMAGE_AT || mb_serial_crc(0, mark + IMAGE_AT, size) != mb_serial_get(mark + 12, 4))
        return 0;
    return sequence;
}

/* Returns the newest whole slot, 0 or 1, or 2 if there is none, and its sequence number. Numbers differ by 1 where both are whole. */
static uint32_t newest_slot(const mb_store *spare, const uint8_t *bytes, uint32_t *sequence)
{
    const uint32_t a = sequence_of(spare, bytes, 0), b = sequence_of(spare, bytes, 1);
    const uint32_t slot = a == 0 && b == 0 ? 2u : a >= b ? 0u : 1u;
    *sequence = a >= b ? a : b;
    return slot;
}

void mb_serial_newest(const mb_store *spare, const uint8_t *spare_bytes, const void **image, uint32_t *size)
{
    uint32_t sequence = 0;
    *image = NULL;
    *size = 0;
    if (!usable(spare) || spare_bytes == NULL)
        return;
    const uint32_t slot = newest_slot(spare, spare_bytes, &sequence);
    if (slot < 2) {
        const uint8_t *mark = spare_bytes + slot * slot_size(spare);
        *image = mark + IMAGE_AT;
        *size = mb_serial_get(mark + 8, 4);
    }
}

uint32_t mb_serial_push_most(const mb_serial *s)
{
    return usable(s->spare) && s->spare_bytes != NULL ? slot_size(s->spare) - IMAGE_AT : 0;
}

/* The slot to write: not that of the running image; where the program's own image runs, not the newest. */
static uint32_t target(const mb_serial *s, uint32_t *sequence)
{
    const uint32_t newest = newest_slot(s->spare, s->spare_bytes, sequence), size = slot_size(s->spare);
    for (uint32_t slot = 0; slot < 2; slot++)
        if (s->model->image == s->spare_bytes + slot * size + IMAGE_AT)
            return 1u - slot;
    return newest == 0 ? 1u : 0u;
}

static mb_status fail(mb_serial *s, mb_serial_why reason, mb_serial_why *why)
{
    s->push_size = s->pushed = 0; /* the host must begin again */
    *why = reason;
    return MB_E_FRAME;
}

/* Nothing may be programmed over what the driver left: the host must begin again here too. */
static mb_status driver_failed(mb_serial *s)
{
    s->push_size = s->pushed = 0;
    return MB_E_STORE;
}

/* payload: bytes of the image, its CRC-32 */
mb_status mb_serial_push(mb_serial *s, const uint8_t *payload, uint32_t count, mb_serial_why *why)
{
    const uint32_t size = mb_serial_get(payload, 4);
    uint32_t sequence = 0;
    (void)count;
    if (size == 0 || size > mb_serial_push_most(s))
        return fail(s, size == 0 ? MB_SERIAL_LENGTH : MB_SERIAL_LACKS, why);
    s->push_at = target(s, &sequence) * slot_size(s->spare);
    s->push_sequence = sequence + 1;
    s->push_size = size;
    s->push_sum = mb_serial_get(payload + 4, 4);
    s->pushed = 0;
    return s->spare->erase(s->spare->context, s->push_at) == 0 ? MB_OK : driver_failed(s);
}

/* payload: offset of the chunk, at most chunk_most bytes; they are 4-byte aligned. All chunks but the last have a multiple of 32 bytes. */
mb_status mb_serial_chunk(mb_serial *s, uint8_t *payload, uint32_t count, mb_serial_why *why)
{
    const mb_store *spare = s->spare;
    const uint32_t offset = mb_serial_get(payload, 4), bytes = count - 4u;
    if (s->push_size == 0 || offset != s->pushed)
        return fail(s, MB_SERIAL_ORDER, why);
    if (bytes > s->push_size - offset || (bytes % PROGRAM_MOST != 0 && bytes != s->push_size - offset))
        return fail(s, MB_SERIAL_LENGTH, why);
    const uint32_t padded = (bytes + PROGRAM_MOST - 1) / PROGRAM_MOST * PROGRAM_MOST;
    const uint32_t at = s->push_at + IMAGE_AT + offset;
    memset(payload + 4 + bytes, 0xFF, padded - bytes); /* serial.c takes at most chunk_most bytes: there are 31 more behind them */
    for (uint32_t done = 0; done < padded;) { /* page by page; a page is erased when the first of its bytes comes, the first one by push */
        const uint32_t in_page = (at + done) % spare->page_size, rest = spare->page_size - in_page;
        const uint32_t part = padded - done < rest ? padded - done : rest;
        if ((in_page == 0 && spare->erase(spare->context, at + done) != 0) ||
            spare->program(spare->context, at + done, payload + 4 + done, part) != 0)
            return driver_failed(s);
        done += part;
    }
    s->pushed += bytes;
    return MB_OK;
}

mb_status mb_serial_apply(mb_serial *s, mb_serial_why *why)
{
    const mb_store *spare = s->spare;
    const uint32_t size = s->push_size;
    uint32_t words[PROGRAM_MOST / 4];
    uint8_t *mark = (uint8_t *)words;
    mb_model other;
    if (size == 0 || s->pushed != size)
        return fail(s, MB_SERIAL_ORDER, why);
    const uint8_t *image = s->spare_bytes + s->push_at + IMAGE_AT;
    if (mb_serial_crc(0, image, size) != s->push_sum)
        return fail(s, MB_SERIAL_CHECKSUM, why);
    s->push_size = s->pushed = 0;
    const mb_status opened = mb_open(&other, image, size);
    if (opened != MB_OK)
        return opened;
    if (MB_SERIAL_BYTES((uint32_t)mb_input_size(&other), (uint32_t)mb_classes(&other)) > s->buffer_size) {
        *why = MB_SERIAL_LACKS;
        return MB_E_FRAME;
    }
    const mb_status attached = mb_attach(&other, s->state, s->state_size, s->arena, s->arena_size);
    if (attached != MB_OK)
        return attached; /* sizes: nothing has changed */
#ifndef MB_WITHOUT_STORE
    if (s->store != NULL && other.state != NULL) { /* otherwise an older snapshot would replace this state at the next start */
        const mb_status saved = mb_save(&other, s->store);
        if (saved != MB_OK) { /* the old image goes on, as after a restart */
            (void)mb_attach(s->model, s->state, s->state_size, s->arena, s->arena_size);
            (void)mb_restore(s->model, s->store);
            return saved;
        }
    }
#endif
    *s->model = other;
    memset(words, 0xFF, sizeof words);
    mb_serial_put(mark, MAGIC, 4);
    mb_serial_put(mark + 4, s->push_sequence, 4);
    mb_serial_put(mark + 8, size, 4);
    mb_serial_put(mark + 12, s->push_sum, 4);
    mb_serial_put(mark + 16, mb_serial_crc(0, mark, 16), 4);
    return spare->program(spare->context, s->push_at, words, sizeof words) == 0 ? MB_OK : MB_E_STORE;
}
