/* Frames and commands of the serial protocol, docs/serial.md. */
#include <string.h>

#include "metabit_serial.h"

#define ANSWER 0x80u /* this bit of the command marks an answer */

/// Buffer ///

/* The scores lie first. Two bytes follow, so that the input behind the head lies at a multiple of 4, where it is read fastest. */
static uint8_t *frame_of(const mb_serial *s)
{
    return (uint8_t *)s->buffer + 4u * mb_classes(s->model) + 2u;
}

static uint32_t room_of(const mb_serial *s)
{
    const uint32_t before = 4u * mb_classes(s->model) + 2u;
    return s->buffer_size > before ? s->buffer_size - before : 0;
}

/* Bytes of a chunk of state or image: what fits beside head, offset, steps and checksum, and 31 bytes by which a chunk is padded to
 * the flash's unit. A multiple of 32. */
static uint32_t chunk_most(const mb_serial *s)
{
    const uint32_t beside = MB_SERIAL_HEAD + 8u + MB_SERIAL_SUM + 31u;
    return room_of(s) > beside ? (room_of(s) - beside) & ~31u : 0;
}

/// Sending ///

/* Sends head and payload with their checksum: a zero, the frame in COBS, a zero. pre: four bytes of room behind `count`. */
static void send_frame(const mb_serial *s, uint8_t *frame, uint32_t count)
{
    mb_serial_put(frame + count, mb_serial_crc(0, frame, count), MB_SERIAL_SUM);
    count += MB_SERIAL_SUM;
    s->send(s->context, 0);
    for (uint32_t at = 0;;) {
        uint32_t run = 0; /* bytes up to the next zero, at most 254 */
        while (run < 254 && at + run < count && frame[at + run] != 0)
            run++;
        s->send(s->context, (uint8_t)(run + 1));
        for (uint32_t i = 0; i < run; i++)
            s->send(s->context, frame[at + i]);
        at += run;
        if (at == count)
            break;
        if (run < 254)
            at++; /* the zero, which the code byte says; where it is the last byte an empty run follows */
    }
    s->send(s->context, 0);
}

static uint8_t *write_head(uint8_t *frame, uint32_t command, mb_status status, uint32_t session, uint32_t number)
{
    frame[0] = (uint8_t)(command | ANSWER);
    frame[1] = (uint8_t)status;
    mb_serial_put(frame + 2, session, 2);
    return mb_serial_put(frame + 4, number, 2);
}

/// Commands ///

static uint32_t steps_of(const mb_serial *s)
{
    return s->model->state != NULL ? mb_serial_get(s->model->state + 4, 4) : 0;
}

static uint8_t *tell(const mb_serial *s, uint8_t *out)
{
    const mb_model *m = s->model;
    const int learns = m->state != NULL && m->mode == MB_LEARN;
    const uint32_t state_size = (uint32_t)mb_state_size(m);
    *out++ = MB_SERIAL_PROTOCOL;
    *out++ = MB_FORMAT_MAJOR;
    *out++ = MB_FORMAT_MINOR;
    *out++ = (uint8_t)((learns ? 1 : 0) | (s->store != NULL ? 2 : 0) | (s->spare != NULL ? 4 : 0));
    out = mb_serial_put(out, mb_identity(m), 4);
    out = mb_serial_put(out, mb_input_size(m), 2);
    out = mb_serial_put(out, mb_classes(m), 2);
    out = mb_serial_put(out, state_size, 4);
    out = mb_serial_put(out, steps_of(s), 4);
    out = mb_serial_put(out, m->image_size, 4);
    out = mb_serial_put(out, m->state != NULL ? mb_serial_crc(0, m->state, state_size) : 0, 4);
    out = mb_serial_put(out, mb_serial_push_most(s), 4);
    out = mb_serial_put(out, chunk_most(s), 4);
    out = mb_serial_put(out, s->damaged, 4);
    for (uint32_t i = 0; s->core != NULL && s->core[i] != 0 && i < 40; i++)
        *out++ = (uint8_t)s->core[i];
    return out;
}

static mb_status predict(const mb_serial *s, const uint8_t *input, uint8_t **out)
{
    const uint32_t classes = mb_classes(s->model);
    int32_t *scores = (int32_t *)s->buffer;
    uint16_t label = 0;
    const mb_status status = mb_predict(s->model, input, scores, &label);
    if (status == MB_OK) {
        *out = mb_serial_put(*out, label, 2);
        for (uint32_t c = 0; c < classes; c++)
            *out = mb_serial_put(*out, (uint32_t)scores[c], 4);
    }
    return status;
}

