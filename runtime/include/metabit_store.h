/* Saves what was learnt in flash, and brings it back after a restart. field/store.c; optional: a program that does not call it links
 * none of it. */
#ifndef METABIT_STORE_H
#define METABIT_STORE_H

#include "metabit.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A part of flash, and the driver that reaches it. Each function returns 0, or anything else for a failure. */
typedef struct mb_store {
    void *context;                                                            /* passed to each function */
    int (*read)(void *context, uint32_t at, void *to, uint32_t count);        /* count bytes, at any address */
    int (*program)(void *context, uint32_t at, const void *from, uint32_t count); /* at and count: multiples of program_size */
    int (*erase)(void *context, uint32_t at);                                 /* the page that begins at `at`: all bytes 0xFF */
    uint32_t page_size, pages, program_size;                                  /* bytes; number; 1, 2, 4, 8, 16 or 32 bytes */
} mb_store;

/* Returns how many pages a store needs at least for this model's state, 0 if nothing is open or the store's sizes are impossible. */
uint32_t mb_store_pages(const mb_model *m, const mb_store *store);

#ifdef __cplusplus
}
#endif
#endif
