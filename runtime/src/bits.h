/* The bit: the word type, and the order, meaning and padding of bits. No other file of the library packs or unpacks them.
 *
 * Bit 1 means +1 (or on), bit 0 means -1 (or off). Words are little-endian, least significant bit first, and padding bits
 * are zero. Weights are input-major: bit i of word [r][j] is the weight from input j to unit lanes * r + i, so that one
 * visited input serves a whole word of units. Sums are bit-sliced: plane p of 32 sums is one word that holds bit p of each. */
#ifndef MB_BITS_H
#define MB_BITS_H

#include <stdint.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "metabit images are read in place: little-endian cores only"
#endif

/* An image holds words and half words in one memory, so both types may alias it. */
#if defined(__GNUC__)
typedef uint32_t __attribute__((may_alias)) mb_word;
typedef uint16_t __attribute__((may_alias)) mb_half;
typedef int32_t __attribute__((may_alias)) mb_int;
typedef int16_t __attribute__((may_alias)) mb_short;
#else
typedef uint32_t mb_word;
typedef uint16_t mb_half;
typedef int32_t mb_int;
typedef int16_t mb_short;
#endif

/* Inlines even when the compiler optimises for size: one copy for each constant argument is shorter than tests at every use. */
#if defined(__GNUC__)
#define MB_INLINE static inline __attribute__((always_inline))
#define MB_NOINLINE static __attribute__((noinline)) /* keeps the stack frames of different work apart */
#define MB_ONE_COPY __attribute__((noinline))        /* for a function of several files that its own file would inline */
#else
#define MB_ONE_COPY
#define MB_INLINE static inline
#define MB_NOINLINE static
#endif

/* Calls f(flag, ...) through one inlined copy for each value of the flag. */
#define MB_SPECIALISE(flag, f, ...) ((flag) ? f(1, __VA_ARGS__) : f(0, __VA_ARGS__))

/* For functions whose time does not matter: clang would unroll and inline there. */
#if defined(__clang__)
#define MB_MINSIZE __attribute__((minsize))
#else
#define MB_MINSIZE
#endif

#define MB_WORDS(bits) (((uint32_t)(bits) + 31u) >> 5) /* number of words that hold so many bits */

/* Full adder of 32 lanes: a + b + c = low + 2 high. It takes five operations where the core has three-operand logic. */
#define MB_FULL_ADD_OF(type, high, low, a, b, c)        \
    do {                                                \
        const type a_ = (a), b_ = (b), c_ = (c);        \
        const type ab_ = a_ ^ b_, ac_ = a_ ^ c_;        \
        (low) = ab_ ^ c_;                               \
        (high) = a_ ^ (ab_ & ac_);                      \
    } while (0)
#define MB_FULL_ADD(high, low, a, b, c) MB_FULL_ADD_OF(uint32_t, high, low, a, b, c)

#if defined(__clang__)
#define MB_ROLLED _Pragma("clang loop unroll(disable)")
#define MB_UNROLLED
#elif defined(__GNUC__)
#define MB_ROLLED _Pragma("GCC unroll 1")
#define MB_UNROLLED _Pragma("GCC unroll 8") /* for loops of a constant number of turns, at most 8; clang unrolls them unasked */
#else
#define MB_ROLLED
#define MB_UNROLLED
#endif

/* Forces the compiler to finish all values before this point, in registers. Without it, compilers mix loads and sums until
 * the registers do not suffice. */
#if defined(__GNUC__)
#if defined(__clang__) && defined(__OPTIMIZE_SIZE__) /* telling clang that they change makes its code shorter, though slower */
#define MB_KEEP2(a, b) __asm__ volatile("" : "+r"(a), "+r"(b))
#else
#define MB_KEEP2(a, b) __asm__ volatile("" : : "r"(a), "r"(b))
#endif
#define MB_KEEP4(a, b, c, d) __asm__ volatile("" : : "r"(a), "r"(b), "r"(c), "r"(d))
#else
#define MB_KEEP2(a, b) ((void)0)
#define MB_KEEP4(a, b, c, d) ((void)0)
#endif

/* One stage of an 8-word bit transpose. For each pair a[i], a[i + step], it swaps bits (mask << shift) of the first with
 * bits mask of the second. */
MB_INLINE void mb_swap_bits(uint32_t *a, uint32_t shift, uint32_t step, uint32_t mask)
{
    MB_UNROLLED
    for (uint32_t pair = 0; pair < 4u; pair++) {
        const uint32_t i = pair + (pair & (0u - step)); /* i has a zero at the step's bit */
        const uint32_t t = ((a[i] >> shift) ^ a[i + step]) & mask;
        a[i + step] ^= t;
        a[i] ^= t << shift;
    }
}

