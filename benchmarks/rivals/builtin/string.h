/* string.h of rivals: a copy of a few bytes becomes a load and a store, as in a hosted build, for which CMSIS-NN is written. */
#ifndef RIVAL_STRING_H
#define RIVAL_STRING_H
#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int value, size_t n);
int memcmp(const void *a, const void *b, size_t n);

#ifndef DEFINES_MEMCPY
#define memcpy(to, from, n) __builtin_memcpy(to, from, n)
#define memset(to, value, n) __builtin_memset(to, value, n)
#endif
#endif
