/* Gestures: reads a sensor with six channels, predicts each window of samples, and learns where the label is known. */
#include <stdio.h>

#include "metabit.h"

#include "gesture_image.h"   /* metabit sources --name gesture */
#include "gesture_windows.h" /* Windows.c_table */

enum { NO_LABEL = -1, GAP = -2 };

static const char *const names[GESTURE_CLASSES] = GESTURE_CLASS_NAMES;
static uint32_t state[GESTURE_STATE_WORDS], arena[GESTURE_ARENA_WORDS];
static int16_t ring[GESTURE_RING], work[GESTURE_WORK], features[GESTURE_FEATURES];
static mb_series series;
static mb_model model;

/* Put your sensor here: it waits for a sample. The label comes from a button, a host, or never: NO_LABEL. GAP is a first sample. */
static int read_sensor(int16_t *sample, int16_t *label)
{
    return fread(sample, 2, GESTURE_CHANNELS, stdin) == GESTURE_CHANNELS && fread(label, 2, 1, stdin) == 1;
}

int main(void)
{
    int16_t sample[GESTURE_CHANNELS], label;
    mb_status status = mb_open(&model, gesture_image, sizeof gesture_image);
    if (status == MB_OK) {
        status = mb_attach(&model, state, sizeof state, arena, sizeof arena);
    }
    while (status == MB_OK && read_sensor(sample, &label)) {
        uint16_t predicted;
        if (label == GAP) {
            status = mb_series_open(&series, &gesture_windows, ring, sizeof ring, work, sizeof work);
        }
        if (status != MB_OK || !mb_series_push(&series, sample)) {
            continue;
        }
        mb_series_features(&series, features);
        status = mb_predict(&model, features, NULL, &predicted);
        if (status == MB_OK) {
            printf("%s\n", names[predicted]);
            if (label >= 0) {
                status = mb_learn(&model, features, (uint16_t)label, NULL);
            }
        }
    }
    if (status != MB_OK) {
        fprintf(stderr, "%s\n", mb_strerror(status));
    }
    return status != MB_OK;
}
