/* Features to the list of the inputs that are on: input p * FEATURES + f is on where feature f lies above its cut p. */
#ifndef BITS_H
#define BITS_H
#include "rival.h"
#ifdef __ARM_FEATURE_DSP
#include <arm_acle.h>
#endif

#define INPUTS (PLANES * FEATURES)

/* on: room for INPUTS entries. Returns how many are on. */
static uint32_t list_inputs(const feature *x, uint16_t *on) {
    const feature *cut = CONSTANTS(feature, CUTS);
    uint32_t n = 0, at = 0;
    for (uint32_t p = 0; p < PLANES; p++) {
#if FEATURE_BYTES == 1 && FEATURES % 4 == 0
        const word *x4 = (const word *)(const void *)x, *cut4 = (const word *)(const void *)cut;
        for (uint32_t f = 0; f < FEATURES; f += 4, at += 4) {
            const uint32_t above = *x4++, limit = SHARED_CUTS ? cut[p] * 0x01010101u : *cut4++;
#ifdef __ARM_FEATURE_DSP
            const uint32_t d = __uqsub8(above, limit); /* a byte is 0 where the feature does not lie above its cut */
            if (d != 0) {
                for (uint32_t i = 0; i < 4; i++) {
                    on[n] = (uint16_t)(at + i);
                    n += (d >> 8 * i & 0xFF) != 0;
                }
            }
#else
            if (above != 0) {
                for (uint32_t i = 0; i < 4; i++) {
                    on[n] = (uint16_t)(at + i);
                    n += (above >> 8 * i & 0xFF) > (limit >> 8 * i & 0xFF);
                }
            }
#endif
        }
        cut += SHARED_CUTS ? 0 : FEATURES;
#else
        for (uint32_t f = 0; f < FEATURES; f++) {
            on[n] = (uint16_t)at++;
            n += x[f] > (SHARED_CUTS ? cut[p] : *cut++);
        }
#endif
    }
    return n;
}
#endif
