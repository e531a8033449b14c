/* Declarations of the reference's four files: one network, its arrays and its learning step. Start with reference/rule.c. */
#ifndef REFERENCE_H
#define REFERENCE_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ENCODE = 1, DENSE = 2, OUTPUT = 3, CONV = 4, GRADED = 5, TERNARY = 6,
       CUTS = 7, GATES = 8, LEVELS = 9 }; /* kinds of layer */
enum { ON_OFF = 0, PLUS_MINUS = 1, BYTES = 2, GRADES = 3 }; /* kinds of input; of cuts 1 means int16 */
enum { LAYERS = 16, UNITS = 1024, BATCH = 256 };                               /* room; the format allows more units */

typedef struct layer {
    int kind, input, k, planes, K, N, lanes, learns, window;
    int low, high, gain, P, draws, batch; /* graded */
    uint32_t dose;
    int8_t *h;                                        /* [N][K] hidden levels; the weight is +1 where h >= 0, else -1. levels: [N][K + 1] */
    int theta[UNITS];                                 /* [N] thresholds */
    const uint8_t *record, *thresholds;               /* thresholds: [P][K] of an encoder or of cuts */
    const uint16_t *strengthen, *weaken, *need;       /* [2^(k-1)] each; need: [3 batch P + 1] */
    const int32_t *mul, *add;                         /* [N] each, output; add: of gates too */
    const int16_t *slope;                             /* [N] mul of gates */
} layer;

extern layer net[LAYERS];
extern int layers, temperature, margin;
extern uint32_t z, steps, moved, flipped; /* generator and counters */
extern int x[LAYERS + 1][8 * UNITS];      /* x[l]: input of layer l */
extern int V[LAYERS][UNITS];              /* sums less thresholds */
extern int score[UNITS];                  /* of the classes */
extern uint32_t predicted, skipped, visited; /* what the last step did */
extern int votes[BATCH][UNITS];              /* of each unit in a kept sample: -3..3, positive for up */
extern int seen[BATCH][8 * UNITS], slot;     /* input bits of the kept samples; slot of the next one */

static inline int weight(const layer *l, int i, int j) { return l->h[i * l->K + j] >= 0 ? 1 : -1; }
static inline int smaller(int a, int b) { return a < b ? a : b; }
static inline int larger(int a, int b) { return a > b ? a : b; }
static inline int sign(int a) { return (a > 0) - (a < 0); }

/* rule.c */
void forward(const uint8_t *input);
void learn(const uint8_t *input, int label);
void output(const layer *l, const int *in);
int argmax(const int *s, int n);
int softmax_error(const int *n, int classes, int label, int *e);
uint32_t draw32(void);
int draw(void);
int rates(const layer *l, const int *delta, int E, int64_t *rate);
int entry(const layer *l, int i, int j, int up);
void move(layer *l, int i, int j, int up);

/* gates.c */
void cut(const layer *l, const uint8_t *input, int *bits);
void gates(const layer *l, const int *bits, int *level);
void levels_forward(const layer *l, const int *level);
void levels_learn(const layer *l, const int *level, int label);

/* votes.c */
int unsure(const layer *l, int i, int j);
void grade(const layer *l, const int *v, int *low, int *high, int *out);
void vote_step(int l, int label);

#endif
