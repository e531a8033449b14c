/* The inner loops of add_columns.inc and dense_bytes.c by hand, for cores with eight low registers (Cortex-M0, M0+, M1). cuts.c, gates.c,
 * levels.c and sampled_passes.c hold their own. On these cores compilers spill at every step and take a third to a half longer. It is compiled only where MB_THUMB1 is defined
 * (metabit.h, "Build"), because it needs all eight registers and so no frame pointer. The C code beside each use is the
 * reference. */
#ifndef MB_THUMB1_H
#define MB_THUMB1_H

#ifdef MB_THUMB1

/* x = w[list[i]]. LDR is "ldr" or "ldrh"; SHIFT turns an index into its offset. */
#define MB_T1_LOAD(x, i, LDR, SHIFT)              \
    "ldrh %[" x "], [%[list], #2 * " i "]\n"      \
    "lsls %[" x "], %[" x "], #" SHIFT "\n"       \
    LDR " %[" x "], [%[w], %[" x "]]\n"

/* Adds four words to s as MB_ADD_PAIRS of adder.h does, with no other register, and leaves (x, p) in (c, a). b is free
 * before c and d are loaded, and may be one of them. */
#define MB_T1_FOUR(s, a, b, c, d, i0, i1, i2, i3, LDR, SHIFT)                                  \
    MB_T1_LOAD(a, i0, LDR, SHIFT) MB_T1_LOAD(b, i1, LDR, SHIFT)                                \
    "eors %[" b "], %[" a "]\n"                                                                \
    MB_T1_FIRST(s, a, b)                                                                       \
    MB_T1_LOAD(c, i2, LDR, SHIFT) MB_T1_LOAD(d, i3, LDR, SHIFT)                                \
    "eors %[" d "], %[" c "]\n"                                                                \
    MB_T1_SECOND(s, a, c, d)

/* First half of it: x becomes the OR; p is free afterwards. */
#define MB_T1_FIRST(s, x, p)                                                                   \
    "eors %[" x "], %[" s "]\n"                                                                \
    "orrs %[" x "], %[" p "]\n"                                                                \
    "eors %[" s "], %[" p "]\n"

/* Second half of it: y, which held the OR, becomes p; q is free afterwards. */
#define MB_T1_SECOND(s, y, x, q)                                                               \
    "eors %[" x "], %[" s "]\n"                                                                \
    "bics %[" x "], %[" q "]\n"                                                                \
    "eors %[" y "], %[" x "]\n"                                                                \
    "eors %[" x "], %[" s "]\n"                                                                \
    "eors %[" s "], %[" q "]\n"

/* As MB_ADD_PAIR with the sum in a high register. The carry goes to `out`; s is overwritten. */
#define MB_T1_PAIR(out, sum, x, p, s)                                                          \
    "mov %[" out "], %[" sum "]\n"                                                             \
    "mov %[" s "], %[" out "]\n"                                                               \
    "eors %[" s "], %[" p "]\n"                                                                \
    "mov %[" sum "], %[" s "]\n"                                                               \
    "eors %[" out "], %[" x "]\n"                                                              \
    "ands %[" out "], %[" p "]\n"                                                              \
    "eors %[" out "], %[" x "]\n"

/* Adds eight inputs and leaves the carry out of the fours in a. */
#define MB_T1_EIGHT(i0, i1, i2, i3, i4, i5, i6, i7, LDR, SHIFT)                                \
    MB_T1_FOUR("o", "a", "b", "b", "c", i0, i1, i2, i3, LDR, SHIFT) /* (b, a) */               \
    "mov r12, %[t]\n"                                                                          \
    MB_T1_FOUR("o", "c", "d", "d", "t", i4, i5, i6, i7, LDR, SHIFT) /* (d, c) */               \
    "mov %[t], r12\n"                                                                          \
    MB_T1_FIRST("t", "b", "a")                                                                 \
    MB_T1_SECOND("t", "b", "d", "c") /* (d, b) */                                              \
    MB_T1_PAIR("a", "fours", "d", "b", "c")

/* Adds sixteen inputs a turn, at least one turn, until list == last. It works on the variables of adder.h. */
#define MB_T1_SIXTEENS(LDR, SHIFT)                                                             \
    do {                                                                                       \
        uint32_t a, b, c, d;                                                                   \
        __asm__(".syntax unified\n"                                                            \
                "1:\n"                                                                         \
                MB_T1_EIGHT("0", "1", "2", "3", "4", "5", "6", "7", LDR, SHIFT)                \
                "mov lr, %[a]\n"                                                               \
                MB_T1_EIGHT("8", "9", "10", "11", "12", "13", "14", "15", LDR, SHIFT)          \
                "mov %[b], lr\n"                                                               \
                "eors %[a], %[b]\n"                                                            \
                MB_T1_PAIR("c", "eights", "b", "a", "d")                                       \
                "mov %[d], %[next]\n"                                                          \
                "stm %[d]!, {%[c]}\n"                                                          \
                "mov %[next], %[d]\n"                                                          \
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
