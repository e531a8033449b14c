/* Windows of a time series and their features (metabit_features.h). metabit.data.features says the same in Python. */
#include "metabit_features.h"

#define FULL_TURN 512u /* entries of a whole sine */

/* The first quarter of a sine, 32767 sin(2 pi k/512), rounded. */
static const int16_t quarter[FULL_TURN / 4 + 1] = {
    0, 402, 804, 1206, 1608, 2009, 2410, 2811, 3212, 3612, 4011, 4410, 4808, 5205, 5602, 5998, 6393, 6786, 7179, 7571, 7962, 8351,
    8739, 9126, 9512, 9896, 10278, 10659, 11039, 11417, 11793, 12167, 12539, 12910, 13279, 13645, 14010, 14372, 14732, 15090,
    15446, 15800, 16151, 16499, 16846, 17189, 17530, 17869, 18204, 18537, 18868, 19195, 19519, 19841, 20159, 20475, 20787, 21096,
    21403, 21705, 22005, 22301, 22594, 22884, 23170, 23452, 23731, 24007, 24279, 24547, 24811, 25072, 25329, 25582, 25832, 26077,
    26319, 26556, 26790, 27019, 27245, 27466, 27683, 27896, 28105, 28310, 28510, 28706, 28898, 29085, 29268, 29447, 29621, 29791,
    29956, 30117, 30273, 30424, 30571, 30714, 30852, 30985, 31113, 31237, 31356, 31470, 31580, 31685, 31785, 31880, 31971, 32057,
    32137, 32213, 32285, 32351, 32412, 32469, 32521, 32567, 32609, 32646, 32678, 32705, 32728, 32745, 32757, 32765, 32767,
};

/* 32767 sin(2 pi k/512) */
static int32_t sine(uint32_t k)
{
    const uint32_t half = k & (FULL_TURN / 2 - 1);
    const int32_t value = quarter[half <= FULL_TURN / 4 ? half : FULL_TURN / 2 - half];
    return (k & (FULL_TURN / 2)) != 0 ? -value : value;
}

static int32_t cosine(uint32_t k)
{
    return sine(k + FULL_TURN / 4);
}

/// One channel ///

/* The largest integer whose square is at most x < 2^54. */
static uint32_t square_root(uint64_t x)
{
    uint32_t root = 0;
    for (uint32_t bit = 1u << 26; bit != 0; bit >>= 1) {
        const uint64_t tried = root | bit; /* below 2^27, so its square is below 2^54 */
        root = tried * tried <= x ? root | bit : root;
    }
    return root;
}

static int16_t limited(uint32_t x)
{
    return (int16_t)(x < INT16_MAX ? x : INT16_MAX);
}

/* The features of `which` of one channel; returns how many were written. Sets the mean, rounded.
 *
 * n <= 2^12 samples of magnitude <= 2^15: |sum| <= 2^27, squares <= 2^42, n squares and sum sum <= 2^54. Sums of differences, each below
 * 2^16, stay below 2^28. A deviation is at most half of the largest range, 32767. */
static uint32_t simple(const mb_series *s, uint32_t channel, int16_t *out, int32_t *mean)
{
    const mb_windows *const how = s->how;
    const int32_t n = how->window;
    const uint32_t end = (uint32_t)n * how->channels, oldest = (uint32_t)s->at * how->channels + channel;
    int32_t sum = 0, least = s->ring[oldest], most = least, before = least;
    uint32_t change = 0, crossings = 0, count = 0, place = oldest;
    uint64_t squares = 0;
    for (int32_t i = 0; i < n; i++) {
        const int32_t x = s->ring[place];
        sum += x;
        squares += (uint32_t)(x * x);
        change += (uint32_t)(x > before ? x - before : before - x);
        least = x < least ? x : least;
        most = x > most ? x : most;
        before = x;
        place = place + how->channels < end ? place + how->channels : channel;
    }
    int above = s->ring[oldest] * n >= sum; /* |x n| <= 2^27 */
    for (int32_t i = 0; i < n; i++) { /* place is that of the oldest sample again */
        const int now = s->ring[place] * n >= sum;
        crossings += now != above;
        above = now;
        place = place + how->channels < end ? place + how->channels : channel;
    }
    /* sum + 32768 n >= 0 makes the quotient one of natural numbers; it stays below 2^28 + 2^11. */
    *mean = (int32_t)(((uint32_t)(sum + 32768 * n) + (uint32_t)n / 2) / (uint32_t)n) - 32768;
    const uint64_t spread = (uint64_t)n * squares - (uint64_t)((int64_t)sum * sum);
    const int16_t values[] = {(int16_t)*mean,
                              (int16_t)(square_root(spread) / (uint32_t)n),
                              (int16_t)least,
                              (int16_t)most,
                              limited((uint32_t)(most - least)),
                              (int16_t)crossings,
                              limited(change / (uint32_t)(n - 1))};
    for (uint32_t f = 0; f < sizeof values / sizeof values[0]; f++) {
        if (how->which >> f & 1u) {
            out[count++] = values[f];
        }
    }
    return count;
}

