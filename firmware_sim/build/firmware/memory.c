/* The four functions that a C compiler may call on its own. memcpy and memset move whole words if both pointers are aligned. */
#include <stdint.h>
#include <string.h>

typedef uint32_t __attribute__((may_alias)) word;

/* Hides a pointer from the optimiser: otherwise the compiler turns the loop of memcpy into a call of memcpy. */
#define OPAQUE(pointer) __asm volatile("" : "+r"(pointer))

static inline int aligned(const void *p) { return ((uintptr_t)p & 3) == 0; }

void *memcpy(void *restrict to, const void *restrict from, size_t n) {
    uint8_t *t = to;
    const uint8_t *f = from;
    if (aligned(t) && aligned(f)) {
        for (; n >= 4; n -= 4, t += 4, f += 4) {
            *(word *)t = *(const word *)f;
            OPAQUE(t);
        }
    }
    for (; n > 0; n--) {
        *t++ = *f++;
        OPAQUE(t);
    }
    return to;
}

void *memmove(void *to, const void *from, size_t n) {
    uint8_t *t = to;
    const uint8_t *f = from;
    if ((uintptr_t)t <= (uintptr_t)f) {
        for (; n > 0; n--) {
            *t++ = *f++;
            OPAQUE(t);
        }
    } else {
        while (n-- > 0) {
            t[n] = f[n];
            OPAQUE(t);
        }
    }
    return to;
}

void *memset(void *to, int value, size_t n) {
    uint8_t *t = to;
    if (aligned(t)) {
        const uint32_t pattern = (uint8_t)value * 0x01010101u;
        for (; n >= 4; n -= 4, t += 4) {
            *(word *)t = pattern;
            OPAQUE(t);
        }
    }
    for (; n > 0; n--) {
        *t++ = (uint8_t)value;
        OPAQUE(t);
    }
    return to;
}

int memcmp(const void *a, const void *b, size_t n) {
    const uint8_t *left = a, *right = b;
    for (; n > 0; n--, left++, right++) {
        if (*left != *right) {
            return *left - *right;
        }
    }
    return 0;
}
