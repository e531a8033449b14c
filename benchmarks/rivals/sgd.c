/* Dense float network that learns: stochastic gradient descent on the cross-entropy, over the columns of the inputs that are on. */
#include "bits.h"

static float first[INPUTS][UNITS], bias[UNITS], last[CLASSES][UNITS], offset[CLASSES];
static int started;

static float hidden[UNITS], chance[CLASSES];
static uint16_t on[INPUTS];

/* e^x for x <= 0, relative error below 2e-4: 2^k times a cubic polynomial. */
static float exponential(float x) {
    union {
        float f;
        uint32_t u;
    } power;
    const float y = x * 1.44269504f;
    if (y < -100.0f) {
        return 0.0f;
    }
    const int32_t k = (int32_t)y - 1;
    const float r = y - (float)k; /* 0 < r <= 1 */
    power.u = (uint32_t)(k + 127) << 23;
    return power.f * (1.0f + r * (0.695556856f + r * (0.226173572f + r * 0.0781455737f)));
}

static void start(void) {
    const float *from = CONSTANTS(float, START);
    for (uint32_t i = 0; i < INPUTS; i++) {
        for (uint32_t j = 0; j < UNITS; j++) {
            first[i][j] = *from++;
        }
    }
    for (uint32_t j = 0; j < UNITS; j++) {
        bias[j] = *from++;
    }
    for (uint32_t c = 0; c < CLASSES; c++) {
        for (uint32_t j = 0; j < UNITS; j++) {
            last[c][j] = *from++;
        }
    }
    for (uint32_t c = 0; c < CLASSES; c++) {
        offset[c] = *from++;
    }
    started = 1;
}

static uint32_t forward(const void *x) {
    if (!started) {
        start();
    }
    const uint32_t n = list_inputs(x, on);
    for (uint32_t j = 0; j < UNITS; j++) {
        hidden[j] = bias[j];
    }
    for (uint32_t i = 0; i < n; i++) {
        const float *w = first[on[i]];
        for (uint32_t j = 0; j < UNITS; j++) {
            hidden[j] += w[j];
        }
    }
    for (uint32_t j = 0; j < UNITS; j++) {
        hidden[j] = hidden[j] > 0 ? hidden[j] : 0;
    }
    for (uint32_t c = 0; c < CLASSES; c++) {
        float sum = offset[c];
        for (uint32_t j = 0; j < UNITS; j++) {
            sum += last[c][j] * hidden[j];
        }
        chance[c] = sum;
    }
    return n;
}

/* Scores in 1/65536. */
void rival_predict(const void *x, int32_t *scores) {
    forward(x);
    for (uint32_t c = 0; c < CLASSES; c++) {
        scores[c] = (int32_t)(chance[c] * 65536.0f);
    }
}

void rival_learn(const void *x, uint32_t label) {
    const float rate = *CONSTANTS(float, RATE);
    const uint32_t n = forward(x);
    float most = chance[0], sum = 0, error[UNITS];
    for (uint32_t c = 1; c < CLASSES; c++) {
        most = chance[c] > most ? chance[c] : most;
    }
    for (uint32_t c = 0; c < CLASSES; c++) {
        chance[c] = exponential(chance[c] - most);
        sum += chance[c];
    }
    for (uint32_t j = 0; j < UNITS; j++) {
        error[j] = 0;
    }
    for (uint32_t c = 0; c < CLASSES; c++) {
        const float step = rate * (chance[c] / sum - (c == label ? 1.0f : 0.0f));
        for (uint32_t j = 0; j < UNITS; j++) {
            error[j] += step * last[c][j];
            last[c][j] -= step * hidden[j];
        }
        offset[c] -= step;
    }
    for (uint32_t j = 0; j < UNITS; j++) {
        error[j] = hidden[j] > 0 ? error[j] : 0;
        bias[j] -= error[j];
    }
    for (uint32_t i = 0; i < n; i++) {
        float *w = first[on[i]];
        for (uint32_t j = 0; j < UNITS; j++) {
            w[j] -= error[j];
        }
    }
}