/// Bands ///

/* Halves numbers, rounded to the nearest, halves up, until none exceeds `most` >= 2^13; returns how often, 0..2. */
static int32_t scaled(int16_t *work, uint32_t n, int32_t most)
{
    int32_t peak = 0, shift = 0;
    for (uint32_t i = 0; i < n; i++) {
        const int32_t size = work[i] < 0 ? -work[i] : work[i];
        peak = size > peak ? size : peak;
    }
    while (peak > most) { /* the rounded half of a number up to peak is at most (peak + 1)/2 */
        peak = (peak + 1) / 2;
        shift++;
        for (uint32_t i = 0; i < n; i++) {
            work[i] = (int16_t)((work[i] + 1) >> 1);
        }
    }
    return shift;
}

/* Loads the window less its mean under a Hann window, the even samples as real parts and the odd ones as imaginary parts, in the order
 * that the transform begins with. Returns the exponent e: a sample is work * 2^e. */
static int32_t load(const mb_series *s, uint32_t channel, int32_t mean)
{
    const uint32_t n = s->how->window, channels = s->how->channels, turn = FULL_TURN / n;
    int32_t peak = 0, up = 0;
    for (uint32_t i = 0; i < n; i++) {
        const int32_t x = s->ring[i * channels + channel] - mean; /* |x| <= 65535 */
        peak = x < 0 ? (-x > peak ? -x : peak) : (x > peak ? x : peak);
    }
    while (peak != 0 && peak << up <= 16383) { /* peak 2^up <= 32767 */
        up++;
    }
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t from = s->at + i < n ? s->at + i : s->at + i - n;
        const int32_t x = s->ring[from * channels + channel] - mean;
        const int32_t whole = peak > 32767 ? x >> 1 : x * (int32_t)(1u << up); /* |whole| <= 32768 */
        const int32_t hann = (32767 - cosine(i * turn)) >> 1;                    /* 0..32767 */
        uint32_t place = 0;                                                      /* i/2 with its bits reversed */
        for (uint32_t bit = 2, top = n / 4; bit < n; bit *= 2, top /= 2) {
            place |= (i & bit) != 0 ? top : 0;
        }
        s->work[2 * place + (i & 1u)] = (int16_t)((whole * hann + 16384) >> 15);
    }
    return peak > 32767 ? 1 : -up;
}

/* The Fourier transform of n/2 complex numbers in place. Returns by how much the exponent has grown.
 *
 * Each step turns a and b into a + w b and a - w b with |w| <= 1. No component exceeds 1 + sqrt(2) times the largest one before it, and 1
 * for rounding: 13572 becomes at most 32767. The products of w b stay below sqrt(2) 2^30. */
static int32_t transform(int16_t *work, uint32_t n)
{
    int32_t grown = 0;
    for (uint32_t half = 1; half < n / 2; half *= 2) {
        grown += scaled(work, n, 13572);
        for (uint32_t k = 0; k < half; k++) {
            const uint32_t turn = k * (FULL_TURN / 2 / half);
            const int32_t wr = cosine(turn), wi = -sine(turn);
            for (uint32_t i = k; i < n / 2; i += 2 * half) {
                int16_t *const a = work + 2 * i, *const b = a + 2 * half;
                const int32_t tr = (wr * b[0] - wi * b[1] + 16384) >> 15;
                const int32_t ti = (wr * b[1] + wi * b[0] + 16384) >> 15;
                b[0] = (int16_t)(a[0] - tr);
                b[1] = (int16_t)(a[1] - ti);
                a[0] = (int16_t)(a[0] + tr);
                a[1] = (int16_t)(a[1] + ti);
            }
        }
    }
    return grown + scaled(work, n, 11584);
}

/* The squared magnitude of twice bin k, 1 <= k < n/2, of the n real numbers whose halves as complex numbers were transformed.
 *
 * With components up to 11584, even and odd have magnitudes up to 2 sqrt(2) 11584 < 32766, products stay below 2^30 sqrt(2), and the
 * bin, their sum, has a magnitude below 65534: its square is below 2^32. */
