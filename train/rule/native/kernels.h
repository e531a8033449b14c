/* The fused passes over parameters: plain loops on float32, compiled for several x86 levels and chosen at load time.
 *
 * Every element is computed on its own, so no result depends on the number of threads; built without contraction of
 * a*b+c, so none depends on the x86 level either. */
#ifndef METABIT_TRAIN_KERNELS_H
#define METABIT_TRAIN_KERNELS_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    float *w;       /* n hidden weights, updated                                              */
    const float *g; /* n gradients                                                            */
    float *m;       /* n first moments (Adam) or momentum buffers (SGD), updated; SGD: may be NULL */
    float *v;       /* n second moments, updated; NULL selects SGD                            */
    size_t n;
    float rate;             /* Adam: lr * sqrt(1 - beta2^t) / (1 - beta1^t); SGD: lr          */
    float keep1, add1;      /* m = keep1 * m + add1 * g; SGD: momentum and 1                  */
    float keep2, add2, eps; /* v = keep2 * v + add2 * g * g                                   */
    float decay;            /* g = g + decay * w                                              */
    float gate;             /* metaplasticity; 0: no gate                                     */
    float delta, low, high; /* grid step and its lowest and highest level; delta 0: no grid   */
    uint32_t seed[2];       /* of the stochastic rounding                                     */
} mt_job;

/* One optimizer step on elements [begin, end) of a job. */
void mt_step(const mt_job *job, size_t begin, size_t end);

/* out[i] = +1 where w[i] >= 0, else -1 (also for NaN); as bytes, or as floats. */
void mt_signs(const float *w, int8_t *out, size_t begin, size_t end);
void mt_sign_floats(const float *x, float *out, size_t begin, size_t end);

/* n floats as bytes: 1 if all are integers in -128..127 (out holds int8), 2 if all are in 0..255 (out holds uint8),
 * 0 if neither (out holds nothing of use). */
int mt_narrow(const float *x, uint8_t *out, size_t n);

#endif
