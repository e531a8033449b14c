/* Every mb_status that no image can cause, caused once; and a sentence for each.
 *
 *   status NAME.mbit       an image in which some layer learns
 *
 * A call that refuses changes nothing: memories are compared before and after. */
#include "checks.h"
#include "images.h"
#include "metabit.h"

enum { LAST = MB_E_TICKET }; /* the lowest code */

/// Sentences ///

static void sentences(void)
{
    for (int a = MB_OK; a >= LAST; a--) {
        const char *text = mb_strerror((mb_status)a);
        CHECK(text != NULL && text[0] != '\0' && strcmp(text, mb_strerror((mb_status)(LAST - 1))) != 0);
        for (int b = MB_OK; b > a; b--) {
            CHECK(strcmp(text, mb_strerror((mb_status)b)) != 0);
        }
    }
    CHECK(mb_strerror((mb_status)1) != NULL && mb_strerror((mb_status)-1000) != NULL);
}

/// Before there is a model ///

static void unopened(const uint8_t *image, size_t image_len)
{
    mb_model m;
    uint32_t some[4] = {0, 0, 0, 0};
    uint16_t label = 7;
    CHECK(mb_open(NULL, image, image_len) == MB_E_NULL);
    CHECK(mb_open(&m, NULL, image_len) == MB_E_NULL);
    uint8_t *shifted = memory(image_len + 4);
    for (unsigned by = 1; by < 4; by++) {
        memcpy(shifted + by, image, image_len);
        CHECK(mb_open(&m, shifted + by, image_len) == MB_E_ALIGN);
    }
    free(shifted);
    /* a refused model is an empty one: every call on it says so */
    CHECK(mb_state_size(&m) == 0 && mb_arena_size(&m, MB_LEARN) == 0 && mb_input_size(&m) == 0 && mb_classes(&m) == 0);
    CHECK(mb_attach(&m, some, sizeof some, some, sizeof some) == MB_E_NULL);
    CHECK(mb_predict(&m, some, NULL, &label) == MB_E_DETACHED);
    CHECK(mb_learn(&m, some, 0, NULL) == MB_E_DETACHED);
    CHECK(mb_novelty(&m, some) == MB_E_GRADED);
    CHECK(mb_verify(&m) == MB_E_NULL && mb_verify(NULL) == MB_E_NULL);
    CHECK(mb_export(&m, some, sizeof some) != MB_OK);
    CHECK(label == 7 && some[0] == 0);
    CHECK(mb_state_size(NULL) == 0 && mb_arena_size(NULL, MB_INFER) == 0 && mb_input_size(NULL) == 0 && mb_classes(NULL) == 0);
}

/// Memories ///

