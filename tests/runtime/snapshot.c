/* Every status of mb_snapshot_head and mb_adopt, and that a refused state changes nothing.
 *
 *   snapshot NAME.mbit       an image in which some layer learns */
#include "checks.h"
#include "images.h"
#include "metabit_snapshot.h"

int main(int argc, char **argv)
{
    mb_model m;
    uint32_t head[MB_SNAPSHOT_WORDS];
    size_t image_len;
    CHECK(argc == 2);
    uint8_t *image = read_file(argv[1], &image_len);
    CHECK(mb_verify(NULL) == MB_E_NULL && mb_snapshot_head(NULL, head) == MB_E_NULL && mb_adopt(NULL, image, 4) == MB_E_NULL);
    CHECK(mb_open(&m, image, image_len) == MB_OK && mb_verify(&m) == MB_OK);
    CHECK(mb_snapshot_head(&m, head) == MB_E_DETACHED && mb_adopt(&m, image, 4) == MB_E_DETACHED);

    const size_t size = mb_state_size(&m), learn = mb_arena_size(&m, MB_LEARN), input = mb_input_size(&m), whole = size + sizeof head;
    uint8_t *state = memory(size), *arena = memory(learn), *x = memory(input), *sent = memory(whole + 4), *before = memory(size);
    CHECK(mb_attach(&m, state, size, arena, learn) == MB_OK);
    for (uint16_t step = 0; step < 40; step++) {
        memset(x, step * 37, input);
        CHECK(mb_learn(&m, x, step % mb_classes(&m), NULL) == MB_OK);
    }
    CHECK(mb_snapshot_head(&m, NULL) == MB_E_NULL && mb_snapshot_head(&m, head) == MB_OK && head[4] == get(image + image_len - size + 4, 4) + 40);
    memcpy(sent, head, sizeof head);
    memcpy(sent + sizeof head, state, size);
    memcpy(before, state, size);

    /* it comes back as a snapshot, as a state alone, and in place */
    for (unsigned way = 0; way < 3; way++) {
        CHECK(mb_attach(&m, state, size, arena, learn) == MB_OK && memcmp(state, before, size) != 0);
        if (way == 2) {
            memcpy(state, before, size);
        }
        const uint8_t *const given[3] = {sent, sent + sizeof head, state};
        CHECK(mb_adopt(&m, given[way], way == 0 ? whole : size) == MB_OK && memcmp(state, before, size) == 0);
        CHECK(m.mode == MB_LEARN && mb_verify(&m) == MB_OK);
    }
    CHECK(mb_learn(&m, x, 0, NULL) == MB_OK);
    memcpy(before, state, size);

    /* every single byte that changed is found, and every length but the right one */
    for (size_t i = 0; i < whole; i++) {
        sent[i] ^= (uint8_t)(1u << (i & 7u));
        const mb_status status = mb_adopt(&m, sent, whole);
        CHECK(status == MB_E_STATE_SIZE || status == MB_E_VERSION || status == MB_E_TRUNCATED || status == MB_E_STATE_CRC);
        sent[i] ^= (uint8_t)(1u << (i & 7u));
    }
    for (size_t n = 0; n < whole + 4; n++) {
        const mb_status status = n == size || n == whole ? MB_E_TRUNCATED : mb_adopt(&m, sent, n);
        CHECK(status == (n < 4 || n > whole ? MB_E_STATE_SIZE : MB_E_TRUNCATED));
    }
    CHECK(mb_adopt(&m, NULL, whole) == MB_E_NULL && mb_adopt(&m, sent + 1, whole) == MB_E_ALIGN);
    CHECK(memcmp(state, before, size) == 0);

    /* a model that only predicts takes one too, and stays one */
    const size_t infer = mb_arena_size(&m, MB_INFER);
    CHECK(mb_attach(&m, state, size, arena, infer) == MB_OK && mb_adopt(&m, sent, whole) == MB_OK);
    CHECK(mb_predict(&m, x, NULL, NULL) == MB_OK && mb_learn(&m, x, 0, NULL) == MB_E_FROZEN);

    /* bits of the image that changed meanwhile */
    image[image_len - size - 8] ^= 4;
    CHECK(mb_verify(&m) == MB_E_CONST_CRC && mb_adopt(&m, sent, whole) == MB_E_CONST_CRC);
    free(before);
    free(sent);
    free(x);
    free(arena);
    free(state);
    free(image);
    return 0;
}
