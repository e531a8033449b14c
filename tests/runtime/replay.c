/* Replays a golden vector through the C library, then attacks the library with damaged copies of its image.
 *
 *   replay NAME.mbit NAME.vec [mutations]
 *
 * All memories are heap blocks of exactly the size the library asked for, so that a sanitizer sees the first byte too far. */
#include "images.h"
#include "metabit.h"

#ifdef MB_WIDE /* everything once for each of a host's vectors, whose memory is a heap block of exact size too */
#include "wide.h"
static mb_vectors vectors = MB_NO_VECTORS;
#endif

static void die(const char *what, long at)
{
    fprintf(stderr, "replay: %s (at %ld)\n", what, at);
    exit(1);
}

static uint32_t get_u32(const uint8_t **p)
{
    uint32_t v;
    memcpy(&v, *p, 4);
    *p += 4;
    return v;
}

/* The block that the model runs on from now on; NULL without vectors. */
static void *widen(mb_model *m)
{
    void *memory = NULL;
#ifdef MB_WIDE
    const size_t size = mb_wide_size(m, vectors);
    memory = size == 0 ? NULL : aligned_alloc(MB_WIDE_ALIGN, size);
    if ((size != 0 && memory == NULL) || mb_widen(m, vectors, memory, size) != MB_OK || mb_widened(m) != vectors) {
        die("does not widen", (long)vectors);
    }
#else
    (void)m;
#endif
    return memory;
}

/// Replay ///

static void replay(const uint8_t *image, size_t image_len, const uint8_t *v)
{
    const uint32_t n = get_u32(&v), classes = get_u32(&v), input = get_u32(&v), steps = get_u32(&v), state_len = get_u32(&v);
    const uint8_t *x = v, *scores_at = v + n * input;
    mb_model m;
    uint16_t label;
    if (mb_open(&m, image, image_len) != MB_OK) {
        die("image does not open", 0);
    }
    if (mb_state_size(&m) != state_len || mb_input_size(&m) != input || mb_classes(&m) != classes) {
        die("sizes differ", 0);
    }
    const size_t arena_len = mb_arena_size(&m, MB_LEARN);
    void *state = malloc(state_len), *arena = malloc(arena_len);
    int32_t *scores = malloc(4u * classes);
    if (state == NULL || arena == NULL || scores == NULL || mb_attach(&m, state, state_len, arena, arena_len) != MB_OK) {
        die("cannot attach", 0);
    }
    void *wide = widen(&m);
    for (uint32_t i = 0; i < n; i++) {
        if (mb_predict(&m, x + i * input, scores, &label) != MB_OK || memcmp(scores, scores_at + 4u * classes * i, 4u * classes)) {
            die("scores differ", (long)i);
        }
    }
    v = scores_at + 4u * classes * n;
    for (uint32_t s = 0; s < steps; s++) {
        mb_learn_info info;
        memcpy(&label, v, 2);
        v += 2;
        if (mb_learn(&m, x + (s % n) * input, label, &info) != MB_OK) {
            die("learn fails", (long)s);
        }
        const uint32_t got[5] = {info.predicted, info.skipped, info.visited, info.moved, info.flipped};
        for (int i = 0; i < 5; i++) {
            if (get_u32(&v) != got[i]) {
                die("learn info differs", (long)s);
            }
        }
        if (memcmp(state, v, state_len) != 0) {
            die("state differs", (long)s);
        }
        v += state_len;
    }
    void *copy = malloc(image_len); /* a saved image opens to the state it was saved with */
    mb_model again;
    if (copy == NULL || mb_export(&m, copy, image_len) != MB_OK || mb_open(&again, copy, image_len) != MB_OK) {
        die("export does not open", 0);
    }
    if (memcmp((uint8_t *)copy + image_len - state_len, state, state_len) != 0) {
        die("export lost the state", 0);
    }
    free(copy);
    free(wide);
    free(scores);
    free(arena);
    free(state);
}

/// Attack ///

static uint32_t next_random(uint32_t *z)
{
    *z ^= *z << 13;
    *z ^= *z >> 17;
    *z ^= *z << 5;
    return *z;
}