static void attaching(const uint8_t *image, size_t image_len)
{
    mb_model m;
    uint16_t label;
    CHECK(mb_open(&m, image, image_len) == MB_OK);
    const size_t state_len = mb_state_size(&m), infer = mb_arena_size(&m, MB_INFER), learn = mb_arena_size(&m, MB_LEARN);
    CHECK(state_len >= 16 && infer > 0 && learn >= infer);
    uint8_t *state = memory(state_len + 4), *arena = memory(learn + 4), *x = memory(mb_input_size(&m)), *copy = memory(image_len);

    CHECK(mb_predict(&m, x, NULL, &label) == MB_E_DETACHED);
    CHECK(mb_learn(&m, x, 0, NULL) == MB_E_DETACHED);
    CHECK(mb_export(&m, copy, image_len) == MB_E_DETACHED);

    CHECK(mb_attach(NULL, state, state_len, arena, learn) == MB_E_NULL);
    CHECK(mb_attach(&m, NULL, state_len, arena, learn) == MB_E_NULL);
    CHECK(mb_attach(&m, NULL, 0, NULL, learn) == MB_E_NULL);
    CHECK(mb_attach(&m, state, state_len, NULL, learn) == MB_E_NULL);
    for (unsigned by = 1; by < 4; by++) {
        CHECK(mb_attach(&m, state + by, state_len, arena, learn) == MB_E_ALIGN);
        CHECK(mb_attach(&m, state, state_len, arena + by, learn) == MB_E_ALIGN);
    }
    CHECK(mb_attach(&m, state, state_len - 1, arena, learn) == MB_E_STATE_SIZE);
    CHECK(mb_attach(&m, state, 0, arena, learn) == MB_E_STATE_SIZE);
    CHECK(mb_attach(&m, state, state_len, arena, infer - 1) == MB_E_ARENA_SIZE);
    CHECK(mb_attach(&m, state, state_len, arena, 0) == MB_E_ARENA_SIZE);
    CHECK(state[0] == 0xA5 && state[state_len - 1] == 0xA5); /* nothing was copied yet */
    CHECK(mb_predict(&m, x, NULL, &label) == MB_E_DETACHED);

    /* an arena for inference, and one byte too few for learning: predicts, and says that it cannot learn; output levels learn in both */
    const size_t small[2] = {infer, learn > infer ? learn - 1 : infer};
    for (unsigned i = 0; i < 2; i++) {
        CHECK(mb_attach(&m, state, state_len, arena, small[i]) == MB_OK);
        CHECK(mb_predict(&m, x, NULL, &label) == MB_OK && label < mb_classes(&m));
        CHECK(small[i] == learn || mb_learn(&m, x, 0, NULL) == MB_E_FROZEN);
        CHECK(memcmp(state, image + image_len - state_len, state_len) == 0);
    }
    /* without a state it predicts the same from the image in place, and neither learns nor exports */
    uint16_t in_place;
    CHECK(mb_attach(&m, NULL, 0, arena, learn) == MB_OK);
    CHECK(mb_predict(&m, x, NULL, &in_place) == MB_OK && in_place == label);
    CHECK(mb_learn(&m, x, 0, NULL) == MB_E_FROZEN);
    CHECK(mb_export(&m, copy, image_len) == MB_E_DETACHED);

    CHECK(mb_attach(&m, state, state_len, arena, learn) == MB_OK);
    CHECK(mb_learn(&m, x, 0, NULL) == MB_OK);
    CHECK(state[state_len] == 0xA5 && arena[learn] == 0xA5);
    free(copy);
    free(x);
    free(arena);
    free(state);
}

/// Use ///

static void using(const uint8_t *image, size_t image_len)
{
    mb_model m;
    uint16_t label;
    mb_learn_info info = {9, 9, 9, 9, 9};
    CHECK(mb_open(&m, image, image_len) == MB_OK);
    const size_t state_len = mb_state_size(&m), learn = mb_arena_size(&m, MB_LEARN);
    const uint16_t classes = mb_classes(&m);
    uint8_t *state = memory(state_len), *arena = memory(learn), *x = memory(mb_input_size(&m)), *copy = memory(image_len);
    int32_t *scores = memory(sizeof(int32_t) * classes);
    CHECK(mb_attach(&m, state, state_len, arena, learn) == MB_OK);

    CHECK(mb_predict(NULL, x, scores, &label) == MB_E_NULL);
    CHECK(mb_predict(&m, NULL, scores, &label) == MB_E_NULL);
    CHECK(mb_predict(&m, x, scores, NULL) == MB_OK && mb_predict(&m, x, NULL, NULL) == MB_OK);
    CHECK(mb_predict(&m, x, NULL, &label) == MB_OK);
    for (uint16_t c = 0; c < classes; c++) { /* the best score, the lowest index on a tie */
        CHECK(c < label ? scores[c] < scores[label] : scores[c] <= scores[label]);
    }

    uint32_t novelty = 9; /* the function was taken out */
    CHECK(mb_novelty(&m, &novelty) == MB_E_GRADED && novelty == 9);

    CHECK(mb_learn(NULL, x, 0, &info) == MB_E_NULL);
    CHECK(mb_learn(&m, NULL, 0, &info) == MB_E_NULL);
    CHECK(mb_learn(&m, x, classes, &info) == MB_E_LABEL);
    CHECK(mb_learn(&m, x, 65535, &info) == MB_E_LABEL);
    CHECK(info.predicted == 9 && info.skipped == 9 && info.visited == 9 && info.moved == 9 && info.flipped == 9);
    CHECK(memcmp(state, image + image_len - state_len, state_len) == 0); /* on error nothing has changed */

    CHECK(mb_export(NULL, copy, image_len) == MB_E_NULL);
    CHECK(mb_export(&m, NULL, image_len) == MB_E_NULL);
    CHECK(mb_export(&m, (void *)(uintptr_t)image, image_len) == MB_E_SAME);
    CHECK(mb_export(&m, copy, image_len - 1) == MB_E_TRUNCATED);
    CHECK(mb_export(&m, copy, 0) == MB_E_TRUNCATED);
    CHECK(copy[0] == 0xA5 && copy[image_len - 1] == 0xA5);
    CHECK(mb_export(&m, copy, image_len) == MB_OK && memcmp(copy, image, image_len) == 0); /* nothing learned yet */

    for (int step = 0; step < 20; step++) {
        CHECK(mb_learn(&m, x, (uint16_t)((label + 1u) % classes), &info) == MB_OK && info.predicted < classes);
    }
    uint8_t *kept = memory(state_len); /* attached again it begins from the image's state: the learnt one is put back */
    memcpy(kept, state, state_len);
    memset(arena, 0xA5, learn);
    CHECK(mb_attach(&m, state, state_len, arena, learn) == MB_OK);
    CHECK(memcmp(state, image + image_len - state_len, state_len) == 0 && memcmp(state, kept, state_len) != 0);
    memcpy(state, kept, state_len);
    free(kept);
    CHECK(mb_learn(&m, x, (uint16_t)((label + 1u) % classes), &info) == MB_OK && mb_export(&m, copy, image_len) == MB_OK);
    mb_model again;
    CHECK(mb_open(&again, copy, image_len) == MB_OK);
    CHECK(memcmp(copy + image_len - state_len, state, state_len) == 0);
    free(scores);
    free(copy);
    free(x);
    free(arena);
    free(state);
}

