/* The three inner loops of the head, two rows at a time: by pairs of 16 bits where the core has the DSP extension (Cortex-M4, M7, most
 * M33), by hand for eight low registers (Cortex-M0, M0+, M1), whose compilers spill at every step, and in C, which says the same.
 *
 * A function by hand saves its registers itself, so it can be compiled with any options. Its arguments are in r0 to r3, the others
 * on the stack; no compiler needs their names. */
#include "head.h"

#if MB_HAS_HEAD

#if defined(MB_HEAD_PAIRS) || defined(MB_HEAD_BY_HAND)
#define BY_HAND __attribute__((naked))
#define ASM(...) __asm__(".syntax unified\n" __VA_ARGS__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#endif

/// Cores with the DSP extension ///

#ifdef MB_HEAD_PAIRS

/* Words of weights may begin at any even address; these cores read them so. The first two values may come alone, with two zeros. */
BY_HAND uint64_t mb_head_products(const int8_t *first, const int8_t *second, const int8_t *x, uint32_t values)
{
    ASM("push {r4-r8, lr}; movs r4, #0; movs r5, #0; lsls r6, r3, #30; bpl 1f\n"
        "ldrh r6, [r2], #2; ldrh r7, [r0], #2; ldrh r8, [r1], #2; adds r3, r3, #2; b 2f\n"
        "1: ldr r6, [r2], #4; ldr r7, [r0], #4; ldr r8, [r1], #4\n"
        "2: sxtb16 r12, r6; sxtb16 r6, r6, ror #8\n"
        "sxtb16 lr, r7; smlad r4, r12, lr, r4; sxtb16 r7, r7, ror #8; smlad r4, r6, r7, r4\n"
        "sxtb16 lr, r8; smlad r5, r12, lr, r5; sxtb16 r8, r8, ror #8; smlad r5, r6, r8, r5\n"
        "subs r3, r3, #4; bne 1b\n"
        "mov r0, r4; mov r1, r5; pop {r4-r8, pc}\n");
}

#if MB_HAS_LEARN

/* S moves by (4 A r r - A S + z) >> 16. |16 r| <= 1440 and |A r / 4| <= 23040 are factors of 16 bits, and no sum reaches 2^27. */
BY_HAND void mb_head_move(mb_short *s, const mb_residual *residuals, const mb_residual *end, uint32_t rate, uint32_t z)
{
    ASM("push {r4-r11, lr}; ldrsh r5, [r2, #-4]; ldrsh r6, [r2, #-2]; ldr r4, [sp, #36]\n"
        "muls r5, r3, r5; asrs r5, r5, #6; muls r6, r3, r6; asrs r6, r6, #6\n" /* A r / 4 of both rows; in r4, r7 their z */
        "movw r7, #40503; adds r7, r7, r4; uxth r7, r7; rsbs r3, r3, #0; sub r8, r2, r1; add r8, r8, r0\n"
        "1: ldr r9, [r1], #4; ldr r10, [r0]; ldr r11, [r8]\n"
        "smlabb r12, r9, r5, r4; smlatb lr, r9, r5, r4; smlabb r12, r10, r3, r12; smlatb lr, r10, r3, lr\n"
        "pkhtb r12, lr, r12, asr #16; sadd16 r10, r10, r12\n"
        "smlabb r12, r9, r6, r7; smlatb lr, r9, r6, r7; smlabb r12, r11, r3, r12; smlatb lr, r11, r3, lr\n"
        "pkhtb r12, lr, r12, asr #16; sadd16 r11, r11, r12\n"
        "str r10, [r0], #4; str r11, [r8], #4; cmp r1, r2; bne 1b\n"
        "pop {r4-r11, pc}\n");
}

