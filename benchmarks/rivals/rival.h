/* The functions that a rival gives to main.c. Its constants are arrays in `image`, at offsets AT_... that the build passes. */
#ifndef RIVAL_H
#define RIVAL_H
#include <stdint.h>

typedef uint32_t __attribute__((may_alias)) word;

extern const uint8_t image[];
#define CONSTANTS(type, name) ((const type *)(const void *)(image + AT_##name))

void rival_predict(const void *x, int32_t *scores);
void rival_learn(const void *x, uint32_t label);

#if FEATURE_BYTES == 1
typedef uint8_t feature;
#else
typedef int16_t feature;
#endif
#endif
