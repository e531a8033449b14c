/* Bits that change by accident while a program runs: one bit of the state or of the image is flipped behind the library's back.
 *
 *   flips WHERE COUNT SEED NAME.mbit      WHERE: state, arena, constants, records
 *
 * Each flip runs in a process of its own, with blocks of exact size, so that a sanitizer sees a byte too far. Prints how many flips left
 * all predictions as they were, changed some, were named by mb_export, and ended the process. */
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "images.h"
#include "metabit.h"

enum { SAMPLES = 6, SAME = 0, OTHER = 1, NAMED = 2, BROKEN = 3, CODE = 100 };

const char *__asan_default_options(void);
const char *__asan_default_options(void) /* the system frees what is left */
{
    return "detect_leaks=0";
}

static uint32_t generator;

static uint32_t below(uint32_t n) /* 0..n-1 by xorshift32. pre: n > 0 */
{
    generator ^= generator << 13;
    generator ^= generator >> 17;
    generator ^= generator << 5;
    return (generator >> 3) % n;
}

static void *copied(const void *bytes, size_t size)
{
    void *const p = malloc(size);
    memcpy(p, bytes, size);
    return p;
}

/* One child: compares the labels before learning, lets mb_export look for an error, then learns, to the end. */
static int use(mb_model *m, const uint8_t *x, const uint16_t *expected, int32_t *scores, uint8_t *saved)
{
    const uint16_t size = mb_input_size(m);
    int found = SAME;
    for (uint32_t i = 0; i < SAMPLES; i++) {
        uint16_t label = 0;
        (void)mb_predict(m, x + i * size, scores, &label);
        found = label != expected[i] ? OTHER : found;
    }
    found = mb_export(m, saved, m->image_size) != MB_OK ? NAMED : found;
    for (uint32_t i = 0; i < 3 * SAMPLES; i++) {
        (void)mb_learn(m, x + i % SAMPLES * size, (uint16_t)(i % mb_classes(m)), NULL);
        (void)mb_predict(m, x + i % SAMPLES * size, scores, NULL);
    }
    return found;
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        return 2;
    }
    size_t size;
    uint8_t *const image = read_file(argv[4], &size);
    const uint32_t const_at = get(image + 16, 4), const_size = get(image + 20, 4);
    unsigned long counts[4] = {0, 0, 0, 0};
    mb_model m;
    generator = (uint32_t)strtoul(argv[3], NULL, 10) * 2654435761u | 1u;
    if (mb_open(&m, image, size) != MB_OK) {
        return 2;
    }
    const size_t state_size = mb_state_size(&m), arena_size = mb_arena_size(&m, MB_LEARN);
    uint8_t *const state = malloc(state_size), *const arena = malloc(arena_size), *const saved = malloc(size);
    int32_t *const scores = malloc(mb_classes(&m) * sizeof *scores);
    uint8_t *const x = malloc((size_t)SAMPLES * mb_input_size(&m));
    uint16_t expected[SAMPLES];
    memset(arena, 0, arena_size);
    if (mb_attach(&m, state, state_size, arena, arena_size) != MB_OK) {
        return 2;
    }
    for (uint32_t i = 0; i < (uint32_t)SAMPLES * mb_input_size(&m); i++) {
        x[i] = (uint8_t)below(256);
    }
    for (uint32_t i = 0; i < SAMPLES; i++) {
        (void)mb_learn(&m, x + i * mb_input_size(&m), (uint16_t)(i % mb_classes(&m)), NULL);
    }
    for (uint32_t i = 0; i < SAMPLES; i++) {
        (void)mb_predict(&m, x + i * mb_input_size(&m), NULL, &expected[i]);
    }
    const int in_state = strcmp(argv[1], "state") == 0, in_arena = strcmp(argv[1], "arena") == 0;
    uint8_t *const from = in_state ? state : in_arena ? arena : strcmp(argv[1], "records") == 0 ? image : image + const_at;
    const uint32_t bytes = (uint32_t)(in_state ? state_size : in_arena ? arena_size : from == image ? const_at : const_size);
    for (unsigned long left = strtoul(argv[2], NULL, 10); left > 0; left--) {
        const uint32_t bit = below(8 * bytes);
        const pid_t child = fork();
        if (child == 0) {
            from[bit / 8] ^= (uint8_t)(1u << bit % 8);
            mb_model own = m;
            own.state = copied(state, state_size);
            _exit(CODE + use(&own, x, expected, scores, saved)); /* a sanitizer ends with 1 or a signal */
        }
        int status = 0;
        (void)waitpid(child, &status, 0);
        counts[WIFEXITED(status) && WEXITSTATUS(status) >= CODE ? WEXITSTATUS(status) - CODE : BROKEN]++;
    }
    printf("same %lu other %lu named %lu broken %lu\n", counts[SAME], counts[OTHER], counts[NAMED], counts[BROKEN]);
    return 0;
}
