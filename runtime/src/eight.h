/* Carry-save addition of eight words to bit-sliced sums of at least four planes, one function per type of word: included with
 * LANES (the type), ADD_EIGHT (the function's type and name) and MORE(carry), which may be 0 where no carry is left. */
ADD_EIGHT(LANES *v, unsigned planes, const LANES *w)
{
    LANES ones = v[0], twos = v[1], fours = v[2], t0, t1, f0, f1, carry; /* w might overlap v for all the compiler knows */
    MB_FULL_ADD_OF(LANES, t0, ones, ones, w[0], w[1]);
    MB_FULL_ADD_OF(LANES, t1, ones, ones, w[2], w[3]);
    MB_FULL_ADD_OF(LANES, f0, twos, twos, t0, t1);
    MB_FULL_ADD_OF(LANES, t0, ones, ones, w[4], w[5]);
    MB_FULL_ADD_OF(LANES, t1, ones, ones, w[6], w[7]);
    MB_FULL_ADD_OF(LANES, f1, twos, twos, t0, t1);
    MB_FULL_ADD_OF(LANES, carry, fours, fours, f0, f1);
    v[0] = ones;
    v[1] = twos;
    v[2] = fours;
    for (unsigned p = 3; p < planes && MORE(carry); p++) {
        const LANES x = v[p];
        v[p] = x ^ carry;
        carry &= x;
    }
}
#undef LANES
#undef ADD_EIGHT
#undef MORE
