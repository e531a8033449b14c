/* A pump: reads an accelerometer, says in which state the machine is, warns where it is sure, and learns what a technician labels. */
#include <stdio.h>

#include "metabit.h"

#include "pump_image.h"   /* metabit sources --name pump */
#include "pump_windows.h" /* Windows.c_table */

enum { NO_LABEL = -1, GAP = -2, SOUND = 0, SURE = 65536 * 9 / 10 };

static const char *const names[PUMP_CLASSES] = PUMP_CLASS_NAMES;
static uint32_t state[PUMP_STATE_WORDS], arena[PUMP_ARENA_WORDS];
static int16_t ring[PUMP_RING], work[PUMP_WORK], features[PUMP_FEATURES];
static mb_series series;
static mb_model model;

/* Put your accelerometer here: one sample, and a label, NO_LABEL, or GAP for the first sample of a recording. */
static int read_sensor(int16_t *sample, int16_t *label)
{
    return fread(sample, 2, 1, stdin) == 1 && fread(label, 2, 1, stdin) == 1;
}

int main(void)
{
    int16_t sample, label;
    unsigned long windows = 0, warnings = 0;
    mb_status status = mb_open(&model, pump_image, sizeof pump_image);
    if (status == MB_OK) {
        status = mb_attach(&model, state, sizeof state, arena, sizeof arena);
    }
    while (status == MB_OK && read_sensor(&sample, &label)) {
        int32_t scores[PUMP_CLASSES];
        uint16_t predicted;
        if (label == GAP) {
            status = mb_series_open(&series, &pump_windows, ring, sizeof ring, work, sizeof work);
        }
        if (status != MB_OK || !mb_series_push(&series, &sample)) {
            continue;
        }
        mb_series_features(&series, features);
        status = mb_predict(&model, features, scores, &predicted);
        if (status == MB_OK) {
            printf("%s\n", names[predicted]);
            windows++;
            warnings += predicted != SOUND && mb_confidence(scores, PUMP_CLASSES) >= SURE; /* here a lamp would light */
            if (label >= 0) {
                status = mb_learn(&model, features, (uint16_t)label, NULL);
            }
        }
    }
    fprintf(stderr, "%lu warnings in %lu windows; %s\n", warnings, windows, mb_strerror(status));
    return status != MB_OK;
}