static mb_status learn(const mb_serial *s, const uint8_t *input, uint16_t label, uint8_t **out)
{
#ifdef MB_WITHOUT_LEARN
    (void)s, (void)input, (void)label, (void)out;
    return MB_E_FROZEN;
#else
    mb_learn_info info = {0, 0, 0, 0, 0};
    const mb_status status = mb_learn(s->model, input, label, &info);
    if (status == MB_OK) {
        *out = mb_serial_put(*out, info.predicted, 2);
        *out = mb_serial_put(*out, info.skipped, 2);
        *out = mb_serial_put(*out, info.visited, 4);
        *out = mb_serial_put(*out, info.moved, 4);
        *out = mb_serial_put(*out, info.flipped, 4);
        *out = mb_serial_put(*out, steps_of(s), 4);
    }
    return status;
#endif
}

/* payload: 0 for the state or 1 for the image, offset, count. The answer: steps, so that the host sees a step between two chunks. */
static mb_status pull(const mb_serial *s, const uint8_t *payload, uint8_t **out, mb_serial_why *why)
{
    const uint8_t *from = payload[0] == 0 ? s->model->state : s->model->image;
    const uint32_t size = payload[0] == 0 ? (uint32_t)mb_state_size(s->model) : s->model->image_size;
    const uint32_t offset = mb_serial_get(payload + 1, 4), count = mb_serial_get(payload + 5, 2);
    if (from == NULL)
        return MB_E_DETACHED;
    if (payload[0] > 1 || count > chunk_most(s) || offset > size || count > size - offset) {
        *why = MB_SERIAL_LENGTH;
        return MB_E_FRAME;
    }
    *out = mb_serial_put(*out, steps_of(s), 4);
    memcpy(*out, from + offset, count);
    *out += count;
    return MB_OK;
}

static mb_status keep(mb_serial *s, uint32_t command, uint32_t older, mb_serial_why *why)
{
    if (s->store == NULL) {
        *why = MB_SERIAL_LACKS;
        return MB_E_FRAME;
    }
#ifdef MB_WITHOUT_STORE
    (void)command, (void)older;
    *why = MB_SERIAL_LACKS;
    return MB_E_FRAME;
#else
    return command == MB_SERIAL_SAVE ? mb_save(s->model, s->store)
           : older                   ? mb_restore_older(s->model, s->store)
                                     : mb_restore(s->model, s->store);
#endif
}

/* Bytes that the payload of a command has; of a chunk, at least, and at most chunk_most behind its offset of 4 bytes. */
static uint32_t payload_of(const mb_serial *s, uint32_t command)
{
    const uint32_t input = mb_input_size(s->model);
    switch (command) {
    case MB_SERIAL_PREDICT: return input;
    case MB_SERIAL_LEARN: return input + 2u;
    case MB_SERIAL_PULL: return 7;
    case MB_SERIAL_PUSH: return 8;
    case MB_SERIAL_CHUNK: return 5;
    case MB_SERIAL_RESTORE:
    case MB_SERIAL_RESET: return 1;
    default: return 0;
    }
}

/* Does one request of a session, and sends its answer. pre: the payload has the length that payload_of says. */
static mb_serial_event serve(mb_serial *s, uint8_t *frame, uint32_t count)
{
    const uint32_t command = frame[0], session = mb_serial_get(frame + 2, 2), number = mb_serial_get(frame + 4, 2);
    uint8_t *payload = frame + MB_SERIAL_HEAD, *out = payload;
    const uint32_t first = count > 0 ? payload[0] : 0;
    mb_serial_why why = MB_SERIAL_UNKNOWN;
    mb_status status = MB_OK;
    int once = 1; /* a second time would change something again */
    switch (command) {
    case MB_SERIAL_INFO: out = tell(s, payload), once = 0; break;
    case MB_SERIAL_PREDICT: status = predict(s, payload, &out), once = 0; break;
    case MB_SERIAL_LEARN:
        status = learn(s, payload, (uint16_t)mb_serial_get(payload + count - 2, 2), &out);
        break;
    case MB_SERIAL_PULL: status = pull(s, payload, &out, &why), once = 0; break;
    case MB_SERIAL_PUSH: status = mb_serial_push(s, payload, count, &why); break;
    case MB_SERIAL_CHUNK: status = mb_serial_chunk(s, payload, count, &why); break;
    case MB_SERIAL_APPLY: status = mb_serial_apply(s, &why); break;
    case MB_SERIAL_SAVE:
    case MB_SERIAL_RESTORE: status = keep(s, command, first, &why); break;
    case MB_SERIAL_RESET:
        if (first == 0)
            status = mb_attach(s->model, s->state, s->state_size, s->arena, s->arena_size);
        break;
    default: status = MB_E_FRAME; break;
    }
    frame = frame_of(s); /* another image may have another number of classes */
    if (once && command != MB_SERIAL_LEARN && status == MB_OK)
        out = mb_serial_put(frame + MB_SERIAL_HEAD, steps_of(s), 4);
    if (status != MB_OK) {
        out = frame + MB_SERIAL_HEAD;
        if (status == MB_E_FRAME)
            *out++ = (uint8_t)why;
    }
    write_head(frame, command, status, session, number);
    count = (uint32_t)(out - frame);
    s->session = session;
    s->number = number;
    s->kept_size = 0;
    if (once) { /* such an answer has at most head and 20 bytes */
        memcpy(s->kept, frame, count);
        s->kept_size = (uint8_t)count;
    }
    send_frame(s, frame, count);
    return command == MB_SERIAL_RESET && first != 0 ? MB_SERIAL_RESTART : MB_SERIAL_QUIET;
}