/* Hides where a value came from: a constant stays in a register, where it can be the operand of a shifted one. */
#if defined(__GNUC__)
#define MB_OPAQUE(a) __asm__("" : "+r"(a))
#else
#define MB_OPAQUE(a) ((void)0)
#endif

/* Mask of the lanes of word r that exist among the first n: all ones except in the last word. pre: 32 r < n. */
static inline uint32_t mb_lane_mask(uint32_t n, uint32_t r)
{
    const uint32_t left = n - 32u * r;
    return left >= 32u ? 0xFFFFFFFFu : (1u << left) - 1u;
}

/* Mask of the lanes that exist in the last word of n. */
static inline uint32_t mb_last_mask(uint32_t n)
{
    return 0xFFFFFFFFu >> ((0u - n) & 31u);
}

static inline uint32_t mb_magnitude(int32_t x)
{
    return x < 0 ? 0u - (uint32_t)x : (uint32_t)x;
}

/* Appends the positions of the set bits of `v` to `list`, lowest first. */
static inline uint16_t *mb_list_bits(uint16_t *list, uint32_t v, uint32_t base)
{
#if defined(__GNUC__) && defined(__thumb2__) /* counting trailing zeros would reverse the word for each bit */
    __asm__("rbit %0, %0" : "+r"(v));
#define MB_LIST_ONE (*list++ = (uint16_t)(base + (uint32_t)__builtin_clz(v)), v &= ~(0x80000000u >> __builtin_clz(v)))
#elif defined(__GNUC__) && !defined(__ARM_ARCH_6M__)
#define MB_LIST_ONE (*list++ = (uint16_t)(base + (uint32_t)__builtin_ctz(v)), v &= v - 1u)
#endif
    if (v == 0) {
        return list;
    }
    do {
#ifdef MB_LIST_ONE
        MB_LIST_ONE;
#ifndef __OPTIMIZE_SIZE__ /* two a turn */
        if (v == 0) {
            break;
        }
        MB_LIST_ONE;
#endif
#else /* without an instruction that counts zeros, shifting is cheaper than emulating it */
        if (v & 1u) {
            *list++ = (uint16_t)base;
        }
        v >>= 1;
        base++;
#endif
    } while (v != 0);
    return list;
}
#undef MB_LIST_ONE

/* Reads n bits from bit `at` on. It touches no word that holds none of them. pre: 1 <= n <= 32. */
static inline uint32_t mb_bits_at(const uint32_t *words, uint32_t at, uint32_t n)
{
    const uint32_t shift = at & 31u;
    uint32_t v = words[at >> 5] >> shift;
    if (shift + n > 32u) {
        v |= words[(at >> 5) + 1u] << (32u - shift);
    }
    return n == 32u ? v : v & ((1u << n) - 1u);
}

/* ORs v into the words from bit `at` on. It touches the second word only if v reaches it. */
static inline void mb_or_bits(uint32_t *words, uint32_t at, uint32_t v)
{
    const uint32_t shift = at & 31u;
    words[at >> 5] |= v << shift;
    if (shift != 0 && (v >> (32u - shift)) != 0) {
        words[(at >> 5) + 1u] |= v >> (32u - shift);
    }
}

/* Collects bit b of four bytes into bits 0..3, the first byte's lowest. The multiplication adds shifted copies that never
 * overlap, so no carry occurs. */
static inline uint32_t mb_bit_of_four(uint32_t bytes, unsigned b)
{
    return (((bytes >> b) & 0x01010101u) * 0x10204080u) >> 28;
}

/* Reads word `index` of an array of words of 32 lanes or, if lanes16, of 16. Callers on hot paths pass lanes16 as a
 * constant. */
MB_INLINE uint32_t mb_lanes_at(const uint8_t *base, uint32_t index, uint32_t lanes16)
{
    return lanes16 ? ((const mb_half *)(const void *)base)[index] : ((const mb_word *)(const void *)base)[index];
}

MB_INLINE void mb_flip_lane(uint8_t *base, uint32_t index, uint32_t lane, uint32_t lanes16)
{
    if (lanes16) {
        mb_half *const word = (mb_half *)(void *)base + index;
        *word = (mb_half)(*word ^ 1u << lane);
    } else {
        ((mb_word *)(void *)base)[index] ^= 1u << lane;
    }
}

/* Carry when a constant bit (bit 0 of `bits`, the same in all lanes) is added to `plane`. */
static inline uint32_t mb_carry(uint32_t plane, uint32_t bits, uint32_t carry)
{
    return (bits & 1u) ? (plane | carry) : (plane & carry);
}

