/* Carry-save addition of weight columns, one function per word width: included with LANES (the word type), ADD_COLUMNS (the
 * function's type and name), and for thumb1.h LDR and SHIFT (its load instruction, and log2 of its bytes) defined.
 *
 * v[1..] += sum over all runs of w[offset + list[from + i]], 32 (or 16) sums at once. Sixteen inputs pass through a tree of full
 * adders whose four lowest planes stay in registers; the carries out of the fourth are stored and folded in pairs, plane by
 * plane, after the loop: rippling them at once would cost a pass over all planes every sixteen inputs. */
ADD_COLUMNS(const LANES *first, const uint16_t *lists, const mb_run *run, uint32_t runs, uint32_t *v, unsigned planes,
            uint32_t *carry)
{
    uint32_t ones = v[1], twos = v[2], fours = v[3], eights = v[4];
    uint32_t *next = carry;

    /* A load right after another one takes a cycle less on most cores: four indices, then their four words. */
#define MB_ADD_FOUR(out, at)                                                                       \
    do {                                                                                           \
        uint32_t a = list[at], b = list[(at) + 1], c = list[(at) + 2], d = list[(at) + 3], t0, t1; \
        MB_FOUR_HERE(a, b, c, d);                                                                  \
        a = w[a], b = w[b], c = w[c], d = w[d];                                                    \
        MB_FOUR_HERE(a, b, c, d);                                                                  \
        MB_ADD_NOW(t0, ones, a, b);                                                                \
        MB_ADD_NOW(t1, ones, c, d);                                                                \
        MB_ADD_NOW(out, twos, t0, t1);                                                             \
    } while (0)
#define MB_ADD_NOW(high, sum, a, b)                                                                \
    do {                                                                                           \
        MB_FULL_ADD(high, sum, sum, a, b);                                                         \
        MB_TWO_HERE(high, sum);                                                                    \
    } while (0)
#define MB_ADD_EIGHT(out, at)                                                                      \
    do {                                                                                           \
        uint32_t f0, f1;                                                                           \
        MB_ADD_FOUR(f0, at);                                                                       \
        MB_ADD_FOUR(f1, (at) + 4);                                                                 \
        MB_ADD_NOW(out, fours, f0, f1);                                                            \
    } while (0)

    for (const mb_run *const end = run + runs; run != end; run++) {
        const uint16_t *list = lists + run->from, *const last = list + (run->count & ~15u);
        const LANES *const w = (const LANES *)((uintptr_t)first + (uintptr_t)run->offset * sizeof *first); /* perhaps before the first */
#ifdef MB_THUMB1
        if (list != last) {
            MB_T1_SIXTEENS(LDR, SHIFT);
        }
#else
        while (list != last) {
            uint32_t e0, e1, h;
            MB_ADD_EIGHT(e0, 0);
            MB_ADD_EIGHT(e1, 8);
            MB_ADD_NOW(h, eights, e0, e1);
            *next++ = h;
            list += 16;
        }
#endif
        if (run->count & 8u) { /* the count is a multiple of 8 */
            uint32_t e;
            MB_ADD_EIGHT(e, 0);
            *next++ = eights & e;
            eights ^= e;
        }
    }
#undef MB_ADD_EIGHT
#undef MB_ADD_NOW
#undef MB_ADD_FOUR

    v[1] = ones;
    v[2] = twos;
    v[3] = fours;
    v[4] = eights;
    uint32_t stored = (uint32_t)(next - carry);
    for (unsigned p = 5; p < planes && stored > 0; p++) {
        const uint32_t *from = carry;
        uint32_t sum = v[p], *to = carry;
        for (uint32_t pairs = stored >> 1; pairs > 0; pairs--) { /* in place: an entry is written after two later ones were read */
            uint32_t h;
            MB_FULL_ADD(h, sum, sum, from[0], from[1]);
            from += 2;
            *to++ = h;
        }
        if (stored & 1u) {
            const uint32_t last = *from;
            *to = sum & last;
            sum ^= last;
        }
        v[p] = sum;
        stored = (stored + 1u) >> 1;
    }
}
#undef SHIFT
#undef LDR
#undef LANES
#undef ADD_COLUMNS
