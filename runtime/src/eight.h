/* Carry-save addition of eight words to bit-sliced sums of at least four planes, one function per type of word: included with
 * LANES (the type), ADD_EIGHT (the function's type and name) and MORE(carry), which may be 0 where no carry is left. */
ADD_EIGHT(LANES *v, unsigned planes, const LANES *w)
{
    LANES t0, t1, f0, f1, carry;
    MB_FULL_ADD_OF(LANES, t0, v[0], v[0], w[0], w[1]);
    MB_FULL_ADD_OF(LANES, t1, v[0], v[0], w[2], w[3]);
    MB_FULL_ADD_OF(LANES, f0, v[1], v[1], t0, t1);
    MB_FULL_ADD_OF(LANES, t0, v[0], v[0], w[4], w[5]);
    MB_FULL_ADD_OF(LANES, t1, v[0], v[0], w[6], w[7]);
    MB_FULL_ADD_OF(LANES, f1, v[1], v[1], t0, t1);
    MB_FULL_ADD_OF(LANES, carry, v[2], v[2], f0, f1);
    for (unsigned p = 3; p < planes && MORE(carry); p++) {
        const LANES x = v[p];
        v[p] = x ^ carry;
        carry &= x;
    }
}
#undef LANES
#undef ADD_EIGHT
#undef MORE