/* Sign of v + c in each lane, as a word. pre: planes >= 2, and v + c fits in `planes` bits. */
static inline uint32_t mb_sign_of_sum(const uint32_t *v, unsigned planes, int32_t c)
{
    const uint32_t *const top = v + planes - 1;
    uint32_t carry = 0, bits = (uint32_t)c;
    do {
        carry = mb_carry(*v, bits, carry);
        bits >>= 1;
    } while (++v != top);
    return *top ^ carry ^ (0u - (bits & 1u));
}

/* Mask of the lanes with -highest <= v < -lowest, computed as sign(v + lowest) ^ sign(v + highest); *reached = where
 * v + c >= 0. pre: the sums fit in `planes` bits. */
static inline uint32_t mb_range_mask(const uint32_t *v, unsigned planes, int32_t lowest, int32_t highest, int32_t c, uint32_t *reached)
{
    uint32_t low_carry = 0, high_carry = 0, carry = 0, low = (uint32_t)lowest, high = (uint32_t)highest, bits = (uint32_t)c;
    const uint32_t *const top = v + planes - 1;
    do {
        const uint32_t plane = *v;
        low_carry = mb_carry(plane, low, low_carry);
        high_carry = mb_carry(plane, high, high_carry);
        carry = mb_carry(plane, bits, carry);
        low >>= 1, high >>= 1, bits >>= 1;
    } while (++v != top);
    *reached = ~(*top ^ carry ^ (0u - (bits & 1u)));
    return low_carry ^ high_carry ^ (0u - ((low ^ high) & 1u));
}

/* Reads one lane of bit-sliced planes. mb_lane_value reads it as two's complement. */
static inline uint32_t mb_lane_bits(const uint32_t *v, unsigned planes, unsigned lane)
{
    uint32_t x = 0;
    for (const uint32_t *plane = v + planes; plane != v;) {
        x = 2u * x + ((*--plane >> lane) & 1u);
    }
    return x;
}

static inline int32_t mb_lane_value(const uint32_t *v, unsigned planes, unsigned lane)
{
    const uint32_t sign = 1u << (planes - 1u);
    return (int32_t)((mb_lane_bits(v, planes, lane) ^ sign) - sign);
}

/* Adds 1 to the lanes in `mask` of bit-sliced planes or, if not `up`, subtracts 1. */
static inline void mb_add_one_bit(mb_word *v, unsigned planes, uint32_t mask, int up)
{
    for (unsigned p = 0; p < planes && mask != 0; p++) {
        const uint32_t old = v[p];
        v[p] = old ^ mask;
        mask &= up ? old : ~old;
    }
}

/* table[w] = sum over four values of +x[i] where bit i of w is set, else -x[i]. One look-up then serves four weights. */
MB_INLINE void mb_signed_sums(int32_t x0, int32_t x1, int32_t x2, int32_t x3, int32_t *table)
{
    const int32_t none = -(x0 + x1 + x2 + x3), c = 2 * x2, d = 2 * x3;
    const int32_t low[4] = {none, none + 2 * x0, none + 2 * x1, none + 2 * x0 + 2 * x1};
    for (unsigned i = 0; i < 4u; i++, table++) {
        table[0] = low[i];
        table[4] = low[i] + c;
        table[8] = low[i] + d;
        table[12] = low[i] + c + d;
    }
}

/* Sum of +-x over 16, 28 or 32 values, from `count` = 4, 7 or 8 tables of four values, by the signs in w. */
MB_INLINE int32_t mb_look_up(const int32_t *tables, uint32_t w, uint32_t count)
{
    int32_t sum = tables[w & 15u] + tables[16u + ((w >> 4) & 15u)];
    sum += tables[32u + ((w >> 8) & 15u)] + tables[48u + ((w >> 12) & 15u)];
    if (count > 4u) {
        sum += tables[64u + ((w >> 16) & 15u)] + tables[80u + ((w >> 20) & 15u)] + tables[96u + ((w >> 24) & 15u)];
    }
    return count > 7u ? sum + tables[112u + (w >> 28)] : sum;
}

/// Streams of levels: level i of k bits is in bits i * k .. i * k + k - 1 of the words, in two's complement ///

/* Reads the level of k bits whose last bit is bit `last` of a stream, from the two bytes of which the second holds this bit. The first one
 * may be the byte before a stream, which is of the same image or state. pre: k <= 8. */
MB_INLINE int32_t mb_level_of(const uint8_t *stream, uint32_t last, uint32_t k)
{
    const uint8_t *const two = stream + (last >> 3) - 1;
    return (int32_t)((two[0] | (uint32_t)two[1] << 8) << (23u - (last & 7u))) >> (32u - k);
}

#endif
