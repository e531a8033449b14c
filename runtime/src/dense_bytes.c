/* Dense layers on 8-bit inputs. The input is cut into planes, and the columns of a plane's active inputs enter the counters
 * at the plane's place. Zeros cost nothing, and many pictures are mostly zeros.
 *
 * The fast kernel uses planes of signed digits, because a byte has fewer digits than bits: 255 is 256 - 1. All places of 32
 * units follow one another, so that a place's sums stay in registers while the next place's come on top. The small kernel
 * uses the eight bit planes and adds each by itself. */
#include <string.h>

#include "adder.h"
#include "layers.h"
#include "thumb1.h"

#if MB_HAS_BYTES

/* out = activations, from V + extra of all units. Each 32 units take `room` words of v. */
static void put_signs(const mb_layer *l, const uint32_t *v, uint32_t room, uint32_t extra, uint32_t *out)
{
    for (uint32_t r = 0; r < MB_WORDS(l->units); r++, v += room) {
        out[r] = ~mb_sign_of_sum(v, l->planes, -(int32_t)extra) & mb_lane_mask(l->units, r);
    }
}

#ifdef __OPTIMIZE_SIZE__ /* a kilobyte smaller and slower by a third */
void mb_slice_bytes(const uint8_t *input, uint32_t n, uint32_t *planes)
{
    const uint32_t words = MB_WORDS(n);
    memset(planes, 0, 4u * 8u * words);
    for (uint32_t i = 0; i < n; i += 4u) {
        uint32_t four = 0;
        memcpy(&four, input + i, n - i < 4u ? n - i : 4u);
        for (unsigned b = 0; four != 0 && b < 8u; b++) {
            planes[b * words + (i >> 5)] |= mb_bit_of_four(four, b) << (i & 31u);
        }
    }
}

/* V = fold + 2 * sum over b of 2^b * (columns of plane b) - sum of the inputs (docs/learning-rule.md, "Sums"). */
void mb_dense_bytes(const mb_layer *l, const mb_arena *arena, const uint32_t *bits, uint32_t *out)
{
    const uint32_t groups = MB_WORDS(l->units), pitch = l->inputs + 1u;
    const mb_word *sign = (const mb_word *)(const void *)l->sign;
    uint32_t sum = 0;
    memcpy(arena->kernel_scratch, l->fold, 4u * groups * l->planes);
    for (unsigned b = 0; b < 8u; b++, bits += MB_WORDS(l->inputs)) {
        const uint32_t active = mb_active_inputs(bits, l->inputs, arena->active);
        const mb_run all = mb_whole_list(active);
        uint32_t *v = arena->kernel_scratch + b;
        sum += active << b;
        for (uint32_t r = 0; r < groups; r++, v += l->planes) {
            mb_add_columns(sign + r * pitch, arena->active, &all, 1, v, v, l->planes - b, arena->carry);
        }
    }
    put_signs(l, arena->kernel_scratch, l->planes, sum, out);
}
#else
enum { PLACES = 9 }; /* places of a byte's signed digits; each has a plane of +1 and one of -1, but 256 has no -1 */

/* Transposes 32 bytes into their eight planes. pre: a holds words 0, 4, 1, 5, 2, 6, 3, 7 of them. */
static void transpose_bytes(uint32_t *a)
{
    mb_swap_bits(a, 16, 2, 0x0000FFFFu);
    mb_swap_bits(a, 8, 1, 0x00FF00FFu);
    mb_swap_bits(a, 4, 4, 0x0F0F0F0Fu);
    mb_swap_bits(a, 2, 2, 0x33333333u);
    mb_swap_bits(a, 1, 1, 0x55555555u);
}

void mb_slice_bytes(const uint8_t *input, uint32_t n, uint32_t *planes)
{
    const uint32_t words = MB_WORDS(n);
    for (uint32_t word = 0; word < words; word++) {
        uint32_t a[PLACES + 1u] = {0}, any = 0, carry = 0, *to = planes + word;
        for (uint32_t i = 0; i < 8u && n != 0; i++) {
            uint32_t four = 0;
            if (n >= 4u) { /* a constant size compiles to one load */
                memcpy(&four, input, 4);
                input += 4;
                n -= 4u;
            } else {
                memcpy(&four, input, n);
                n = 0;
            }
            a[(i >> 1) + 4u * (i & 1u)] = four;
            any |= four;
        }
        if (any != 0) {
            transpose_bytes(a);
        }
        for (unsigned p = 0; p < PLACES; p++, to += words) { /* an odd rest gives digit 1, or -1 where the next bit is set */
            const uint32_t digit = a[p] ^ carry, minus = digit & a[p + 1u];
            *to = digit ^ minus;
            if (p + 1u < PLACES) {
                to += words;
                *to = minus;
            }
            carry = (carry & ~digit) | minus;
        }
    }
}

/* Lists of places first .. last - 1, each place's plus list before its minus list, one behind the other. */
typedef struct digits {
    unsigned first, last;
    uint16_t count[2 * PLACES]; /* padded to a multiple of 8 */
    uint16_t carries[PLACES];   /* words that both lists of a place put into arena->carry */
} digits;

/* Lists the places from d->last on until more than K inputs are listed. Returns by how much the sums will be above V: by the
 * inputs, and by 16 times the place for each carry of a minus list (see add_digits). */