BY_HAND void mb_head_row_sums(const mb_short *s, uint32_t i, uint32_t values, const mb_word *w, int32_t *sums)
{
#define ADD_PRODUCTS(x, y) \
    "smlad r4, " x ", r10, r4; smlad r5, " y ", r10, r5; smlad r6, " x ", r11, r6; smlad r7, " y ", r11, r7\n"
    ASM("push {r4-r11, lr}; add r12, r3, r2, lsl #2; add r2, r3, r1, lsl #2\n" /* end of the weights; weights i and i + 1 */
        "adds r1, r1, #2; lsls r1, r1, #1\n" /* bytes from row i to row i + 1 */
        "movs r4, #0; movs r5, #0; movs r6, #0; movs r7, #0; cmp r3, r2; beq 2f\n"
        "1: ldr r9, [r0, r1]; ldr r8, [r0], #4; ldr r10, [r3], #4; ldr r11, [r3], #4; cmp r3, r2\n"
        ADD_PRODUCTS("r8", "r9")
        "bne 1b\n"
        "2: adds r3, r3, #8; cmp r3, r12; beq 4f; add r0, r0, r1, lsl #1\n" /* columns i and i + 1 of row i + 2 */
        "3: adds r1, r1, #4; ldr r8, [r0]; ldr r9, [r0, r1]; ldr r10, [r3], #4; ldr r11, [r3], #4\n"
        "add r0, r0, r1, lsl #1; pkhbt lr, r8, r9, lsl #16; pkhtb r9, r9, r8, asr #16; cmp r3, r12\n"
        ADD_PRODUCTS("lr", "r9")
        "bne 3b\n"
        "4: ldr r0, [sp, #36]; stm r0, {r4-r7}; pop {r4-r11, pc}\n");
#undef ADD_PRODUCTS
}
#endif

/// Cores with eight low registers ///

#elif defined(MB_HEAD_BY_HAND)

BY_HAND uint64_t mb_head_products(const int8_t *first, const int8_t *second, const int8_t *x, uint32_t values)
{
#define TIMES_X(row, sum) \
    "ldrsh r6, [" row ", r3]; sxtb r7, r6; muls r7, r5, r7; add " sum ", r7; asrs r6, r6, #8; muls r6, r4, r6; add " sum ", r6\n"
#define TWO_VALUES \
    "ldrsh r4, [r2, r3]; sxtb r5, r4; asrs r4, r4, #8\n" TIMES_X("r0", "r12") TIMES_X("r1", "lr") "subs r3, r3, #2\n"
    ASM("push {r4-r7, lr}; movs r4, #0; mov r12, r4; mov lr, r4; subs r3, r3, #2; lsls r4, r3, #30; bmi 1f\n"
        TWO_VALUES
        "bmi 2f\n"
        "1:\n" TWO_VALUES TWO_VALUES
        "bpl 1b\n"
        "2: mov r0, r12; mov r1, lr; pop {r4-r7, pc}\n");
#undef TWO_VALUES
#undef TIMES_X
}

#if MB_HAS_LEARN

/* Moves one row, two entries at a time, and returns the next. */
BY_HAND static mb_short *move_row(mb_short *s, const mb_residual *r, const mb_residual *end, int32_t kept, int32_t pull, uint32_t z)
{
    ASM("push {r4-r7, lr}; mov lr, r2; ldr r7, [sp, #20]; ldr r4, [sp, #24]; mov r12, r4\n"
        "1: ldr r2, [r0]; ldm r1!, {r4, r5}\n"
        "sxth r6, r2; muls r6, r3, r6; muls r4, r7, r4; adds r6, r6, r4; add r6, r12; lsrs r6, r6, #16\n"
        "asrs r2, r2, #16; muls r2, r3, r2; muls r5, r7, r5; adds r2, r2, r5; add r2, r12; lsrs r2, r2, #16\n"
        "lsls r2, r2, #16; orrs r2, r6; stm r0!, {r2}; cmp r1, lr; bne 1b\n"
        "pop {r4-r7, pc}\n");
}

