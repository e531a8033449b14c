/* metabit: binary neural networks that keep learning in place.
 *
 * This header is the manual. The image format is in ../FORMAT.md, the learning rule, to the bit, in docs/learning-rule.md.
 *
 * C99, freestanding: no heap, no globals, no floats, no recursion. The caller owns three memories:
 *
 *   image   const, read in place (flash). mb_open validates every byte it will ever rely on.
 *   state   mb_state_size() bytes. What learning changes: the generator, the counters and k bits a synapse.
 *   arena   mb_arena_size() bytes of scratch. Its content is worthless between calls, but
 *           to a network that learns by votes: there it holds the last samples, at most a batch, whose
 *           votes are being counted. If it is needed for something else in between, keep a copy of the state, mb_attach
 *           again before learning goes on, and put the copy back over the image's: those votes are lost, nothing else.
 *
 * All three must be 4-byte aligned. `metabit inspect` prints both sizes before anything is flashed, and a build can check them
 * against mb_state_size and mb_arena_size at start. A call takes less than 1 KiB of stack at -Os, 1.25 at -O2 and -O3, 3 at -O0.
 * Calls on one model share its arena: do not predict in an interrupt while main learns. A minimal program:
 *
 *   mb_model m;
 *   static uint32_t state[STATE_WORDS], arena[ARENA_WORDS];
 *   if (mb_open(&m, image, image_len) != MB_OK) { ... }
 *   if (mb_attach(&m, state, sizeof state, arena, sizeof arena) != MB_OK) { ... }
 *   mb_predict(&m, features, NULL, &label);             // label = class of this sample
 *   mb_learn(&m, features, true_label, NULL);           // and learn from it, in place
 */
#ifndef METABIT_H
#define METABIT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MB_FORMAT_MAJOR 1 /* images of another major version are refused */
#define MB_FORMAT_MINOR 3 /* images of a later minor version are accepted; what it adds is ignored */
#define MB_MAX_LAYERS 16
#define MB_MAX_UNITS 16384 /* inputs or outputs of one layer; of a convolution, of one window */

/// Errors ///

/* Zero is success; every way a call can fail has its own negative code. mb_strerror gives the sentence. */
typedef enum mb_status {
    MB_OK = 0,
    MB_E_NULL = -1,        /* a required pointer is NULL */
    MB_E_ALIGN = -2,       /* a memory is not 4-byte aligned */
    MB_E_TRUNCATED = -3,   /* fewer bytes than the header, or than the header says */
    MB_E_MAGIC = -4,       /* does not start with "MBIT" */
    MB_E_VERSION = -5,     /* another major format version */
    MB_E_HEADER_CRC = -6,  /* header or layer records damaged */
    MB_E_CONST_CRC = -7,   /* constant section damaged */
    MB_E_STATE_CRC = -8,   /* state section damaged */
    MB_E_SECTION = -9,     /* sections overlap, are misplaced or misaligned */
    MB_E_LAYERS = -10,     /* no layer, too many, or not encode? conv* dense* graded? output */
    MB_E_KIND = -11,       /* a layer kind or input kind this reader does not know */
    MB_E_SHAPE = -12,      /* a layer too large, empty, or not fitting the one before */
    MB_E_BITS = -13,       /* hidden bits outside 1..8 */
    MB_E_PLANES = -14,     /* too few counter planes for the layer's sums */
    MB_E_OFFSET = -15,     /* an offset outside its section, or misaligned */
    MB_E_RULE = -16,       /* a learning parameter outside its range */
    MB_E_SCORES = -17,     /* a score could overflow 32 bits */
    MB_E_GENERATOR = -18,  /* generator state is zero */
    MB_E_PADDING = -19,    /* a bit that must be zero is not */
    MB_E_STATE_SIZE = -20, /* state memory smaller than mb_state_size() */
    MB_E_ARENA_SIZE = -21, /* arena smaller than mb_arena_size() */
    MB_E_DETACHED = -22,   /* mb_attach has not succeeded, or had no state to export */
    MB_E_LABEL = -23,      /* label >= number of classes */
    MB_E_FROZEN = -24,     /* no layer learns, or mb_attach had no state or an arena for inference */
    MB_E_SAME = -25,       /* mb_export into the opened image itself */
    MB_E_WINDOW = -26,     /* a convolution whose window, stride, padding or pool does not fit its image */
    MB_E_LEARNS = -27,     /* a convolution, a layer on 8-bit inputs or one beside a graded layer that is to learn */
    MB_E_GRADED = -28,     /* mb_novelty was taken out; use mb_margin */
    MB_E_ABSENT = -29      /* the image needs a part that this build leaves out */
} mb_status;

const char *mb_strerror(mb_status status);

/// Model ///

typedef enum mb_mode { MB_INFER = 0, MB_LEARN = 1 } mb_mode;

