/* The loop of columns.h by hand, for cores with eight low registers (Cortex-M0, M0+, M1), where compilers spill at every step and
 * take a sixth longer. Only where MB_THUMB1 asks for it (metabit.h, "Build"): it needs all eight, so no frame pointer. The C beside
 * it is the reference. */
#ifndef MB_THUMB1_H
#define MB_THUMB1_H

#ifdef MB_THUMB1

/* x = w[list[i]]; LDR is "ldr" or "ldrh", SHIFT turns an index into its offset. */
#define MB_T1_LOAD(x, i, LDR, SHIFT)              \
    "ldrh %[" x "], [%[list], #2 * " i "]\n"      \
    "lsls %[" x "], %[" x "], #" SHIFT "\n"       \
    LDR " %[" x "], [%[w], %[" x "]]\n"

/* b = a ^ b ^ c, a = their carry; s is lost. */
#define MB_T1_ADD(a, b, c, s)                     \
    "eors %[" b "], %[" a "]\n"                   \
    "mov %[" s "], %[" c "]\n"                    \
    "ands %[" s "], %[" b "]\n"                   \
    "bics %[" a "], %[" b "]\n"                   \
    "orrs %[" a "], %[" s "]\n"                   \
    "eors %[" b "], %[" c "]\n"

/* Eight inputs. Ones come in o and go out in c, twos come in t and go out in b, the carry out of the fours goes out in d. */
#define MB_T1_EIGHT(o, t, a, b, c, d, i0, i1, i2, i3, i4, i5, i6, i7, LDR, SHIFT)              \
    MB_T1_LOAD(a, i0, LDR, SHIFT) MB_T1_LOAD(b, i1, LDR, SHIFT) MB_T1_ADD(o, a, b, d)          \
    MB_T1_LOAD(b, i2, LDR, SHIFT) MB_T1_LOAD(c, i3, LDR, SHIFT) MB_T1_ADD(a, b, c, d)          \
    MB_T1_ADD(t, o, a, d)                                                                      \
    MB_T1_LOAD(a, i4, LDR, SHIFT) MB_T1_LOAD(c, i5, LDR, SHIFT) MB_T1_ADD(b, a, c, d)          \
    "mov r12, %[" t "]\n"                                                                      \
    MB_T1_LOAD(c, i6, LDR, SHIFT) MB_T1_LOAD(d, i7, LDR, SHIFT) MB_T1_ADD(a, c, d, t)          \
    MB_T1_ADD(o, b, a, d)                                                                      \
    "mov %[" t "], r12\n"                                                                      \
    "mov %[" d "], %[fours]\n"                                                                 \
    MB_T1_ADD(d, t, o, a)                                                                      \
    "mov %[fours], %[" t "]\n"

/* Sixteen inputs a turn, at least one turn, until list is last; works on the variables of columns.h. */
#define MB_T1_SIXTEENS(LDR, SHIFT)                                                             \
    do {                                                                                       \
        uint32_t a, b, c, d;                                                                   \
        __asm__(".syntax unified\n"                                                            \
                "1:\n"                                                                         \
                MB_T1_EIGHT("o", "t", "a", "b", "c", "d", "0", "1", "2", "3", "4", "5", "6", "7", LDR, SHIFT) \
                "mov lr, %[d]\n"                                                               \
                MB_T1_EIGHT("c", "b", "a", "t", "o", "d", "8", "9", "10", "11", "12", "13", "14", "15", LDR, SHIFT) \
                "mov %[a], %[eights]\n"                                                        \
                "mov %[b], lr\n"                                                               \
                MB_T1_ADD("a", "b", "d", "c")                                                  \
                "mov %[eights], %[b]\n"                                                        \
                "mov %[c], %[next]\n"                                                          \
                "stm %[c]!, {%[a]}\n"                                                          \
                "mov %[next], %[c]\n"                                                          \
                "adds %[list], #32\n"                                                          \
                "cmp %[list], %[last]\n"                                                       \
                "beq 2f\n" /* farther than a conditional jump reaches */                       \
                "b 1b\n"                                                                       \
                "2:\n"                                                                         \
                : [o] "+&l"(ones), [t] "+&l"(twos), [list] "+&l"(list), [a] "=&l"(a), [b] "=&l"(b), [c] "=&l"(c), \
                  [d] "=&l"(d), [fours] "+&h"(fours), [eights] "+&h"(eights), [next] "+&h"(next)  \
                : [w] "l"(w), [last] "h"(last)                                                 \
                : "r12", "lr", "cc", "memory");                                                \
    } while (0)
#endif
#endif
