/* Carry-save addition of eight words to bit-sliced sums of at least four planes, one function per type of word: included with
 * LANES (the type), ADD_EIGHT (the function's type and name) and MORE(carry), which may be 0 where no carry is left; needs adder.h. */
ADD_EIGHT(LANES *v, unsigned planes, const LANES *w)
{
    LANES ones = v[0], twos = v[1], fours = v[2], carry; /* w might overlap v for all the compiler knows */
    MB_ADD_EIGHT_OF(LANES, carry, ones, twos, fours, w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]);
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
