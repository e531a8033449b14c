/* The program that emulated.py runs on an emulated processor without a system: each set of vectors against none. */
#include <cpuid.h>

#include "wide.h"

extern const uint8_t cases[];
static _Alignas(64) uint8_t heap[48u << 20];
static size_t used;

/// Functions of a system ///

typedef uint8_t sixteen __attribute__((vector_size(16), aligned(1), may_alias));

__attribute__((optimize("no-tree-loop-distribute-patterns"))) void *memset(void *to, int value, size_t n)
{
    uint8_t *at = to;
    for (; n >= 16u; n -= 16u, at += 16) {
        *(sixteen *)(void *)at = (sixteen){0} + (uint8_t)value;
    }
    while (n-- > 0) {
        *at++ = (uint8_t)value;
    }
    return to;
}

__attribute__((optimize("no-tree-loop-distribute-patterns"))) void *memcpy(void *to, const void *from, size_t n)
{
    uint8_t *at = to;
    const uint8_t *x = from;
    for (; n >= 16u; n -= 16u, at += 16, x += 16) {
        *(sixteen *)(void *)at = *(const sixteen *)(const void *)x;
    }
    while (n-- > 0) {
        *at++ = *x++;
    }
    return to;
}

static void out(uint16_t port, char c)
{
    __asm__ volatile("outb %0, %1" : : "a"(c), "d"(port));
}

static void put(const char *text)
{
    while (*text != '\0') {
        out(0xE9, *text++); /* Bochs prints it */
    }
}

static void number(const char *name, uint64_t n)
{
    char digits[24] = {0}, *at = digits + 23;
    do {
        *--at = (char)('0' + n % 10u);
        n /= 10u;
    } while (n != 0);
    put(" ");
    put(name);
    put(" ");
    put(at);
}

static void end(const char *why)
{
    put(why);
    for (const char *s = "Shutdown"; *s != '\0'; s++) {
        out(0x8900, *s);
    }
    for (;;) {
    }
}

static void *take(size_t n)
{
    void *p = heap + used;
    used += (n + 63u) & ~(size_t)63u;
    if (used > sizeof heap) {
        end("no memory\n");
    }
    return memset(p, 0xA5, n);
}

/// Cases ///

/* A case of cases.bin: this, then image, inputs and labels, each from a multiple of 64 on. */
typedef struct test_case {
    char name[32];
    uint32_t image, inputs, steps, size; /* bytes, inputs, learning steps, bytes of all this */
    uint32_t none[4];
} test_case;

/* Fills result, which has room: scores of all inputs, learning steps with what they report, the state, scores again. Returns its
 * end. ticks: of the first predictions. */
static uint8_t *results(const test_case *t, mb_vectors vectors, uint8_t *result, uint64_t *ticks)
{
    const uint8_t *image = (const uint8_t *)(t + 1), *x = image + ((t->image + 63u) & ~63u);
    mb_model m;
    if (mb_open(&m, image, t->image) != MB_OK) {
        end("does not open\n");
    }
    const size_t state_size = mb_state_size(&m), arena_size = mb_arena_size(&m, MB_LEARN), size = mb_input_size(&m);
    const size_t wide_size = mb_wide_size(&m, vectors), scores_size = 4u * (size_t)mb_classes(&m);
    const uint16_t *labels = (const uint16_t *)(const void *)(x + ((t->inputs * size + 63u) & ~(size_t)63u));
    uint8_t *state = take(state_size), *arena = take(arena_size), *wide = take(wide_size);
    if (mb_attach(&m, state, state_size, arena, arena_size) != MB_OK || mb_widen(&m, vectors, wide, wide_size) != MB_OK ||
        mb_widened(&m) != vectors) {
        end("does not run on these vectors\n");
    }
    uint16_t label;
    for (int again = 0; again < 2; again++) {
        const uint64_t before = __builtin_ia32_rdtsc();
        for (uint32_t i = 0; i < t->inputs; i++, result += scores_size) {
            if (mb_predict(&m, x + i * size, (int32_t *)(void *)result, &label) != MB_OK) {
                end("does not predict\n");
            }
        }
        *ticks = again ? *ticks : __builtin_ia32_rdtsc() - before;
        for (uint32_t s = 0; s < t->steps && !again; s++) {
            mb_learn_info info = {0};
            const mb_status status = mb_learn(&m, x + s % t->inputs * size, labels[s], &info);
            const uint32_t all[6] = {(uint32_t)status, info.predicted, info.skipped, info.visited, info.moved, info.flipped};
            memcpy(result, all, sizeof all);
            result += sizeof all;
        }
    }
    memcpy(result, state, state_size);
    return result + state_size;
}

void emulated(void)
{
    uint32_t a, b, c, d, networks = 0, differ = 0;
    uint64_t predictions = 0, ticks;
    __cpuid_count(7, 0, a, b, c, d);
    put("processor: AVX-512");
    put(b >> 16 & 1u ? " F" : "");
    put(b >> 30 & 1u ? " BW" : "");
    put(b >> 31 ? " VL" : "");
    put(c >> 6 & 1u ? " VBMI2" : "");
    put(c >> 14 & 1u ? " VPOPCNTDQ" : "");
    put(", widest set: ");
    put(mb_vectors_name(mb_vectors_best()));
    put("\n");
    for (const test_case *t = (const void *)cases; t->size != 0; t = (const void *)((const uint8_t *)t + t->size), networks++) {
        used = 0;
        uint8_t *want = take(6u << 20), *got = take(6u << 20);
        const uint8_t *const want_end = results(t, MB_NO_VECTORS, want, &ticks);
        put(t->name);
        number("predictions", 2u * t->inputs);
        number("steps", t->steps);
        number("ticks none", ticks / t->inputs);
        predictions += 2u * t->inputs;
        const size_t kept = used;
        for (int v = MB_NO_VECTORS + 1; v < MB_VECTORS; v++) {
            if (!mb_vectors_runs((mb_vectors)v)) {
                continue;
            }
            used = kept;
            const size_t length = (size_t)(results(t, (mb_vectors)v, got, &ticks) - got);
            int same = length == (size_t)(want_end - want);
            for (size_t i = 0; same && i < length; i++) {
                same = got[i] == want[i];
            }
            differ += !same;
            number(mb_vectors_name((mb_vectors)v), ticks / t->inputs);
            put(same ? " equal" : " DIFFERENT");
        }
        put("\n");
    }
    number("networks", networks);
    number("predictions of each set", predictions);
    number("different", differ);
    end("\nend\n");
}