static uint32_t power(const int16_t *work, uint32_t n, uint32_t k)
{
    const int16_t *const a = work + 2 * k, *const b = work + n - 2 * k;
    const int32_t wr = cosine(k * (FULL_TURN / n)), wi = -sine(k * (FULL_TURN / n));
    const int32_t odd_r = a[1] + b[1], odd_i = b[0] - a[0];
    const int32_t re = a[0] + b[0] + ((wr * odd_r - wi * odd_i + 16384) >> 15);
    const int32_t im = a[1] - b[1] + ((wr * odd_i + wi * odd_r + 16384) >> 15);
    return (uint32_t)re * (uint32_t)re + (uint32_t)im * (uint32_t)im;
}

/* The logarithm to base 2 of energy 2^twice / 4, in 1/256; 0 where it is negative. energy < 2^40, |twice| < 64. */
static int16_t logarithm(uint64_t energy, int32_t twice)
{
    int32_t top = 0;
    while (energy >> top > 1) {
        top++;
    }
    const uint32_t mantissa = (uint32_t)(top <= 8 ? energy << (8 - top) : energy >> (top - 8)); /* 256..511; 0 of 0 */
    const int32_t log = 256 * (top + twice - 2) + (int32_t)mantissa - 256;
    return (int16_t)(energy != 0 && log > 0 ? log : 0);
}

static void bands(const mb_series *s, uint32_t channel, int32_t mean, int16_t *out)
{
    const mb_windows *const how = s->how;
    int32_t exponent = load(s, channel, mean);
    exponent += transform(s->work, how->window);
    for (uint32_t b = 0; b < how->bands; b++) {
        uint64_t energy = 0;
        for (uint32_t k = how->edges[b]; k < how->edges[b + 1]; k++) {
            energy += power(s->work, how->window, k);
        }
        out[b] = logarithm(energy, 2 * exponent);
    }
}

/// Series ///

uint32_t mb_windows_features(const mb_windows *how)
{
    uint32_t each = how->bands;
    for (uint32_t f = 0; f < 16; f++) {
        each += how->which >> f & 1u;
    }
    return each * how->channels;
}

static int sound(const mb_windows *how)
{
    const uint32_t n = how->window, many = how->bands;
    if (how->channels < 1 || how->channels > MB_MAX_CHANNELS || n < 2 || n > MB_MAX_WINDOW || how->hop < 1 || how->hop > n
        || how->which >= 2 * MB_CHANGE || many > MB_MAX_BANDS || (how->which == 0 && many == 0)) {
        return 0;
    }
    if (many != 0 && (n < 64 || n > FULL_TURN || (n & (n - 1)) != 0 || how->edges[0] < 1 || how->edges[many] > n / 2)) {
        return 0;
    }
    for (uint32_t b = 0; b < many; b++) {
        if (how->edges[b] >= how->edges[b + 1]) {
            return 0;
        }
    }
    return 1;
}

mb_status mb_series_open(mb_series *s, const mb_windows *how, int16_t *ring, size_t ring_len, int16_t *work, size_t work_len)
{
    if (s == NULL || how == NULL || ring == NULL || (how->bands != 0 && (how->edges == NULL || work == NULL))) {
        return MB_E_NULL;
    }
    if (!sound(how)) {
        return MB_E_RULE;
    }
    if (ring_len < 2u * how->window * how->channels || (how->bands != 0 && work_len < 2u * how->window)) {
        return MB_E_ARENA_SIZE;
    }
    s->how = how;
    s->ring = ring;
    s->work = work;
    s->at = 0;
    s->missing = how->window;
    return MB_OK;
}

int mb_series_push(mb_series *s, const int16_t *sample)
{
    const mb_windows *const how = s->how;
    int16_t *const to = s->ring + (uint32_t)s->at * how->channels;
    for (uint32_t c = 0; c < how->channels; c++) {
        to[c] = sample[c];
    }
    s->at = (uint16_t)(s->at + 1u < how->window ? s->at + 1u : 0u);
    s->missing--;
    if (s->missing != 0) {
        return 0;
    }
    s->missing = how->hop;
    return 1;
}

void mb_series_features(const mb_series *s, int16_t *features)
{
    for (uint32_t c = 0; c < s->how->channels; c++) {
        int32_t mean;
        features += simple(s, c, features, &mean);
        if (s->how->bands != 0) {
            bands(s, c, mean, features);
            features += s->how->bands;
        }
    }
}
