/* Hostile images through the whole library. A mutated image, its checksums mended, is refused or runs: no call leaves its memory,
 * and what mb_export writes opens again. Every block has its exact size, so that a sanitizer sees a byte too far.
 *
 * With -fsanitize=fuzzer (clang) libFuzzer chooses the inputs. Elsewhere compile with -DOWN_LOOP:
 *
 *   fuzz SECONDS NAME.mbit...       mutates these images in turn */
#include <time.h>

#include "images.h"
#include "metabit.h"
#include "metabit_merge.h"
#include "metabit_snapshot.h"
#include "metabit_store.h"
#include "nor.h"
#include "wide.h"

enum { MAX_IMAGE = 1 << 17, MAX_ARENA = 1 << 23 };

#define MUST(condition)                                                       \
    do {                                                                      \
        if (!(condition)) {                                                   \
            fprintf(stderr, "fuzz: line %d: %s\n", __LINE__, #condition);     \
            abort();                                                          \
        }                                                                     \
    } while (0)

static uint32_t generator = 1;

static uint32_t below(uint32_t n) /* 0..n-1 by xorshift32. pre: n > 0 */
{
    generator ^= generator << 13;
    generator ^= generator >> 17;
    generator ^= generator << 5;
    return (generator >> 3) % n;
}

/// Mutations ///

/* Changes one to four fields, either of header and records or anywhere: to a telling number, to a near one, or by a bit. */
static void change_fields(uint8_t *image, size_t n)
{
    static const uint32_t TELLING[] = {0, 1, 2, 3, 8, 15, 16, 17, 31, 32, 33, 63, 64, 127, 128, 255, 256, 1024, 1025, 2047, 4096,
                                       16384, 16385, 32767, 65535, 65536, 1u << 20, 1u << 24, 0x7FFFFFFFu, 0x80000000u, 0xFFFFFFFCu};
    const size_t records_end = 64 + 64 * (size_t)get(image + 40, 2), head = records_end < n ? records_end : n;
    const uint32_t reach = (uint32_t)(below(2) == 0 ? n : head);
    for (uint32_t changes = 1 + below(4); changes > 0; changes--) {
        const size_t width = (size_t)1 << below(3), at = below(reach - 3) / width * width;
        const uint32_t kind = below(3), old = get(image + at, width);
        const uint32_t v = kind == 0 ? TELLING[below(sizeof TELLING / sizeof *TELLING)]
                                     : kind == 1 ? old + below(17) - 8u : old ^ 1u << below(8 * (uint32_t)width);
        memcpy(image + at, &v, width);
    }
}

/* Mutates `n` bytes in place and returns the new length. */
static size_t mutate(uint8_t *image, size_t n)
{
    if (n >= 64) {
        change_fields(image, n);
        n -= below(64) == 0 ? below((uint32_t)n) : 0;
    }
    seal(image, n);
    return n;
}

/// One image ///

static void *memory(size_t size, uint8_t fill)
{
    uint8_t *p = malloc(size);
    MUST(p != NULL || size == 0);
    if (size != 0) {
        memset(p, fill, size);
    }
    return p;
}

static unsigned long opened, refused, learned, damaged, merged[7], restored, lost;
static uint8_t last[MAX_IMAGE]; /* the last image that opened */
static size_t last_size;

/* Predicts and learns a few steps, on inputs of random density. */
static void use(mb_model *m, uint8_t *x, int32_t *scores)
{
    const uint16_t classes = mb_classes(m), size = mb_input_size(m);
    const uint32_t density = below(3);
    for (int step = 0; step < 8; step++) {
        uint16_t label = 0xFFFF;
        mb_learn_info info;
        for (unsigned i = 0; i < size; i++) {
            x[i] = (uint8_t)(density == 0 ? below(256) : density == 1 ? 255 : below(256) & below(256) & below(256));
        }
        MUST(mb_predict(m, x, scores, &label) == MB_OK && label < classes);
        const mb_status status = mb_learn(m, x, (uint16_t)below(classes), &info);
        MUST(status == MB_E_FROZEN || status == MB_E_LABEL || (status == MB_OK && info.predicted < classes && info.flipped <= info.moved));
        learned += status == MB_OK;
    }
}

/* RAM that fails: the integers are others, the memory is not. A few bits flip, or every byte of the arrays is random or extreme. */
static void break_state(uint8_t *state, uint32_t len)
{
    const uint32_t way = below(8), extreme = below(4);
    for (uint32_t flips = 1 + below(4); flips > 0; flips--) {
        state[below(len)] ^= (uint8_t)(1u << below(8));
    }
    for (uint32_t i = 16; way < 3 && i < len; i++) {
        state[i] = (uint8_t)(way == 0 ? below(256) : extreme == 0 ? 0x80 : extreme == 1 ? 0x7F : extreme == 2 ? 0xFF : (i & 1u) * 0x80u);
    }
}

/* m takes over what fits of the image that opened before it: what comes of it is a state that an image can hold. */
static void update(mb_model *m, const uint8_t *before, size_t n, uint8_t *x, int32_t *scores)
{
    mb_model old;
    mb_merged told;
    const size_t size = get(m->image + 8, 4);
    MUST(mb_open(&old, before, n) == MB_OK && mb_merge(m, &old, NULL, &told) == MB_OK);
    MUST(told.kept <= mb_classes(m) && told.kept + told.fresh == mb_classes(m) && told.gone <= mb_classes(&old));
    uint8_t *const out = memory(size, 0);
    MUST(mb_export(m, out, size) == MB_OK);
    merged[told.result]++;
    free(out);
    use(m, x, scores);
}

/* Continues the checksum of metabit_store.h over n bytes, a multiple of 4. */
static uint32_t continue_sum(uint32_t sum, const uint8_t *p, size_t n)
{
    for (size_t at = 0; at < n; at += 4) {
        sum ^= get(p + at, 4);
        sum ^= sum >> 9 ^ sum >> 9 << 5;
        sum ^= sum << 23 ^ sum << 23 >> 8;
    }
    return sum;
}

/* Saves twice, with steps between and perhaps a power cut, damages what flash holds, or breaks the first saved state and mends its
 * checksums, and restores: whatever returns is a state that an image can hold. */
static void keep(mb_model *m, size_t state_len, uint8_t *x, int32_t *scores)
{
    nor flash = {0};
    flash.page_size = 512;
    flash.unit = 1u << below(6);
    flash.seed = generator;
    mb_store store = nor_store(&flash);
    const uint32_t size = mb_store_size(m, &store);
    if (size == 0 || size > MAX_IMAGE) {
        return;
    }
    store.pages = flash.pages = size / flash.page_size + below(3);
    flash.bytes = memory((size_t)flash.page_size * flash.pages, (uint8_t)below(256));
    flash.used = memory((size_t)flash.page_size * flash.pages / flash.unit, 0);
    memset(flash.used, 4, (size_t)flash.page_size * flash.pages / flash.unit);
    nor_power(&flash, below(4) == 0 ? 1 + below(400) : 0, (enum torn)below(TORN_KINDS));
    mb_status status = mb_save(m, &store);
    MUST(status == MB_OK || (status == MB_E_STORE && flash.off));
    use(m, x, scores);
    status = mb_save(m, &store);
    MUST(status == MB_OK || (status == MB_E_STORE && flash.off));
    nor_power(&flash, 0, TORN_NOT);
    const uint32_t way = below(4);
    for (uint32_t flips = way < 2 ? 1 + below(4) : 0; flips > 0; flips--) {
        flash.bytes[below(flash.page_size * flash.pages)] ^= (uint8_t)(1u << below(8));
    }
    if (way == 3 && flash.unit <= 4) { /* snapshot of slot 0: header, state, seal without gaps */
        break_state(flash.bytes + 16, (uint32_t)state_len);
        uint32_t sum = continue_sum(0x3153424D, flash.bytes, 12);
        memcpy(flash.bytes + 12, &sum, 4);
        sum = continue_sum(sum, flash.bytes + 16, state_len);
        if (16 + state_len + 8 <= flash.page_size * flash.pages) {
            memcpy(flash.bytes + 16 + state_len, &sum, 4);
        }
    }
    status = below(2) == 0 ? mb_restore(m, &store) : mb_restore_older(m, &store);
    MUST(status == MB_OK || status == MB_E_STORE || status == MB_E_NO_SNAPSHOT || status == MB_E_IDENTITY || status == MB_E_STATE_CRC ||
         status == MB_E_PADDING || status == MB_E_GENERATOR || status == MB_E_RULE);
    restored += status == MB_OK;
    lost += status == MB_E_PADDING || status == MB_E_GENERATOR || status == MB_E_RULE;
    MUST(mb_verify(m) == MB_OK);
    use(m, x, scores);
    free(flash.used);
    free(flash.bytes);
}

static void run(const uint8_t *image, size_t n)
{
    mb_model m, again;
    const mb_status status = mb_open(&m, image, n);
    if (status != MB_OK) {
        MUST((status <= MB_E_TRUNCATED && status >= MB_E_PADDING) || status == MB_E_WINDOW || status == MB_E_LEARNS);
        MUST(mb_state_size(&m) == 0 && mb_classes(&m) == 0);
        refused++;
        return;
    }
    opened++;
    const size_t state_len = mb_state_size(&m), infer = mb_arena_size(&m, MB_INFER), learn = mb_arena_size(&m, MB_LEARN);
    const size_t size = get(image + 8, 4);
    MUST(infer <= learn && mb_classes(&m) >= 2 && mb_input_size(&m) > 0 && size <= n);
    if (learn > MAX_ARENA) {
        return;
    }
    const size_t before_size = last_size;
    uint8_t *const before = memory(before_size, 0);
    memcpy(before, last, before_size);
    if (size <= MAX_IMAGE) {
        memcpy(last, image, size);
        last_size = size;
    }
    generator = crc32(image, 64) | 1u; /* an image found by libFuzzer does the same again */
    const mb_vectors vectors = (mb_vectors)below(MB_VECTORS);
    uint8_t *state = memory(state_len, 0xA5), *arena = memory(learn, 0xA5), *small = memory(infer, 0xA5);
    uint8_t *x = memory(mb_input_size(&m), 0x5A), *out = memory(size, 0);
    int32_t *scores = memory(sizeof *scores * mb_classes(&m), 0);
    uint16_t label;
    void *wide = NULL;

    MUST(mb_attach(&m, NULL, 0, small, infer) == MB_OK); /* from the image itself */
    MUST(mb_predict(&m, x, scores, &label) == MB_OK && label < mb_classes(&m));
    MUST(mb_attach(&m, state, state_len, arena, learn) == MB_OK);
    if (mb_vectors_runs(vectors) && mb_wide_size(&m, vectors) != 0) {
        wide = aligned_alloc(MB_WIDE_ALIGN, (mb_wide_size(&m, vectors) + MB_WIDE_ALIGN - 1) / MB_WIDE_ALIGN * MB_WIDE_ALIGN);
        MUST(wide != NULL && mb_widen(&m, vectors, wide, mb_wide_size(&m, vectors)) == MB_OK);
    }
    use(&m, x, scores);
    MUST(mb_export(&m, out, size) == MB_OK && mb_open(&again, out, size) == MB_OK);
    MUST(memcmp(out + size - state_len, state, state_len) == 0);
    MUST(mb_reopen(&again, image, n, mb_seal(&m)) == MB_OK && mb_reopen(&again, image, n, below(2)) == MB_OK);
    MUST(mb_reattach(&again, state, state_len, arena, learn) == MB_OK);
    use(&again, x, scores);

    if (before_size != 0) {
        MUST(mb_attach(&again, state, state_len, arena, learn) == MB_OK);
        update(&again, before, before_size, x, scores);
    }
    free(before);
    keep(&again, state_len, x, scores);

    uint8_t *const sent = memory(state_len, 0); /* a state that anybody may have made: refused, or safe */
    memcpy(sent, state, state_len);
    break_state(sent, (uint32_t)state_len);
    const mb_status adopted = mb_adopt(&again, sent, state_len);
    MUST(adopted == MB_OK ? memcmp(sent, state, state_len) == 0 : adopted == MB_E_PADDING || adopted == MB_E_GENERATOR || adopted == MB_E_RULE);
    if (adopted == MB_OK) {
        use(&again, x, scores);
        MUST(mb_export(&again, out, size) == MB_OK);
    }
    free(sent);

    break_state(state, (uint32_t)state_len);
    use(&m, x, scores);
    const mb_status named = mb_export(&m, out, size);
    MUST(named == MB_OK ? mb_open(&again, out, size) == MB_OK : named == MB_E_PADDING || named == MB_E_GENERATOR || named == MB_E_RULE);
    damaged += named != MB_OK;
    free(wide);
    free(scores);
    free(out);
    free(x);
    free(small);
    free(arena);
    free(state);
}

/// Inputs ///

static void report(void)
{
    fprintf(stderr, "fuzz: %lu opened, %lu refused, %lu steps learned, %lu damaged states refused, %lu and %lu merged, "
            "%lu restored, %lu saved states that were none\n", opened, refused,
            learned, damaged, merged[MB_MERGED_ALL], merged[MB_MERGED_CLASSES], restored, lost);
}

static void run_copy(const uint8_t *data, size_t n)
{
    uint8_t *image = memory(n, 0);
    if (n != 0) {
        memcpy(image, data, n);
        run(image, n);
    }
    free(image);
}

#ifndef OWN_LOOP
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t most, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t most);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (opened + refused == 0) {
        atexit(report);
    }
    run_copy(data, n);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t most, unsigned seed)
{
    generator = seed * 2654435761u | 1u;
    if (below(2) == 0 && last_size != 0 && last_size <= most) { /* from a refused image few ways lead back */
        memcpy(data, last, last_size);
        n = last_size;
    }
    if (below(16) == 0) {
        n = LLVMFuzzerMutate(data, n, most);
    }
    return mutate(data, n);
}
#else
int main(int argc, char **argv)
{
    static uint8_t image[MAX_IMAGE], changed[MAX_IMAGE];
    MUST(argc > 2);
    const time_t end = time(NULL) + atoi(argv[1]);
    for (uint32_t turn = 0; time(NULL) < end; turn++) {
        FILE *file = fopen(argv[2 + turn % (uint32_t)(argc - 2)], "rb");
        MUST(file != NULL);
        const size_t n = fread(image, 1, sizeof image, file);
        fclose(file);
        run_copy(image, n);
        for (uint32_t one = 0; one < 50; one++) {
            generator = (turn * 50 + one) * 2654435761u | 1u;
            memcpy(changed, image, n);
            size_t left = n;
            for (uint32_t rounds = 1 + below(3); rounds > 0; rounds--) {
                left = mutate(changed, left);
            }
            run_copy(changed, left);
        }
    }
    report();
    return 0;
}
#endif