/// Bits that change by accident ///

/* Flips some 3000 bits of the state and some of the image in turn. mb_export either writes an image that opens, or names the damage and
 * writes nothing. */
static void exporting_damage(uint8_t *image, size_t image_len)
{
    mb_model m, again;
    CHECK(mb_open(&m, image, image_len) == MB_OK);
    const size_t state_len = mb_state_size(&m), learn = mb_arena_size(&m, MB_LEARN), state_at = image_len - state_len;
    uint8_t *state = memory(state_len), *arena = memory(learn), *copy = memory(image_len), *blank = memory(image_len);
    CHECK(mb_attach(&m, state, state_len, arena, learn) == MB_OK);
    mb_status others = MB_E_PADDING; /* levels, heads and kept samples (format 1.6) have states that are no state */
    for (const uint8_t *record = image + 64; record < image + 64 + 64 * image[40]; record += 64) {
        uint32_t kept;
        memcpy(&kept, record + 32, sizeof kept);
        others = record[0] == 9 || record[0] == 10 || (record[0] == 5 && record[9] != 0 && kept != 0) ? MB_E_RULE : others;
    }
    size_t refused = 0;
    const size_t stride = 8 * state_len / 3000 | 1;
    for (size_t bit = 0; bit < 8 * state_len; bit += stride) {
        state[bit / 8] ^= (uint8_t)(1u << bit % 8);
        memset(copy, 0xA5, image_len);
        const mb_status status = mb_export(&m, copy, image_len);
        CHECK(mb_verify(&m) == status);
        CHECK(status == MB_OK ? mb_open(&again, copy, image_len) == MB_OK
                              : (status == MB_E_PADDING || status == others) && memcmp(copy, blank, image_len) == 0);
        refused += status != MB_OK;
        state[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    CHECK(refused > 0);
    memset(state, 0, 4);
    memset(copy, 0xA5, image_len);
    CHECK(mb_export(&m, copy, image_len) == MB_E_GENERATOR && memcmp(copy, blank, image_len) == 0);
    memcpy(state, image + state_at, 4);
    const size_t at[4] = {0, 50, state_at - 8, image_len - 4};
    const mb_status named[4] = {MB_E_MAGIC, MB_E_HEADER_CRC, MB_E_CONST_CRC, MB_E_STATE_CRC};
    for (unsigned i = 0; i < 4; i++) {
        image[at[i]] ^= 4;
        CHECK(mb_export(&m, copy, image_len) == named[i] && memcmp(copy, blank, image_len) == 0);
        image[at[i]] ^= 4;
    }
    CHECK(mb_export(&m, copy, image_len) == MB_OK && memcmp(copy, image, image_len) == 0);
    free(blank);
    free(copy);
    free(arena);
    free(state);
}

/// Re-open ///

static void reopening(uint8_t *image, size_t image_len)
{
    mb_model m, again;
    CHECK(mb_open(&m, image, image_len) == MB_OK);
    const uint32_t seal = mb_seal(&m);
    const uint32_t identity = mb_identity(&m);
    CHECK(seal != 0 && mb_seal(NULL) == 0 && identity != 0 && mb_identity(NULL) == 0);
    const size_t state_len = mb_state_size(&m), learn = mb_arena_size(&m, MB_LEARN), state_at = image_len - state_len;
    uint8_t *state = memory(state_len), *kept = memory(state_len), *arena = memory(learn), *x = memory(mb_input_size(&m));
    CHECK(mb_attach(&m, state, state_len, arena, learn) == MB_OK);
    for (uint16_t step = 0; step < 20; step++) {
        memset(x, step * 37, mb_input_size(&m));
        CHECK(mb_learn(&m, x, step % mb_classes(&m), NULL) == MB_OK);
    }
    memcpy(kept, state, state_len);
    uint16_t before, after;
    CHECK(mb_predict(&m, x, NULL, &before) == MB_OK);

    /* the program forgot the model, and knows its seal and its state */
    CHECK(mb_reopen(&again, image, image_len, seal) == MB_OK && mb_seal(&again) == seal);
    CHECK(mb_state_size(&again) == state_len && mb_arena_size(&again, MB_LEARN) == learn && mb_classes(&again) == mb_classes(&m));
    CHECK(mb_reattach(&again, state, state_len, arena, learn) == MB_OK && memcmp(state, kept, state_len) == 0);
    CHECK(mb_predict(&again, x, NULL, &after) == MB_OK && after == before);
    CHECK(mb_learn(&again, x, 0, NULL) == MB_OK && mb_learn(&m, x, 0, NULL) == MB_OK);
    CHECK(mb_reattach(&again, NULL, 0, arena, learn) == MB_OK && mb_predict(&again, x, NULL, &after) == MB_OK);

    /* with the seal it reads header and records only; with any other it is mb_open */
    const size_t damaged[2] = {state_at - 8, image_len - 4};
    const mb_status named[2] = {MB_E_CONST_CRC, MB_E_STATE_CRC};
    for (unsigned i = 0; i < 2; i++) {
        image[damaged[i]] ^= 4;
        CHECK(mb_reopen(&again, image, image_len, seal) == MB_OK);
        CHECK(mb_reopen(&again, image, image_len, 0) == named[i] && mb_seal(&again) == 0);
        CHECK(mb_reopen(&again, image, image_len, seal ^ 2u) == named[i] && mb_open(&again, image, image_len) == named[i]);
        image[damaged[i]] ^= 4;
    }
    image[70] ^= 4;
    CHECK(mb_reopen(&again, image, image_len, seal) == MB_E_HEADER_CRC && mb_seal(&again) == 0);
    image[70] ^= 4;
    CHECK(mb_reopen(&again, image, image_len - 1, seal) == MB_E_TRUNCATED);
    CHECK(mb_reopen(NULL, image, image_len, seal) == MB_E_NULL && mb_reopen(&again, NULL, image_len, seal) == MB_E_NULL);

    /* a state that was lost, and memories that mb_attach refuses too */
    CHECK(mb_reopen(&again, image, image_len, seal) == MB_OK);
    memset(state, 0, state_len);
    CHECK(mb_reattach(&again, state, state_len, arena, learn) == MB_E_GENERATOR);
    CHECK(mb_predict(&again, x, NULL, &after) == MB_E_DETACHED);
    CHECK(mb_reattach(&again, kept, state_len - 1, arena, learn) == MB_E_STATE_SIZE);
    CHECK(mb_reattach(&again, kept, state_len, NULL, learn) == MB_E_NULL);
    CHECK(mb_reattach(&again, kept, state_len, arena, 0) == MB_E_ARENA_SIZE);
    CHECK(mb_attach(&again, state, state_len, arena, learn) == MB_OK && memcmp(state, image + state_at, state_len) == 0);
    free(x);
    free(arena);
    free(kept);
    free(state);
}

/* All that the next step depends on lies in the state: a run that loses its arena and its model after every step does the same as one
 * that does not. Only images of votes before 1.6 (graded layers, kind 5) lose samples. */
static void surviving(const uint8_t *image, size_t image_len)
{
    mb_model m, again;
    CHECK(mb_open(&m, image, image_len) == MB_OK && mb_open(&again, image, image_len) == MB_OK);
    for (uint32_t i = 0; i < get(image + 40, 2); i++) {
        if (image[64 + 64 * i] == 5 && get(image + 6, 2) < 6) {
            return;
        }
    }
    const size_t state_len = mb_state_size(&m), learn = mb_arena_size(&m, MB_LEARN), size = mb_input_size(&m);
    uint8_t *state = memory(state_len), *kept = memory(state_len), *arena = memory(learn), *other = memory(learn), *x = memory(size);
    uint32_t z = 1;
    CHECK(mb_attach(&m, state, state_len, arena, learn) == MB_OK && mb_attach(&again, kept, state_len, other, learn) == MB_OK);
    for (unsigned step = 0; step < 100; step++) {
        for (size_t i = 0; i < size; i++) {
            z = z * 1664525u + 1013904223u;
            x[i] = (uint8_t)(z >> 24);
        }
        mb_learn_info first, second;
        const uint16_t label = (uint16_t)((z >> 8) % mb_classes(&m));
        CHECK(mb_learn(&m, x, label, &first) == MB_OK && mb_learn(&again, x, label, &second) == MB_OK);
        CHECK(memcmp(&first, &second, sizeof first) == 0 && memcmp(state, kept, state_len) == 0);
        memset(other, 0xA5, learn);
        CHECK(mb_reopen(&again, image, image_len, mb_seal(&m)) == MB_OK);
        CHECK(mb_reattach(&again, kept, state_len, other, learn) == MB_OK);
    }
    free(x);
    free(other);
    free(arena);
    free(kept);
    free(state);
}

/// Tickets ///

static void tickets(const uint8_t *image, size_t image_len)
{
    mb_model m;
    CHECK(mb_ticket_size(NULL) == 0 && mb_open(&m, image, image_len) == MB_OK);
    const size_t size = mb_ticket_size(&m), state_len = mb_state_size(&m), learn = mb_arena_size(&m, MB_LEARN);
    CHECK(size > 0 && size <= mb_input_size(&m));
    uint8_t *const x = calloc(mb_input_size(&m), 1), *const ticket = malloc(size);
    uint32_t *const state = malloc(state_len), *const other = malloc(state_len), *const arena = malloc(learn);
    CHECK(x != NULL && ticket != NULL && state != NULL && other != NULL && arena != NULL);
    CHECK(mb_ticket(&m, x, ticket) == MB_E_DETACHED && mb_predict_ticket(&m, x, NULL, NULL) == MB_E_DETACHED);
    CHECK(mb_learn_ticket(&m, x, 0, NULL) == MB_E_DETACHED);
    CHECK(mb_attach(&m, other, state_len, arena, learn) == MB_OK && mb_learn(&m, x, 0, NULL) == MB_OK);
    CHECK(mb_attach(&m, state, state_len, arena, learn) == MB_OK);
    CHECK(mb_ticket(NULL, x, ticket) == MB_E_NULL && mb_ticket(&m, NULL, ticket) == MB_E_NULL && mb_ticket(&m, x, NULL) == MB_E_NULL);
    CHECK(mb_predict_ticket(NULL, ticket, NULL, NULL) == MB_E_NULL && mb_predict_ticket(&m, NULL, NULL, NULL) == MB_E_NULL);
    CHECK(mb_learn_ticket(NULL, ticket, 0, NULL) == MB_E_NULL && mb_learn_ticket(&m, NULL, 0, NULL) == MB_E_NULL);
    CHECK(mb_ticket(&m, x, ticket) == MB_OK && mb_learn_ticket(&m, ticket, mb_classes(&m), NULL) == MB_E_LABEL);
    CHECK(mb_learn_ticket(&m, ticket, 0, NULL) == MB_OK && memcmp(state, other, state_len) == 0);
    free(x);
    free(ticket);
    free(state);
    free(other);
    free(arena);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: status NAME.mbit\n");
        return 2;
    }
    size_t image_len;
    uint8_t *image = read_file(argv[1], &image_len);
    sentences();
    unopened(image, image_len);
    attaching(image, image_len);
    using(image, image_len);
    exporting_damage(image, image_len);
    reopening(image, image_len);
    tickets(image, image_len);
    surviving(image, image_len);
    free(image);
    return 0;
}
