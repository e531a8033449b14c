/* metabit_features: from the samples of a sensor to the features of a model. Windows of a time series, and simple features of each.
 *
 * Integers only, no heap: the caller owns all memories. `metabit.data.features` computes the same integers in Python, so a model is
 * trained with what the device gives it, and `Windows.c_table` there writes the constants below. One program:
 *
 *   static int16_t ring[GESTURE_RING], work[GESTURE_WORK], features[GESTURE_FEATURES];
 *   static mb_series series;
 *   if (mb_series_open(&series, &gesture_windows, ring, sizeof ring, work, sizeof work) != MB_OK) { ... }
 *   for (;;) {
 *       read_sensor(sample);                                   // int16 [channels]
 *       if (mb_series_push(&series, sample)) {                 // a window is complete
 *           mb_series_features(&series, features);
 *           mb_predict(&model, features, NULL, &label);
 *       }
 *   }
 *
 * After a gap in the samples call mb_series_open again: otherwise windows would join what does not belong together. */
#ifndef METABIT_FEATURES_H
#define METABIT_FEATURES_H

#include "metabit.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Features of one channel, with n samples x in time order and their sum S. Quotients are rounded down unless said otherwise. */
enum {
    MB_MEAN = 1,       /* S/n, rounded to the nearest integer, halves up */
    MB_DEVIATION = 2,  /* square root of n times the sum of x x, less S S; divided by n */
    MB_MINIMUM = 4,
    MB_MAXIMUM = 8,
    MB_RANGE = 16,     /* maximum - minimum, at most 32767 */
    MB_CROSSINGS = 32, /* how often one of x >= S/n and x < S/n follows the other */
    MB_CHANGE = 64     /* mean of the n - 1 absolute differences of neighbours, at most 32767 */
};

#define MB_MAX_CHANNELS 32
#define MB_MAX_WINDOW 4096
#define MB_MAX_BANDS 64

/* How a series is cut and which features a window has. Band b holds the bins edges[b] to edges[b + 1] - 1 of the Fourier transform of
 * the window less its mean, under a Hann window; bin k is k/window of the sampling rate. Its feature is the logarithm to base 2 of the
 * sum of the squared magnitudes, in 1/256, in straight lines between powers of two; 0 where the sum is below 1. The transform holds
 * 16 bits with one common exponent: a band much more than 60 dB below the strongest bin shows rounding. */
typedef struct mb_windows {
    uint16_t channels;     /* numbers of one sample, 1..32 */
    uint16_t window;       /* samples, 2..4096; with bands 64, 128, 256 or 512 */
    uint16_t hop;          /* samples from the start of a window to the start of the next, 1..window */
    uint16_t which;        /* sum of MB_MEAN ... MB_CHANGE; may be 0 with bands */
    uint16_t bands;        /* 0..64 */
    const uint16_t *edges; /* [bands + 1], rising, from 1 to window/2; NULL without bands */
} mb_windows;

/* A series while it is cut. Its members are the library's. */
typedef struct mb_series {
    const mb_windows *how;
    int16_t *ring, *work;
    uint16_t at, missing;
} mb_series;

/* Returns the number of features of a window: for each channel those of `which`, in the order above, then its bands. */
uint32_t mb_windows_features(const mb_windows *how);

/* Begins a series, or begins it again.
 *
 * how        stays readable while the series is in use
 * ring       ring_len bytes >= 2 * window * channels: the last samples
 * work       work_len bytes >= 2 * window: scratch of the transform, used in mb_series_features only; NULL and 0 without bands
 * returns    MB_OK; MB_E_NULL; MB_E_RULE if a number in `how` is out of its range; MB_E_ARENA_SIZE if a memory is too small */
mb_status mb_series_open(mb_series *s, const mb_windows *how, int16_t *ring, size_t ring_len, int16_t *work, size_t work_len);

/* Takes one sample, int16 [channels]. Returns 1 if it completes a window: call mb_series_features before the next push; else 0.
 * pre: mb_series_open has returned MB_OK */
int mb_series_push(mb_series *s, const int16_t *sample);

/* Writes the features of the last `window` samples, int16 [mb_windows_features].
 * pre: mb_series_push has returned 1 */
void mb_series_features(const mb_series *s, int16_t *features);

#ifdef __cplusplus
}
#endif
#endif
