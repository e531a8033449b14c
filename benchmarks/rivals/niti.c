/* Dense int8 network that learns in integers, after NITI (Wang et al., arXiv:2009.13108): weights and errors of 8 bits, steps by
 * stochastic rounding. The error of a class is 127 * (softmax - label) from powers of two, that of a unit a sum. */
#include "bits.h"

static int8_t first[INPUTS][UNITS], last[CLASSES][UNITS];
static uint32_t generator = 1;
static int started;
static int32_t hidden[UNITS];
static uint16_t on[INPUTS];

static void start(void) {
    const int8_t *from = CONSTANTS(int8_t, START);
    for (uint32_t i = 0; i < INPUTS; i++) {
        for (uint32_t j = 0; j < UNITS; j++) {
            first[i][j] = *from++;
        }
    }
    for (uint32_t c = 0; c < CLASSES; c++) {
        for (uint32_t j = 0; j < UNITS; j++) {
            last[c][j] = *from++;
        }
    }
    started = 1;
}

static uint32_t forward(const void *x, int32_t *scores) {
    if (!started) {
        start();
    }
    const uint32_t n = list_inputs(x, on);
    for (uint32_t j = 0; j < UNITS; j++) {
        hidden[j] = 0;
    }
    for (uint32_t i = 0; i < n; i++) {
        const int8_t *w = first[on[i]];
        for (uint32_t j = 0; j < UNITS; j++) {
            hidden[j] += w[j];
        }
    }
    for (uint32_t j = 0; j < UNITS; j++) {
        const int32_t h = hidden[j] >> HIDDEN_SHIFT;
        hidden[j] = h < 0 ? 0 : h > 127 ? 127 : h;
    }
    for (uint32_t c = 0; c < CLASSES; c++) {
        scores[c] = 0;
        for (uint32_t j = 0; j < UNITS; j++) {
            scores[c] += last[c][j] * hidden[j];
        }
    }
    return n;
}

void rival_predict(const void *x, int32_t *scores) { forward(x, scores); }

/* value / 2^by, up or down at random with the right mean. */
static int32_t rounded(int32_t value, uint32_t by) {
    generator ^= generator << 13;
    generator ^= generator >> 17;
    generator ^= generator << 5;
    return (value + (int32_t)(generator >> (32 - by))) >> by;
}

static int8_t moved(int8_t w, int32_t step) {
    const int32_t to = w - step;
    return (int8_t)(to < -127 ? -127 : to > 127 ? 127 : to);
}

void rival_learn(const void *x, uint32_t label) {
    int32_t scores[CLASSES], error[CLASSES], back[UNITS] = {0};
    const uint32_t n = forward(x, scores);
    int32_t most = scores[0];
    uint32_t sum = 0;
    for (uint32_t c = 1; c < CLASSES; c++) {
        most = scores[c] > most ? scores[c] : most;
    }
    for (uint32_t c = 0; c < CLASSES; c++) {
        const int32_t below = (most - scores[c]) >> SCORE_SHIFT; /* in 1/16 of a power of two */
        error[c] = below > 255 ? 0 : (int32_t)((32u - (uint32_t)(below & 15)) << 10) >> (below >> 4);
        sum += (uint32_t)error[c];
    }
    for (uint32_t c = 0; c < CLASSES; c++) {
        const int32_t e = (int32_t)((uint32_t)error[c] * 127 / sum) - (c == label ? 127 : 0);
        if (e == 0) {
            continue;
        }
        for (uint32_t j = 0; j < UNITS; j++) {
            back[j] += e * last[c][j];
            if (hidden[j] != 0) {
                last[c][j] = moved(last[c][j], rounded(e * hidden[j], LAST_SHIFT));
            }
        }
    }
    for (uint32_t j = 0; j < UNITS; j++) {
        back[j] = hidden[j] > 0 ? back[j] : 0;
    }
    for (uint32_t i = 0; i < n; i++) {
        int8_t *w = first[on[i]];
        for (uint32_t j = 0; j < UNITS; j++) {
            if (back[j] != 0) {
                w[j] = moved(w[j], rounded(back[j], FIRST_SHIFT));
            }
        }
    }
}
