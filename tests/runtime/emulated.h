#ifndef __ASSEMBLER__
/* Before each file of the library that emulated.py compiles. Bochs 2.7 gives zeros for vpcompressw of 32 numbers that are all kept: it
 * computes (1 << 32) - 1 in 32 bits. */
#include <immintrin.h>

__attribute__((target("avx512f,avx512bw,avx512vbmi2"))) static inline __m512i emulated_compress(__mmask32 kept, __m512i x)
{
    return kept == 0xFFFFFFFFu ? x : _mm512_maskz_compress_epi16(kept, x);
}

#define _mm512_maskz_compress_epi16 emulated_compress
#endif
