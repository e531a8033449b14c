/* Keywords: eight windows of a microphone are one word. The image has room for one word more, which the first labelled sample begins. */
#include <stdio.h>

#include "metabit.h"

#include "keyword_image.h"   /* metabit sources --name keyword */
#include "keyword_windows.h" /* Windows.c_table */

enum { NO_LABEL = -1, GAP = -2 };

static uint32_t state[KEYWORD_STATE_WORDS], arena[KEYWORD_ARENA_WORDS];
static int16_t ring[KEYWORD_RING], work[KEYWORD_WORK], features[KEYWORD_FEATURES];
static mb_series series;
static mb_model model;

/* Put your microphone here: one sample, and a label, NO_LABEL, or GAP for the first sample of a word. */
static int hear(int16_t *sample, int16_t *label)
{
    return fread(sample, 2, 1, stdin) == 1 && fread(label, 2, 1, stdin) == 1;
}

static const char *name(uint16_t label)
{
    static const char *const names[KEYWORD_CLASSES] = KEYWORD_CLASS_NAMES;
    return names[label][0] != 0 ? names[label] : "class 4"; /* the spare class has no name in the image */
}

int main(void)
{
    int16_t sample, label;
    unsigned windows = 0;
    mb_status status = mb_open(&model, keyword_image, sizeof keyword_image);
    if (status == MB_OK) {
        status = mb_attach(&model, state, sizeof state, arena, sizeof arena);
    }
    while (status == MB_OK && hear(&sample, &label)) {
        uint16_t predicted;
        if (label == GAP) {
            status = mb_series_open(&series, &keyword_windows, ring, sizeof ring, work, sizeof work);
            windows = 0;
        }
        if (status != MB_OK || !mb_series_push(&series, &sample)) {
            continue;
        }
        mb_series_features(&series, features + windows * KEYWORD_WINDOW_FEATURES);
        windows++;
        if (windows < KEYWORD_WINDOWS) {
            continue;
        }
        windows = 0;
        status = mb_predict(&model, features, NULL, &predicted);
        if (status == MB_OK) {
            printf("%s\n", name(predicted));
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
