/* The library alone, for host.py: a model and a loop around mb_predict, nothing of Python between two samples. */
#define _POSIX_C_SOURCE 200112L
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "wide.h"

typedef struct host {
    mb_model model;
    void *image, *state, *arena, *wide;
} host;

void host_close(host *h)
{
    free(h->image);
    free(h->state);
    free(h->arena);
    free(h->wide);
    free(h);
}

/* NULL if anything fails. */
host *host_open(const void *image, size_t size, const char *vectors)
{
    host *h = calloc(1, sizeof *h);
    int v = MB_NO_VECTORS;
    while (v < MB_VECTORS && strcmp(mb_vectors_name((mb_vectors)v), vectors) != 0) {
        v++;
    }
    if (h != NULL && v < MB_VECTORS) {
        h->image = malloc(size);
    }
    if (h != NULL && h->image != NULL && mb_open(&h->model, memcpy(h->image, image, size), size) == MB_OK) {
        const size_t state = mb_state_size(&h->model), arena = mb_arena_size(&h->model, MB_LEARN);
        const size_t wide = mb_wide_size(&h->model, (mb_vectors)v);
        h->state = malloc(state);
        h->arena = malloc(arena);
        if (h->state != NULL && h->arena != NULL && posix_memalign(&h->wide, MB_WIDE_ALIGN, wide + MB_WIDE_ALIGN) == 0 &&
            mb_attach(&h->model, h->state, state, h->arena, arena) == MB_OK &&
            mb_widen(&h->model, (mb_vectors)v, h->wide, wide) == MB_OK && mb_widened(&h->model) == (mb_vectors)v) {
            return h;
        }
    }
    if (h != NULL) {
        host_close(h);
    }
    return NULL;
}

/* Nanoseconds for n samples. */
double host_predict(host *h, const uint8_t *x, size_t n, uint16_t *labels)
{
    const size_t size = mb_input_size(&h->model);
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (size_t i = 0; i < n; i++) {
        (void)mb_predict(&h->model, x + i * size, NULL, labels + i);
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    return 1e9 * (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec);
}