/* Read it through the functions below. 24 bytes on a 32-bit core; the size does not depend on how the library is built. */
typedef struct mb_model {
    const uint8_t *image;
    uint8_t *state; /* NULL until attached, and while the model predicts from the image itself */
    uint8_t *arena; /* NULL until attached */
    uint32_t image_size;
    mb_mode mode;
    const struct mb_host *host; /* a host's vectors (runtime/host/wide.h); NULL on devices */
} mb_model;

/* Validates the whole image, once. `image` must stay readable and unchanged while the model is in use.
 * After MB_OK no byte of it can make a later call read or write outside the three memories, loop unboundedly or overflow. */
mb_status mb_open(mb_model *m, const void *image, size_t image_len);

size_t mb_state_size(const mb_model *m);               /* bytes; 0 if nothing is open */
size_t mb_arena_size(const mb_model *m, mb_mode mode); /* bytes */

/* Copies the image's state into `state` and remembers both memories. An arena of mb_arena_size(m, MB_LEARN) bytes or more
 * allows mb_learn; a smaller one, down to MB_INFER's size, only mb_predict. With state NULL and state_len 0 the model predicts
 * only, from the image where it lies, and needs no state memory. */
mb_status mb_attach(mb_model *m, void *state, size_t state_len, void *arena, size_t arena_len);

uint16_t mb_input_size(const mb_model *m); /* bytes of one input: uint8 features, or packed bits where the first layer takes bits */
uint16_t mb_classes(const mb_model *m);

/// Use ///

/* input   mb_input_size() bytes, any alignment
 * scores  mb_classes() int32, or NULL
 * label   class with the highest score, the lowest index on a tie; or NULL */
mb_status mb_predict(const mb_model *m, const void *input, int32_t *scores, uint16_t *label);

/* How sure a prediction is: best less second of mb_predict's scores; 0 where there is one class only. Good for ranking one model's
 * predictions: act on those above a margin chosen on samples of your own. */
static inline uint32_t mb_margin(const int32_t *scores, uint16_t classes)
{
    int32_t best = scores[0], second = classes > 1 ? INT32_MIN : best;
    for (uint16_t c = 1; c < classes; c++) {
        const int32_t beaten = scores[c] > best ? best : scores[c];
        best = scores[c] > best ? scores[c] : best;
        second = beaten > second ? beaten : second;
    }
    return (uint32_t)best - (uint32_t)second;
}

/* Taken out: it ranked samples worse than mb_margin. Always returns MB_E_GRADED; the next release drops the name. */
mb_status mb_novelty(const mb_model *m, uint32_t *novelty);

typedef struct mb_learn_info {
    uint16_t predicted; /* class before this step: averaging `predicted == label` gives prequential accuracy */
    uint16_t skipped;   /* 1 if the sample was already classified with margin: only the step counter (by votes, the generator
                         * too) has changed */
    uint32_t visited;   /* synapses looked at */
    uint32_t moved;     /* hidden levels changed */
    uint32_t flipped;   /* weights that changed sign */
} mb_learn_info;

#ifndef MB_WITHOUT_LEARN
/* One learning step on one sample, in place. `info` may be NULL. On error nothing has changed. */
mb_status mb_learn(mb_model *m, const void *input, uint16_t label, mb_learn_info *info);

/* Writes the learned image: a copy of the opened one with the attached state in it and a fresh checksum.
 * `image` is a caller's buffer of image_len >= the opened image's length; it may not be the opened image itself. */
mb_status mb_export(const mb_model *m, void *image, size_t image_len);
#endif

/// Build ///

/* Defined for the whole library and all that includes this header, each of these leaves a part out; mb_open then refuses an image
 * that needs it, with MB_E_ABSENT. docs/results/runtime/kernels.md has the bytes each saves.
 *   MB_WITHOUT_LEARN   mb_learn and mb_export. Whatever could learn in an image only predicts.
 *   MB_WITHOUT_CONV    convolutions
 *   MB_WITHOUT_BYTES   first layers on 8-bit inputs; a thermometer code is none
 *   MB_WITHOUT_GRADED  graded units, and learning by votes
 *   MB_WITHOUT_TERNARY the ternary backward pass; an image with such layers can still be predicted from without learning
 *   MB_WITHOUT_CHECKS  what mb_open does beyond magic, version, sections and checksums: only for an image that is part of the
 *                      program, as this library wrote or exported it, and that needs no part left out. Any other can then read
 *                      and write anywhere.
 * One puts a part in:
 *   MB_THUMB1          for Cortex-M0, M0+ and M1: the adder tree by hand, 27 % (gcc) or 33 % (clang) fewer cycles. Needs
 *                      -fomit-frame-pointer, and with gcc -O1 or more but not -Os. */

/// Profile ///

/* Compiled with MB_PROFILE the library calls this at every layer boundary; without it there is no code and no cost. */
typedef enum mb_phase { MB_FORWARD = 1, MB_ERROR = 2, MB_BACKWARD = 3, MB_UPDATE = 4, MB_DONE = 5 } mb_phase;
#ifdef MB_PROFILE
void mb_profile(mb_phase phase, unsigned layer);
#endif

#ifdef __cplusplus
}
#endif
#endif
