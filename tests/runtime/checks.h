/* A check that ends the program with its line, and memory that is not zero, for the tests of this folder. */
#ifndef CHECKS_H
#define CHECKS_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                            \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s: line %d: %s\n", __FILE__, __LINE__, #condition);   \
            exit(1);                                                                \
        }                                                                           \
    } while (0)

static inline void *memory(size_t size)
{
    uint8_t *p = malloc(size);
    CHECK(p != NULL);
    memset(p, 0xA5, size);
    return p;
}

#endif