static uint32_t list_digits(const uint32_t *planes, uint32_t inputs, digits *d, uint16_t *list)
{
    const uint32_t words = MB_WORDS(inputs);
    const uint16_t *const enough = list + inputs;
    uint32_t extra = 0;
    unsigned p = d->first = d->last;
    for (planes += 2u * p * words; p < PLACES && list <= enough; p++) {
        d->carries[p] = 0;
        for (unsigned minus = 0; minus < 2u; minus++, planes += words) {
            const uint32_t active = p + minus < PLACES ? mb_active_inputs(planes, inputs, list) : 0;
            const uint32_t count = (active + 7u) & ~7u, carries = (count + 8u) >> 4;
            extra += minus ? (carries << (p + 5u)) - (active << p) : active << p;
            d->count[2u * p + minus] = (uint16_t)count;
            d->carries[p] = (uint16_t)(d->carries[p] + carries);
            list += count;
        }
    }
    d->last = p;
    return extra;
}

/* v += 2 * the columns of the lists at their places. v begins with the plane of the first place. Sixteen inputs pass through
 * a tree of adders as in add_columns.inc; when a place is done its lowest plane is final, and the next place takes over the
 * planes above. Carries out of the fourth plane go to `next`. A minus list counts down in complement: 15 - (15 - sum + n) =
 * sum - n. A carry c out of it must be subtracted at 16 times the place; the complement 1 - c is stored, and list_digits
 * accounts for the 1. */
MB_NOINLINE void add_digits(const mb_word *w, const uint16_t *list, const digits *lists, uint32_t *v, uint32_t *next)
{
    uint32_t ones = v[0], twos = v[1], fours = v[2], eights = v[3], e;
    const uint16_t *count = lists->count + 2u * lists->first, *const end = lists->count + 2u * lists->last;
    for (unsigned minus = 0; count != end; count++, minus ^= 1u) {
        uint32_t *out = next;
        if (minus) {
            ones = ~ones, twos = ~twos, fours = ~fours, eights = ~eights;
        }
        const uint16_t *const last = list + (*count & ~15u);
#ifdef MB_THUMB1
        if (list != last) {
            MB_T1_SIXTEENS("ldr", "2");
        }
#else
        while (list != last) {
            uint32_t f;
            MB_ADD_EIGHT(e, 0);
            MB_ADD_EIGHT(f, 8);
            MB_FULL_ADD(e, eights, eights, e, f);
            *next++ = e;
            list += 16;
        }
#endif
        if (*count & 8u) {
            MB_ADD_EIGHT(e, 0);
            *next++ = eights & e;
            eights ^= e;
            list += 8;
        }
        if (minus) {
            ones = ~ones, twos = ~twos, fours = ~fours, eights = ~eights;
            MB_ROLLED
            for (; out != next; out++) {
                *out = ~*out;
            }
            *v++ = ones, ones = twos, twos = fours, fours = eights, eights = v[3];
        }
    }
    v[0] = ones, v[1] = twos, v[2] = fours;
}

/* Adds the carries to v, column by column, in place: column p's carries overwrite the end of its own words, directly in
 * front of column p + 1's words, and are added there. */
MB_NOINLINE void add_carries(const digits *d, uint32_t *v, const uint32_t *end, uint32_t *at)
{
    const uint16_t *stored = d->carries + d->first, *const none = d->carries + d->last;
    MB_ROLLED
    for (uint32_t n = 0; v != end; n = (n + 1u) >> 1, v++) {
        n += stored < none ? *stored++ : 0;
        uint32_t *from = at + n, sum = *v;
        at = from;
        MB_ROLLED
        for (uint32_t fours = n >> 2; fours != 0; fours--) {
            from -= 4;
            at -= 2;
            MB_FULL_ADD(at[1], sum, sum, from[2], from[3]);
            MB_FULL_ADD(at[0], sum, sum, from[0], from[1]);
        }
        if (n & 2u) {
            from -= 2;
            MB_FULL_ADD(*--at, sum, sum, from[0], from[1]);
        }
        if (n & 1u) {
            const uint32_t a = *--from;
            *--at = sum & a;
            sum ^= a;
        }
        *v = sum;
    }
}

/* V = fold + 2 * sum over p of 2^p * (columns of place p) - sum of the inputs (docs/learning-rule.md, "Sums"), plus what
 * list_digits returns. */
void mb_dense_bytes(const mb_layer *l, const mb_arena *arena, const uint32_t *planes, uint32_t *out)
{
    const uint32_t groups = MB_WORDS(l->units), pitch = l->inputs + 1u, room = l->planes + 2u;
    digits d; /* room: the last place needs two planes more */
    uint32_t extra = 0;
    d.last = 0;
    for (uint32_t r = 0; r < groups; r++) {
        memcpy(arena->kernel_scratch + r * room, l->fold + r * l->planes, 4u * l->planes);
    }
    while (d.last < PLACES) {
        const mb_word *w = (const mb_word *)(const void *)l->sign;
        uint32_t *v = arena->kernel_scratch;
        extra += list_digits(planes, l->inputs, &d, arena->active);
        for (uint32_t r = 0; r < groups; r++, w += pitch, v += room) {
            add_digits(w, arena->active, &d, v + 1u + d.first, arena->carry);
            add_carries(&d, v + 5u + d.first, v + room, arena->carry);
        }
    }
    put_signs(l, arena->kernel_scratch, room, extra, out);
}
#endif

#endif