/* Somebody else used the arena between two steps: what is then learnt is worth nothing, but no byte outside is touched. */
static void scribble(const uint8_t *image, size_t image_len)
{
    uint32_t z = 0x89abcdefu;
    mb_model m;
    if (mb_open(&m, image, image_len) != MB_OK) {
        die("image does not open", 1);
    }
    const size_t state_len = mb_state_size(&m), arena_len = mb_arena_size(&m, MB_LEARN);
    uint8_t *state = malloc(state_len), *arena = malloc(arena_len), *x = malloc(mb_input_size(&m));
    if (state == NULL || arena == NULL || x == NULL || mb_attach(&m, state, state_len, arena, arena_len) != MB_OK) {
        die("cannot attach", 1);
    }
    void *wide = widen(&m);
    for (long s = 0; s < 300; s++) {
        for (size_t i = 0; i < arena_len; i++) {
            arena[i] = s % 3 == 0 ? 0xFFu : (uint8_t)next_random(&z);
        }
        for (uint32_t j = 0; j < mb_input_size(&m); j++) {
            x[j] = (uint8_t)next_random(&z);
        }
        const mb_status status = mb_learn(&m, x, (uint16_t)(next_random(&z) % mb_classes(&m)), NULL);
        if (status == MB_E_FROZEN && s == 0) {
            break; /* nothing in this image learns */
        }
        if (status != MB_OK) {
            die("does not learn with a scribbled arena", s);
        }
    }
    free(wide);
    free(x);
    free(arena);
    free(state);
}

static void attack(const uint8_t *image, size_t image_len, long mutations)
{
    uint32_t z = 0x1234567u;
    long opened = 0;
    for (long t = 0; t < mutations; t++) {
        const size_t len = next_random(&z) % 8u == 0 ? next_random(&z) % (image_len + 1u) : image_len;
        uint8_t *b = malloc(len ? len : 1);
        if (b == NULL) {
            die("no memory", t);
        }
        memcpy(b, image, len);
        const uint32_t records = 64u + 64u * image[40];
        for (uint32_t hits = 1u + next_random(&z) % 3u; len > 0 && hits > 0; hits--) { /* mostly in header and records */
            const size_t limit = next_random(&z) % 4u != 0 && records < len ? records : len;
            uint8_t *const byte = b + next_random(&z) % limit;
            if (next_random(&z) % 2u) {
                *byte = (uint8_t)next_random(&z);
            } else {
                *byte = (uint8_t)(*byte ^ (1u << (next_random(&z) % 8u)));
            }
        }
        if (len >= 64 && next_random(&z) % 8u != 0) {
            seal(b, len);
        }
        mb_model m;
        if (mb_open(&m, b, len) == MB_OK) {
            const size_t state_len = mb_state_size(&m), arena_len = mb_arena_size(&m, MB_LEARN);
            void *state = malloc(state_len), *arena = malloc(arena_len);
            uint8_t *x = malloc(mb_input_size(&m));
            int32_t *scores = malloc(4u * mb_classes(&m));
            uint16_t label = 0;
            if (state == NULL || arena == NULL || x == NULL || scores == NULL) {
                die("no memory", t);
            }
            if (mb_attach(&m, state, state_len, arena, arena_len) != MB_OK) {
                die("an opened image does not attach", t);
            }
            void *wide = widen(&m);
            for (int i = 0; i < 3; i++) {
                for (uint32_t j = 0; j < mb_input_size(&m); j++) {
                    x[j] = (uint8_t)next_random(&z);
                }
                if (mb_predict(&m, x, scores, &label) != MB_OK || label >= mb_classes(&m)) {
                    die("an opened image does not predict", t);
                }
                const mb_status status = mb_learn(&m, x, (uint16_t)(next_random(&z) % mb_classes(&m)), NULL);
                if (status != MB_OK && status != MB_E_FROZEN) {
                    die("an opened image does not learn", t);
                }
            }
            opened++;
            free(wide);
            free(scores);
            free(x);
            free(arena);
            free(state);
        }
        free(b);
    }
    printf("%ld damaged images, %ld of them still valid\n", mutations, opened);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: replay NAME.mbit NAME.vec [mutations]\n");
        return 2;
    }
    size_t image_len, vector_len;
    uint8_t *image = read_file(argv[1], &image_len), *vector = read_file(argv[2], &vector_len);
    const long mutations = argc > 3 ? atol(argv[3]) : 2000;
#ifdef MB_WIDE
    for (int v = MB_NO_VECTORS + 1; v < MB_VECTORS; v++) {
        vectors = (mb_vectors)v;
        if (mb_vectors_runs(vectors)) {
            printf("%s: ", mb_vectors_name(vectors));
            replay(image, image_len, vector);
            scribble(image, image_len);
            attack(image, image_len, mutations);
        }
    }
#else
    replay(image, image_len, vector);
    scribble(image, image_len);
    attack(image, image_len, mutations);
#endif
    free(vector);
    free(image);
    return 0;
}
