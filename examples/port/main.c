/* main.c: predicts samples, and learns from samples that come with a label */
#include "metabit.h"
#include "model_image.h" /* in one C file only: it defines the array */

uint8_t serial_get(void); /* you write these two: wait for a byte, send a byte */
void serial_put(uint8_t byte);

#ifdef KEEP /* keep.c, under "Saving in flash" */
mb_status keep_start(mb_model *m);
mb_status keep(const mb_model *m, uint32_t steps);
#else
#define keep_start(m) MB_OK
#define keep(m, steps) MB_OK
#endif

static uint32_t state[MODEL_STATE_WORDS], arena[MODEL_ARENA_WORDS]; /* words, for 4-byte alignment */
static uint8_t sample[MODEL_INPUT_BYTES];
static mb_model model;

int main(void)
{
    mb_status status = mb_open(&model, model_image, sizeof model_image);
    if (status == MB_OK) {
        status = mb_attach(&model, state, sizeof state, arena, sizeof arena);
    }
    if (status == MB_OK) {
        status = keep_start(&model);
    }
    serial_put((uint8_t)-status); /* 0: ready; otherwise the number of the error in metabit.h */
    while (status == MB_OK) {
        const uint8_t command = serial_get(); /* 'p' or 'l', then the sample; after 'l' its label */
        mb_learn_info info = {0, 0, 0, 0, 0};
        for (unsigned i = 0; i < sizeof sample; i++) {
            sample[i] = serial_get();
        }
        if (command == 'l') {
            status = mb_learn(&model, sample, serial_get(), &info);
            status = status == MB_OK ? keep(&model, state[1]) : status; /* state[1]: learning steps so far */
        } else {
            status = mb_predict(&model, sample, NULL, &info.predicted);
        }
        serial_put(status == MB_OK ? (uint8_t)info.predicted : 0xFF);
    }
    return 1;
}
