/* Dense int8 network by CMSIS-NN: pixels, or int16 features brought to int8, a hidden layer with a scale for each unit, an output. */
#include "arm_nnfunctions.h"
#include "rival.h"

static int8_t input[FEATURES], hidden[UNITS], output[CLASSES];

void rival_predict(const void *x, int32_t *scores) {
#if FEATURE_BYTES == 1
    const uint8_t *pixel = x;
    for (uint32_t f = 0; f < FEATURES; f++) {
        input[f] = (int8_t)(pixel[f] ^ 0x80); /* pixel - 128 */
    }
#else
    const int16_t *value = x;
    const int32_t *mean = CONSTANTS(int32_t, MEAN), *factor = CONSTANTS(int32_t, FACTOR);
    for (uint32_t f = 0; f < FEATURES; f++) {
        /* factor < 2^14 and |value - mean| <= 2^16 */
        const int32_t scaled = ((value[f] - mean[f]) * factor[f]) >> 16;
        input[f] = (int8_t)(scaled < -128 ? -128 : scaled > 127 ? 127 : scaled);
    }
#endif
    const cmsis_nn_context none = {0};
    const cmsis_nn_dims in = {1, 1, 1, FEATURES}, middle = {1, 1, 1, UNITS}, out = {1, 1, 1, CLASSES};
    const cmsis_nn_dims first = {FEATURES, 1, 1, UNITS}, second = {UNITS, 1, 1, CLASSES};
    const cmsis_nn_fc_params relu = {FEATURE_BYTES == 1 ? 128 : 0, 0, -128, {-128, 127}};
    const cmsis_nn_fc_params last = {128, 0, OUTPUT_ZERO, {-128, 127}};
    const cmsis_nn_per_channel_quant_params each = {(int32_t *)CONSTANTS(int32_t, MULTIPLIER),
                                                    (int32_t *)CONSTANTS(int32_t, SHIFTS)};
    const cmsis_nn_per_tensor_quant_params all = {OUTPUT_MULTIPLIER, OUTPUT_SHIFT};
    arm_fully_connected_per_channel_s8(&none, &relu, &each, &in, input, &first, CONSTANTS(int8_t, W1), &middle,
                                       CONSTANTS(int32_t, B1), &middle, hidden);
    arm_fully_connected_s8(&none, &last, &all, &middle, hidden, &second, CONSTANTS(int8_t, W2), &out, CONSTANTS(int32_t, B2),
                           &out, output);
    for (uint32_t c = 0; c < CLASSES; c++) {
        scores[c] = output[c];
    }
}
