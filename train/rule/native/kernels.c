#include "kernels.h"

#include <math.h>
#include <string.h>

/* ifunc dispatch needs ELF; elsewhere the compiler's baseline (NEON on AArch64) is used. */
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define TARGETS __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define TARGETS
#endif

enum { BLOCK = 1024 }; /* elements: the five arrays of a block stay in the first-level cache between the loops */

static inline uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* exp(x) for x <= 0, relative error below 2e-7; exp(-87) below -87. */
static inline float exp_negative(float x)
{
    const float round = 12582912.0f; /* 1.5 * 2^23: adding it leaves the nearest integer in the low bits */
    x = x > -87.0f ? x : -87.0f;
    const float shifted = x * 1.44269504f + round;
    const float n = shifted - round;
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    return (p * (r * r) + r + 1.0f) * float_of((bits_of(shifted) - bits_of(round) + 127u) << 23);
}

static inline void adam(const mt_job *job, size_t at, size_t n, float *restrict step)
{
    const float *restrict w = job->w + at, *restrict g = job->g + at;
    float *restrict m = job->m + at, *restrict v = job->v + at;
    const float keep1 = job->keep1, add1 = job->add1, keep2 = job->keep2, add2 = job->add2;
    const float decay = job->decay, rate = job->rate, eps = job->eps, gate = -2.0f * job->gate;
    for (size_t i = 0; i < n; i++) {
        const float slope = g[i] + decay * w[i];
        const float first = keep1 * m[i] + add1 * slope, second = keep2 * v[i] + add2 * slope * slope;
        m[i] = first;
        v[i] = second;
        /* f = 1 - tanh(x)^2 = 4e / (1 + e)^2 with e = exp(-2x): f and Adam share one division */
        const float e = exp_negative(gate * fabsf(w[i]));
        const int held = (w[i] > 0 && first > 0) || (w[i] < 0 && first < 0);
        const float up = held ? 4.0f * e : 1.0f, down = held ? (1.0f + e) * (1.0f + e) : 1.0f;
        step[i] = rate * (first * up) / ((sqrtf(second) + eps) * down);
    }
}

static inline void adam_ungated(const mt_job *job, size_t at, size_t n, float *restrict step)
{
    const float *restrict w = job->w + at, *restrict g = job->g + at;
    float *restrict m = job->m + at, *restrict v = job->v + at;
    const float keep1 = job->keep1, add1 = job->add1, keep2 = job->keep2, add2 = job->add2;
    const float decay = job->decay, rate = job->rate, eps = job->eps;
    for (size_t i = 0; i < n; i++) {
        const float slope = g[i] + decay * w[i];
        m[i] = keep1 * m[i] + add1 * slope;
        v[i] = keep2 * v[i] + add2 * slope * slope;
        step[i] = rate * m[i] / (sqrtf(v[i]) + eps);
    }
}

TARGETS void mt_step(const mt_job *job, size_t begin, size_t end)
{
    float step[BLOCK];
    for (size_t at = begin; at < end; at += BLOCK) {
        const size_t n = end - at < BLOCK ? end - at : BLOCK;
        float *restrict w = job->w + at;
        if (job->gate > 0) {
            adam(job, at, n, step);
        } else {
            adam_ungated(job, at, n, step);
        }
        for (size_t i = 0; i < n; i++) {
            w[i] -= step[i];
        }
    }
}

TARGETS void mt_signs(const float *w, int8_t *out, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i++) {
        out[i] = w[i] >= 0 ? 1 : -1;
    }
}

TARGETS void mt_sign_floats(const float *x, float *out, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i++) {
        out[i] = x[i] >= 0 ? 1.0f : -1.0f;
    }
}

TARGETS int mt_narrow(const float *x, uint8_t *restrict out, size_t n)
{
    int32_t fraction = 0, least = 0, most = 0;
    for (size_t at = 0; at < n && !fraction; at += BLOCK) {
        const size_t end = n - at < BLOCK ? n : at + BLOCK;
        for (size_t i = at; i < end; i++) {
            const int32_t k = (int32_t)(fabsf(x[i]) < 256.0f ? x[i] : 256.0f); /* NaN becomes 256 and differs from x */
            fraction |= (float)k != x[i] ? 1 : 0;
            least = k < least ? k : least;
            most = k > most ? k : most;
            out[i] = (uint8_t)k;
        }
    }
    const int wide = most > 127 || least < -128, negative = least < 0;
    const int bytes = !fraction && most < 256 && !(wide && negative);
    return !bytes ? 0 : wide ? 2 : 1;
}
