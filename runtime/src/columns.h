/* Carry-save addition of weight columns, one function per word width: included with LANES (the word type), ADD_COLUMNS (the
 * function's type and name), and for thumb1.h LDR and SHIFT (its load instruction, and log2 of its bytes) defined.
 *
 * v = start + 2 * sum over all runs of w[offset + list[from + i]], 32 (or 16) sums at once; v may be start. Sixteen inputs pass
 * through the adders of adder.h, whose four lowest planes stay in registers; the carries out of the fourth are stored and added by
 * eights after the loop: rippling them at once would cost a pass over all planes every sixteen inputs. */
ADD_COLUMNS(const LANES *first, const uint16_t *lists, const mb_run *run, uint32_t runs, const mb_word *start, uint32_t *v,
            unsigned planes, uint32_t *carry)
{
    uint32_t ones = start[1], twos = start[2], fours = start[3], eights = start[4];
    uint32_t *next = carry;

    for (const mb_run *const end = run + runs; run != end; run++) {
        const uint16_t *list = lists + run->from, *const last = list + (run->count & ~15u);
        /* as integers: it may lie before the first */
        const LANES *const w = (const LANES *)((uintptr_t)first + (uintptr_t)run->offset * sizeof *first);
#ifdef MB_THUMB1
        if (list != last) {
            MB_T1_SIXTEENS(LDR, SHIFT);
        }
#else
        while (list != last) {
            uint32_t e0, e1, h;
            MB_ADD_EIGHT(e0, 0);
            MB_ADD_EIGHT(e1, 8);
            MB_FULL_ADD(h, eights, eights, e0, e1);
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

    v[0] = start[0];
    v[1] = ones;
    v[2] = twos;
    v[3] = fours;
    v[4] = eights;
    if (planes > 8u) {
        const mb_word *above = start + 8; /* v's from the second turn on */
        ones = start[5], twos = start[6], fours = start[7];
        const uint32_t stored = (uint32_t)(next - carry);
        MB_ROLLED
        for (uint32_t fill = stored == 0 ? 8u : (0u - stored) & 7u; fill > 0; fill--) {
            *next++ = 0;
        }
        do {
            uint32_t x, p, y, q, left;
            MB_ADD_FOUR(x, p, carry[0], carry[1], carry[2], carry[3]);
            MB_ADD_FOUR(y, q, carry[4], carry[5], carry[6], carry[7]);
            MB_ADD_TWO_FOURS(left, x, p, y, q);
            carry += 8;
            uint32_t *to = v + 8;
            MB_ROLLED
            do {
                const uint32_t sum = *above++;
                *to++ = sum ^ left;
                left &= sum;
            } while (to != v + planes);
            above = v + 8;
        } while (carry != next);
        v[5] = ones, v[6] = twos, v[7] = fours;
    } else { /* few inputs */
        for (unsigned p = 5; p < planes; p++) {
            v[p] = start[p];
        }
        for (; carry != next; carry++) {
            mb_step_lanes(v + 5, planes - 5u, *carry, 1);
        }
    }
}
#undef SHIFT
#undef LDR
#undef LANES
#undef ADD_COLUMNS
