/* Probe: one input is a whole window of two channels; its features are the scores of the reply. */
#include "metabit_features.h"
#include "port.h"

enum { CHANNELS = 2, WINDOW = 128, BANDS = 3, COUNT = CHANNELS * (7 + BANDS) };

static const uint16_t edges[BANDS + 1] = {1, 3, 20, 64};
static const mb_windows how = {CHANNELS, WINDOW, WINDOW, 2 * MB_CHANGE - 1, BANDS, edges};
static int16_t ring[CHANNELS * WINDOW], work[WINDOW], features[COUNT];
static mb_series series;

int main(void);

int main(void)
{
    mb_status status = mb_series_open(&series, &how, ring, sizeof ring, work, sizeof work);
    port_ready(sizeof ring, COUNT);
    while (port_wait() == PORT_PREDICT) {
        const int16_t *const samples = (const int16_t *)port_sample();
        int32_t scores[COUNT];
        const mb_learn_info none = {0, 0, 0, 0, 0};
        for (uint32_t i = 0; i < WINDOW; i++) {
            if (mb_series_push(&series, samples + CHANNELS * i) != (i == WINDOW - 1)) {
                status = MB_E_RULE;
            }
        }
        port_begin();
        mb_series_features(&series, features);
        port_end();
        for (uint32_t f = 0; f < COUNT; f++) {
            scores[f] = features[f];
        }
        port_reply(status, scores, COUNT, &none);
    }
    return status;
}