BY_HAND void mb_head_row_sums(const mb_short *s, uint32_t i, uint32_t values, const mb_word *w, int32_t *sums)
{
#define ADD_PRODUCTS(x, y) /* of x and y with both halves of r4; it changes all of them */                 \
    "sxth r7, r4; muls r7, " x ", r7; add r12, r7; sxth r7, r4; muls r7, " y ", r7; add lr, r7\n"          \
    "asrs r4, r4, #16; muls " x ", r4, " x "; add r10, " x "; muls " y ", r4, " y "; add r11, " y "\n"
#define ROW_BELOW \
    "ldr r1, [r5]; adds r5, r5, r0; ldm r3!, {r4}; sxth r6, r1; asrs r1, r1, #16\n" ADD_PRODUCTS("r6", "r1")
    ASM("push {r4-r7, lr}; mov r4, r10; mov r5, r11; lsls r2, r2, #2; adds r2, r2, r3; push {r2, r4, r5}\n" /* r2: end of the weights */
        "movs r4, #0; mov r12, r4; mov lr, r4; mov r10, r4; mov r11, r4\n"
        "lsls r1, r1, #1; adds r0, r0, r1; adds r5, r0, r1; adds r5, r5, #4\n" /* r0, r5: column i of rows i and i + 1 */
        "rsbs r6, r1, #0; beq 2f\n"
        "1: ldrsh r1, [r0, r6]; ldrsh r2, [r5, r6]; ldm r3!, {r4}\n"
        ADD_PRODUCTS("r1", "r2")
        "adds r6, r6, #2; bne 1b\n"
        "2: adds r3, r3, #8; pop {r2}; subs r0, r5, r0; adds r5, r5, r0; cmp r3, r2; beq 4f\n" /* r0: bytes from a row to the next */
        "3: adds r0, r0, #4\n" ROW_BELOW ROW_BELOW
        "cmp r3, r2; bne 3b\n"
        "4: mov r3, r12; mov r4, lr; mov r5, r10; mov r6, r11; pop {r0, r1}; mov r10, r0; mov r11, r1\n"
        "ldr r0, [sp, #20]; stm r0!, {r3-r6}; pop {r4-r7, pc}\n");
#undef ROW_BELOW
#undef ADD_PRODUCTS
}
#endif

/// All others ///

#else

uint64_t mb_head_products(const int8_t *first, const int8_t *second, const int8_t *x, uint32_t values)
{
    int32_t a = 0, b = 0;
    for (uint32_t j = 0; j < values; j++) {
        a += first[j] * x[j];
        b += second[j] * x[j];
    }
    return (uint32_t)a | (uint64_t)(uint32_t)b << 32;
}

#if MB_HAS_LEARN

static mb_short *move_row(mb_short *s, const mb_residual *r, const mb_residual *end, int32_t kept, int32_t pull, uint32_t z)
{
    for (; r != end; r++, s++) {
        *s = (int16_t)((*s * kept + pull * *r + (int32_t)z) >> 16);
    }
    return s;
}

void mb_head_row_sums(const mb_short *s, uint32_t i, uint32_t values, const mb_word *w, int32_t *sums)
{
    int32_t a = 0, b = 0, c = 0, d = 0;
    const mb_word *const own = w + i, *const end = w + values;
    const mb_short *next = s + i + 2u;
#define ADD_PRODUCTS(x, y)                                          \
    do {                                                            \
        const int32_t x_ = (x), y_ = (y);                           \
        const int32_t one = (int16_t)*w, other = (int32_t)*w >> 16; \
        a += x_ * one;                                              \
        b += y_ * one;                                              \
        c += x_ * other;                                            \
        d += y_ * other;                                            \
        w++;                                                        \
    } while (0)
    for (; w != own; s++, next++) {
        ADD_PRODUCTS(*s, *next);
    }
    w += 2;
    s = next + i + 2u; /* columns i and i + 1 of row i + 2 */
    for (uint32_t length = i + 4u; w != end; length += 2u) {
        ADD_PRODUCTS(s[0], s[1]);
        s += length;
        ADD_PRODUCTS(s[0], s[1]);
        s += length;
    }
#undef ADD_PRODUCTS
    sums[0] = a;
    sums[1] = b;
    sums[2] = c;
    sums[3] = d;
}
#endif
#endif

/// On every core ///

/* |sum| <= 128 * 128 * 32768 = 2^29 */
int32_t mb_head_offset(const mb_head *h, uint32_t row)
{
    const int8_t *w = h->weights + row * h->values;
    const mb_short *mean = h->means + row * h->values, *const end = mean + h->values;
    int32_t sum = 0;
    while (mean != end) {
        sum += *w++ * *mean++;
    }
    return -(sum >> 4);
}

#if MB_HAS_LEARN && !defined(MB_HEAD_PAIRS)
void mb_head_move(mb_short *s, const mb_residual *residuals, const mb_residual *end, uint32_t rate, uint32_t z)
{
    for (const mb_residual *own = end - 2; own != end; own++, z = (z + 40503u) & 65535u) {
        s = move_row(s, residuals, end, (int32_t)(65536u - rate), 4 * (int32_t)rate * *own, z);
    }
}
#endif
#ifdef BY_HAND
#pragma GCC diagnostic pop
#endif
#endif
