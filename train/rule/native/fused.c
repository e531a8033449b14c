/* Passes over float32 arrays: plain loops, compiled for several x86 instruction sets, one of which is chosen at load time.
 * `fused.py`, the only caller, checks every argument.
 *
 * Each element is computed independently, so no result depends on the number of threads. The build forbids contraction
 * of a*b+c, so no result depends on the instruction set. */
#include <dlfcn.h>
#include <math.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* ifunc dispatch needs ELF; elsewhere the compiler's baseline (NEON on AArch64) is used. */
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define TARGETS __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define TARGETS
#endif

enum {
    BLOCK = 1024,   /* elements: the five arrays of a block stay in the first-level cache between the loops */
    CHUNK = 1 << 14 /* elements a thread takes at a time: some ten microseconds */
};

typedef struct {
    float *w;       /* n hidden weights, updated        */
    const float *g; /* n gradients                      */
    float *m;       /* n first moments, updated         */
    float *v;       /* n second moments, updated        */
    int8_t *bytes;  /* if not NULL: only write the signs of w, +1 where w >= 0, else -1 (also for NaN) */
    float *floats;  /* if not NULL: likewise, as floats */
    size_t n;
    float rate;             /* lr * sqrt(1 - beta2^t) / (1 - beta1^t) */
    float keep1, add1;      /* m = keep1 * m + add1 * g               */
    float keep2, add2, eps; /* v = keep2 * v + add2 * g * g           */
    float decay;            /* g = g + decay * w                      */
    float gate;             /* metaplasticity m >= 0; 0 leaves f out  */
} mt_job;

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

/* Elements [begin, end) of a job. */
TARGETS static void run_part(const mt_job *job, size_t begin, size_t end)
{
    float step[BLOCK];
    for (size_t at = begin; at < end; at += BLOCK) {
        const size_t n = end - at < BLOCK ? end - at : BLOCK;
        float *restrict w = job->w + at;
        if (job->bytes != NULL) {
            for (size_t i = 0; i < n; i++) {
                job->bytes[at + i] = w[i] >= 0 ? 1 : -1;
            }
            continue;
        }
        if (job->floats != NULL) {
            for (size_t i = 0; i < n; i++) {
                job->floats[at + i] = w[i] >= 0 ? 1.0f : -1.0f;
            }
            continue;
        }
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

typedef struct {
    const mt_job *jobs;
    size_t chunks;
    atomic_size_t next;
} work;

static size_t chunks_of(size_t n) { return (n + CHUNK - 1) / CHUNK; }

static void run(void *pointer)
{
    work *shared = pointer;
    for (size_t chunk; (chunk = atomic_fetch_add(&shared->next, 1)) < shared->chunks;) {
        const mt_job *job = shared->jobs;
        for (; chunk >= chunks_of(job->n); job++) {
            chunk -= chunks_of(job->n);
        }
        run_part(job, chunk * CHUNK, job->n - chunk * CHUNK < CHUNK ? job->n : (chunk + 1) * CHUNK);
    }
}

/* Runs all jobs on torch's own OpenMP threads if their library is loaded: a second pool of threads would compete with
 * them for the cores. Each thread takes chunks until none is left, so any number of threads may take part. */
void mt_run(const mt_job *jobs, size_t count, unsigned threads)
{
    typedef void parallel(void (*)(void *), void *, unsigned, unsigned);
    parallel *gomp = NULL;
    work shared = {.jobs = jobs};
    for (size_t i = 0; i < count; i++) {
        shared.chunks += chunks_of(jobs[i].n);
    }
    if (threads > 1 && shared.chunks > 1) {
        void *symbol = dlsym(RTLD_DEFAULT, "GOMP_parallel");
        memcpy(&gomp, &symbol, sizeof gomp);
    }
    if (gomp != NULL) {
        gomp(run, &shared, threads, 0);
    } else {
        run(&shared);
    }
}

/* Writes n floats as bytes. Returns 1 if all are integers in -128..127 (out holds int8), 2 if all are integers in 0..255
 * (out holds uint8), and 0 otherwise (out holds nothing of use). */
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
