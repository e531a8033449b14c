/* Passes over the parameters: plain loops on float32, compiled for several x86 instruction sets, one of which is chosen at
 * load time.
 *
 * Each element is computed independently, so no result depends on the number of threads. The build forbids contraction
 * of a*b+c, so no result depends on the instruction set. */
#ifndef METABIT_TRAIN_KERNELS_H
#define METABIT_TRAIN_KERNELS_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    float *w;       /* n hidden weights, updated        */
    const float *g; /* n gradients                      */
    float *m;       /* n first moments, updated         */
    float *v;       /* n second moments, updated        */
    size_t n;
    float rate;             /* lr * sqrt(1 - beta2^t) / (1 - beta1^t) */
    float keep1, add1;      /* m = keep1 * m + add1 * g               */
    float keep2, add2, eps; /* v = keep2 * v + add2 * g * g           */
    float decay;            /* g = g + decay * w                      */
    float gate;             /* metaplasticity m >= 0; 0 leaves f out  */
} mt_job;

/* Step of the optimizer on elements [begin, end) of a job. */
void mt_step(const mt_job *job, size_t begin, size_t end);

/* out[i] = +1 where w[i] >= 0, else -1 (also for NaN), as bytes or as floats. */
void mt_signs(const float *w, int8_t *out, size_t begin, size_t end);
void mt_sign_floats(const float *x, float *out, size_t begin, size_t end);

/* Writes n floats as bytes. Returns 1 if all are integers in -128..127 (out holds int8), 2 if all are integers in 0..255
 * (out holds uint8), and 0 otherwise (out holds nothing of use). */
int mt_narrow(const float *x, uint8_t *out, size_t n);

#endif