/* Answers with MB_E_FRAME and a reason. */
static void refuse(const mb_serial *s, uint8_t *frame, uint32_t command, uint32_t session, uint32_t number, mb_serial_why why)
{
    uint8_t *out = write_head(frame, command, MB_E_FRAME, session, number);
    *out = (uint8_t)why;
    send_frame(s, frame, MB_SERIAL_HEAD + 1);
}

/* Looks at a whole frame. count: its bytes, with the checksum. */
static mb_serial_event receive(mb_serial *s, uint8_t *frame, uint32_t count)
{
    if (count < MB_SERIAL_HEAD + MB_SERIAL_SUM ||
        mb_serial_crc(0, frame, count - MB_SERIAL_SUM) != mb_serial_get(frame + count - MB_SERIAL_SUM, 4)) {
        s->damaged++;
        refuse(s, frame, 0, 0, 0, MB_SERIAL_DAMAGED);
        return MB_SERIAL_QUIET;
    }
    count -= MB_SERIAL_HEAD + MB_SERIAL_SUM;
    const uint32_t command = frame[0], session = mb_serial_get(frame + 2, 2), number = mb_serial_get(frame + 4, 2);
    const uint32_t need = payload_of(s, command);
    if (command != MB_SERIAL_INFO && (session != s->session || session == 0)) {
        refuse(s, frame, command, session, number, MB_SERIAL_SESSION);
    } else if (s->kept_size > 0 && session == s->session && number == s->number) {
        memcpy(frame, s->kept, s->kept_size); /* it was done, and its answer was lost */
        send_frame(s, frame, s->kept_size);
    } else if (command == 0 || command > MB_SERIAL_RESET) {
        refuse(s, frame, command, session, number, MB_SERIAL_UNKNOWN);
    } else if (command == MB_SERIAL_CHUNK ? count < need || count - 4u > chunk_most(s) : count != need) {
        refuse(s, frame, command, session, number, MB_SERIAL_LENGTH);
    } else {
        return serve(s, frame, count);
    }
    return MB_SERIAL_QUIET;
}

/// Bytes ///

mb_serial_event mb_serial_take(mb_serial *s, uint8_t byte)
{
    uint8_t *frame = frame_of(s);
    const uint32_t room = room_of(s);
    if (s->buffer_size < MB_SERIAL_BYTES((uint32_t)mb_input_size(s->model), (uint32_t)mb_classes(s->model)))
        return MB_SERIAL_QUIET; /* the longest answer would not fit */
    if (byte == 0) { /* the end of a frame, and of all that came before */
        const uint32_t length = s->length, begun = s->last_code;
        const uint32_t whole = s->left == 0 && length <= room ? length : 0;
        s->length = s->left = s->last_code = 0;
        return begun ? receive(s, frame, whole) : MB_SERIAL_QUIET;
    }
    if (s->left == 0) { /* a code byte: so many bytes less one, then a zero that is not sent, unless the run is the longest */
        if (s->last_code != 0 && s->last_code != 255 && s->length <= room) {
            if (s->length < room)
                frame[s->length] = 0;
            s->length++;
        }
        s->last_code = byte;
        s->left = byte - 1u;
        return MB_SERIAL_QUIET;
    }
    s->left--;
    if (s->length <= room) { /* room + 1 says that the frame is too long */
        if (s->length < room)
            frame[s->length] = byte;
        s->length++;
    }
    return MB_SERIAL_QUIET;
}
