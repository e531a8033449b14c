/* Carry-save addition of weight columns, one function per word width: included with LANES (the word type) and ADD_COLUMNS
 * (the function's type and name) defined.
 *
 * v[1..] += sum over the list of w[list[i]], 32 (or 16) sums at once. Sixteen inputs pass through a tree of full adders whose
 * four lowest planes stay in registers; the carries out of the fourth are stored and folded in pairs, plane by plane, after
 * the loop: rippling them at once would cost a pass over all planes every sixteen inputs. */
ADD_COLUMNS(const LANES *w, const uint16_t *list, uint32_t count, uint32_t *v, unsigned planes, uint32_t *carry)
{
    const uint16_t *const end = list + count; /* count is a multiple of 8: the list is padded */
    uint32_t ones = v[1], twos = v[2], fours = v[3], eights = v[4];
    uint32_t stored = 0;

#define MB_ADD_EIGHT(out)                                                      \
    do {                                                                       \
        uint32_t t0, t1, f0, f1;                                               \
        MB_FULL_ADD(t0, ones, ones, w[list[0]], w[list[1]]);                   \
        MB_FULL_ADD(t1, ones, ones, w[list[2]], w[list[3]]);                   \
        MB_FULL_ADD(f0, twos, twos, t0, t1);                                   \
        MB_FULL_ADD(t0, ones, ones, w[list[4]], w[list[5]]);                   \
        MB_FULL_ADD(t1, ones, ones, w[list[6]], w[list[7]]);                   \
        MB_FULL_ADD(f1, twos, twos, t0, t1);                                   \
        MB_FULL_ADD(out, fours, fours, f0, f1);                                \
        list += 8;                                                             \
    } while (0)

    while (list != end) {
        uint32_t e0, e1 = 0, h;
        MB_ADD_EIGHT(e0);
        if (list != end) {
            MB_ADD_EIGHT(e1);
        }
        MB_FULL_ADD(h, eights, eights, e0, e1);
        carry[stored++] = h;
    }
#undef MB_ADD_EIGHT

    v[1] = ones;
    v[2] = twos;
    v[3] = fours;
    v[4] = eights;
    for (unsigned p = 5; p < planes && stored > 0; p++) {
        const uint32_t pairs = stored >> 1;
        uint32_t sum = v[p];
        for (uint32_t i = 0; i < pairs; i++) { /* in place: entry i is written after entries 2i and 2i + 1 were read */
            uint32_t h;
            MB_FULL_ADD(h, sum, sum, carry[2 * i], carry[2 * i + 1]);
            carry[i] = h;
        }
        if (stored & 1u) {
            const uint32_t last = carry[2 * pairs];
            carry[pairs] = sum & last;
            sum ^= last;
        }
        v[p] = sum;
        stored = (stored + 1u) >> 1;
    }
}
#undef LANES
#undef ADD_COLUMNS
