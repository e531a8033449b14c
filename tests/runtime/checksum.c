/* Errors that the checksum of words finds, by algebra: it is linear over bits, so an error stays unseen exactly if its own sum,
 * begun at 0, is 0. An error in word i moves on through every later word by the same step. One sentence for each property that does not hold. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "images.h"

enum { TWO_FLIPS = 37989432, TWO_BYTES = 10420 }; /* words: the smallest distance at which two can hide each other (FORMAT.md) */

static uint32_t step(uint32_t s)
{
    s ^= s >> 9 ^ s >> 9 << 5;
    return s ^ s << 23 ^ s << 23 >> 8;
}

static int failed;

static void must(int holds, const char *sentence)
{
    if (!holds) {
        puts(sentence);
        failed = 1;
    }
}

static unsigned rank_of(uint32_t *rows, unsigned n) /* over bits; destroys the rows */
{
    unsigned rank = 0;
    for (unsigned i = 0; i < n; i++) {
        const uint32_t lowest = rows[i] & (0u - rows[i]);
        rank += lowest != 0;
        for (unsigned j = i + 1; j < n; j++) {
            rows[j] ^= rows[j] & lowest ? rows[i] : 0;
        }
    }
    return rank;
}

/* Smallest distance, at most `most`, at which a step leads from one of n errors to one that `hides` accepts. */
static uint32_t distance(uint32_t *errors, unsigned n, uint32_t most, int (*hides)(uint32_t))
{
    for (uint32_t k = 1; k <= most; k++) {
        for (unsigned i = 0; i < n; i++) {
            errors[i] = step(errors[i]);
            if (hides(errors[i])) {
                return k;
            }
        }
    }
    return most + 1;
}

static int one_bit(uint32_t e)
{
    return (e & (e - 1u)) == 0;
}

static int one_byte(uint32_t e)
{
    return (e & 0xFFFFFF00u) == 0 || (e & 0xFFFF00FFu) == 0 || (e & 0xFF00FFFFu) == 0 || (e & 0x00FFFFFFu) == 0;
}

int main(void)
{
    uint32_t rows[32], bits[32], bytes[1020];
    for (unsigned i = 0; i < 32; i++) {
        bits[i] = 1u << i;
        rows[i] = step(1u << i);
        must((__builtin_popcount(rows[i]) & 1) != 0, "a step keeps the parity of an error, so an odd number of flips is seen");
    }
    must(rank_of(rows, 32) == 32, "a step loses no error, so any change inside one word is seen");
    for (unsigned from = 1; from < 32; from++) { /* bits from.. of one word, ..from - 1 of the next */
        for (unsigned i = from; i < 32; i++) {
            rows[i - from] = step(1u << i) >> from;
        }
        must(rank_of(rows, 32 - from) == 32 - from, "a change inside 32 neighbouring bits is seen");
    }
    for (unsigned place = 0; place < 4; place++) {
        for (uint32_t byte = 1; byte < 256; byte++) {
            bytes[255 * place + byte - 1] = byte << 8 * place;
        }
    }
    must(distance(bytes, 1020, TWO_BYTES, one_byte) == TWO_BYTES, "two changed bytes are seen below TWO_BYTES");
    must(distance(bits, 32, TWO_FLIPS, one_bit) == TWO_FLIPS, "two flipped bits are seen below TWO_FLIPS");

    const uint8_t text[9] = "123456789";
    printf("%08x %08x %08x\n", sum_of_words(text, 0), sum_of_words(text, 8), sum_of_words(text, 9));
    return failed;
}
