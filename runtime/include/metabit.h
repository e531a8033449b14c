/* metabit: binary neural networks that keep learning in place.
 *
 * This header is the manual. ../FORMAT.md specifies the image, docs/learning-rule.md the learning rule, both to the bit.
 *
 * C99, freestanding: no heap, no globals, no floats, no recursion. The caller owns three memories, each 4-byte aligned:
 *
 *   image   const, read in place (flash). mb_open checks every byte that any later call relies on.
 *   state   mb_state_size() bytes of RAM, which learning changes: the generator, the counters, and k bits a synapse or a head; by
 *           votes also the last samples, at most one batch. It is all that the next step depends on: save it, and nothing is lost.
 *   arena   mb_arena_size() bytes of scratch RAM. Other code may use it between calls, except with an image before format 1.6 that
 *           learns by votes: there the samples lie in the arena, and mb_attach and mb_reattach clear them.
 *
 * `metabit inspect` prints both sizes before anything is flashed; a program can compare them with mb_state_size and mb_arena_size
 * at start. A call takes less than 1 KiB of stack at -Os, 1.25 at -O2 and -O3, 3 at -O0. All calls on one model share its
 * arena: do not predict in an interrupt while main learns. A minimal program:
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

#if (defined(__SIZEOF_INT__) && __SIZEOF_INT__ < 4) || (defined(__CHAR_BIT__) && __CHAR_BIT__ != 8)
#error "metabit needs an int of at least 32 bits and bytes of 8 bits: it does not run on AVR and other 8-bit and 16-bit cores"
#endif

/* Parts to leave out ("Build" below): in the file that -DMB_CONFIG='"my_config.h"' names, or else in the metabit_config.h that
 * `metabit sources --image` writes, wherever the compiler finds it. */
#if defined(MB_CONFIG)
#include MB_CONFIG
#elif defined(__has_include)
#if __has_include("metabit_config.h")
#include "metabit_config.h"
#endif
#endif

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef char mb_int_has_at_least_32_bits[sizeof(int) >= 4 ? 1 : -1]; /* for compilers without the macros above */

#define MB_FORMAT_MAJOR 1 /* images of another major version are refused */
#define MB_FORMAT_MINOR 6 /* images of a later minor version are accepted; what it adds is ignored */
#define MB_MAX_LAYERS 16
#define MB_MAX_UNITS 16384 /* inputs or outputs of one layer; of a convolution, of one window */

/// Errors ///

/* Zero is success. Each way in which a call can fail has its own negative code. */
typedef enum mb_status {
    MB_OK = 0,
    MB_E_NULL = -1,        /* a required pointer is NULL */
    MB_E_ALIGN = -2,       /* a memory is not 4-byte aligned */
    MB_E_TRUNCATED = -3,   /* fewer bytes than the header has, or than it says */
    MB_E_MAGIC = -4,       /* does not start with "MBIT" */
    MB_E_VERSION = -5,     /* another major format version */
    MB_E_HEADER_CRC = -6,  /* header or layer records damaged */
    MB_E_CONST_CRC = -7,   /* constant section damaged */
    MB_E_STATE_CRC = -8,   /* state section damaged */
    MB_E_SECTION = -9,     /* sections overlap, are misplaced or misaligned */
    MB_E_LAYERS = -10,     /* no layer, too many, or in another order than FORMAT.md has */
    MB_E_KIND = -11,       /* a layer kind or input kind this reader does not know */
    MB_E_SHAPE = -12,      /* a layer too large, empty, or not fitting the one before */
    MB_E_BITS = -13,       /* bits outside the range of the layer's kind */
    MB_E_PLANES = -14,     /* too few counter planes for the layer's sums */
    MB_E_OFFSET = -15,     /* an offset outside its section, or misaligned */
    MB_E_RULE = -16,       /* a parameter, or a field of a head's state, outside its range */
    MB_E_SCORES = -17,     /* a score could overflow 32 bits */
    MB_E_GENERATOR = -18,  /* generator state is zero */
    MB_E_PADDING = -19,    /* a bit that must be zero is not */
    MB_E_STATE_SIZE = -20, /* state memory smaller than mb_state_size() */
    MB_E_ARENA_SIZE = -21, /* arena smaller than mb_arena_size() */
    MB_E_DETACHED = -22,   /* mb_attach has not succeeded, or had no state to export */
    MB_E_LABEL = -23,      /* label >= number of classes, or a head has no row left for a class that it does not know */
    MB_E_FROZEN = -24,     /* no layer learns, or mb_attach had no state or an arena for inference */
    MB_E_SAME = -25,       /* mb_export into the opened image itself */
    MB_E_WINDOW = -26,     /* a convolution whose window, stride, padding or pool does not fit its image */
    MB_E_LEARNS = -27,     /* a convolution, a layer on bytes or one beside a graded layer is marked as learning, or a head is not */
    MB_E_GRADED = -28,     /* mb_novelty was taken out; use mb_margin */
    MB_E_ABSENT = -29,     /* the image needs a part that this build leaves out */
    MB_E_STORE = -30,      /* a function of the store's driver failed (metabit_store.h) */
    MB_E_STORE_SIZE = -31, /* a store with too few pages, or with pages or programs of an impossible size */
    MB_E_NO_SNAPSHOT = -32, /* a store that holds no whole snapshot */
    MB_E_IDENTITY = -33,   /* a state that grew from another image */
    MB_E_GUARD = -34,      /* guard data damaged, or of another image (metabit_guard.h) */
    MB_E_FRAME = -35,      /* a request over the serial line that cannot be done (metabit_serial.h) */
    MB_E_TICKET = -36      /* a ticket that this image did not make */
} mb_status;

/* Returns one English sentence for a code, "unknown status" for a number that is no code. Never NULL. */
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

/* Opens an image, once, and checks all of it.
 *
 * image      image_len bytes, 4-byte aligned; must stay readable and unchanged while the model is in use
 * returns    MB_OK, after which no byte of the image can make a later call read or write outside the three memories, loop without
 *            end or overflow; MB_E_NULL; MB_E_ALIGN; or the first code of FORMAT.md, "Errors", that applies. After an error the
 *            model is empty: every call on it fails. */
mb_status mb_open(mb_model *m, const void *image, size_t image_len);

/* Opens an image that this very program has checked before, as after a sleep that ends in a reset: with the right seal it reads only
 * header and records. With any other seal it is mb_open, so a program may always call it. It does not see
 * what changed behind the records since: not for an image that others can write meanwhile.
 *
 * seal       mb_seal() after the mb_open that checked the image, kept in memory that sleep spares; 0 if there is none */
mb_status mb_reopen(mb_model *m, const void *image, size_t image_len, uint32_t seal);
uint32_t mb_seal(const mb_model *m); /* the checksum of header and records, never 0; 0 if nothing is open */

/* Returns which image this is, apart from what was learnt: a checksum of header, records and constants, never 0. Images with equal
 * identity can take one another's state. 0 if nothing is open. */
uint32_t mb_identity(const mb_model *m);

/* Continues the checksum of FORMAT.md ("Checksums") over n words, 4-byte aligned, without the inversion at its end. */
uint32_t mb_sum_words(uint32_t sum, const void *words, uint32_t n);

size_t mb_state_size(const mb_model *m);               /* bytes; 0 if nothing is open or m is NULL */
size_t mb_arena_size(const mb_model *m, mb_mode mode); /* bytes, the same on every core; 0 if nothing is open or m is NULL */

/* Attaches the memories and copies the image's state into `state`: what was learnt since the last mb_attach is gone.
 *
 * state      state_len >= mb_state_size() bytes, or NULL with state_len 0: the model then predicts from the image as it lies
 * arena      arena_len bytes; mb_arena_size(m, MB_LEARN) of them allow mb_learn, fewer, down to MB_INFER's, only mb_predict
 * returns    MB_OK; or MB_E_NULL, MB_E_ALIGN, MB_E_STATE_SIZE or MB_E_ARENA_SIZE, and nothing has changed */
mb_status mb_attach(mb_model *m, void *state, size_t state_len, void *arena, size_t arena_len);

/* mb_attach for a state memory that holds the state already, because sleep spared it or the program read it back: nothing is copied.
 * returns    MB_E_GENERATOR too, if the first word of the state is 0, as in memory that was cleared */
mb_status mb_reattach(mb_model *m, void *state, size_t state_len, void *arena, size_t arena_len);

/* Checks the opened image again, with the attached state, if there is one, in place of its own: bits may have changed by accident.
 * returns    MB_OK; MB_E_NULL if nothing is open; or the error that mb_open would return */
mb_status mb_verify(const mb_model *m);

uint16_t mb_input_size(const mb_model *m); /* bytes of one input: uint8 or int16 features, or packed bits; 0 if nothing is open */
uint16_t mb_classes(const mb_model *m);    /* number of classes; 0 if nothing is open */

/// Use ///

/* Predicts the class of one sample.
 *
 * input      mb_input_size() bytes, any alignment
 * scores     int32 [mb_classes()] is filled; or NULL
 * label      class with the highest score, the lowest index on a tie; or NULL
 * returns    MB_OK; MB_E_NULL if m or input is NULL; MB_E_DETACHED before mb_attach */
mb_status mb_predict(const mb_model *m, const void *input, int32_t *scores, uint16_t *label);

/* Returns how sure a prediction is: the best score less the second, or 0 where classes is 1. It ranks the predictions of one model:
 * act on those above a margin chosen on samples of your own. scores: int32 [classes] from mb_predict. pre: classes >= 1. */
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

/* Returns how probable the predicted class is, in 1/65536, from the scores of a head: a softmax of 2^15 to a nat, its exponentials in
 * straight lines between powers of two. It agrees with how often predictions are right (docs/telling.md). Scores of other learners
 * have no unit: for them it says nothing. scores: int32 [classes] from mb_predict. pre: classes >= 1. */
static inline uint16_t mb_confidence(const int32_t *scores, uint16_t classes)
{
    int32_t best = scores[0];
    for (uint16_t c = 1; c < classes; c++)
        best = scores[c] > best ? scores[c] : best;
    uint32_t sum = 0;
    for (uint16_t c = 0; c < classes; c++) {
        const uint32_t below = (uint32_t)best - (uint32_t)scores[c]; /* 22713 of it halve the probability, 739/2^16 a 256th of that */
        const uint32_t halvings = below < (1u << 19) ? ((below >> 10) * 739u) >> 6 : 17u << 8;
        sum += (65536u - (halvings & 255u) * 128u) >> (halvings >> 8);
    }
    /* cppcheck-suppress zerodiv -- it takes classes for 0 */
    return (uint16_t)(UINT32_MAX / sum);
}

/* Was taken out, because mb_margin ranks samples better. Always returns MB_E_GRADED. The next release drops the name. */
mb_status mb_novelty(const mb_model *m, uint32_t *novelty);

typedef struct mb_learn_info {
    uint16_t predicted; /* class before this step: the mean of `predicted == label` is the prequential accuracy */
    uint16_t skipped;   /* 1 if the sample taught nothing, because it was classified with margin already. Only the step counter
                         * has changed, and by votes the generator. */
    uint32_t visited;   /* synapses looked at */
    uint32_t moved;     /* hidden levels changed; a head leaves all three 0 */
    uint32_t flipped;   /* weights that changed sign */
} mb_learn_info;

#ifndef MB_WITHOUT_LEARN
/* Makes one learning step on one sample, in place.
 *
 * input      mb_input_size() bytes, any alignment
 * label      the true class, < mb_classes()
 * info       is filled; or NULL
 * returns    MB_OK; or MB_E_NULL, MB_E_DETACHED, MB_E_LABEL, or MB_E_FROZEN if no layer learns or mb_attach had no state or too
 *            small an arena for it, and the state has not changed */
mb_status mb_learn(mb_model *m, const void *input, uint16_t label, mb_learn_info *info);

/* Writes the learned image: a copy of the opened one with the attached state and fresh checksums.
 *
 * image      image_len bytes, at least as many as the opened image has; not the opened image itself
 * returns    MB_OK, and mb_open accepts the bytes written; or MB_E_NULL, MB_E_SAME, MB_E_DETACHED without a state, MB_E_TRUNCATED if
 *            image_len is too small, or the error of mb_open where bits of the state (MB_E_GENERATOR, MB_E_PADDING) or of the
 *            opened image have changed by accident. After an error nothing was written. */
mb_status mb_export(const mb_model *m, void *image, size_t image_len);
#endif

/// Tickets: labels that come late ///

/* A ticket is all that a learning step needs of one sample: what the lowest layer that learns takes, or the input itself where that is
 * smaller. The layers before never change, so a ticket of any age is as good as the input: mb_learn_ticket leaves the same bytes of
 * state as mb_learn, and mb_predict_ticket gives the same scores as mb_predict, often in less time. A ticket belongs to one image
 * (mb_identity): another's is refused or teaches nonsense, and cannot do more.
 *
 * ticket     mb_ticket_size() bytes, any alignment
 * returns    as mb_predict and mb_learn; or MB_E_TICKET, and nothing has changed. mb_ticket_size: bytes, at most those of an input, the
 *            same in every build; 0 if nothing is open */
uint16_t mb_ticket_size(const mb_model *m);
mb_status mb_ticket(const mb_model *m, const void *input, void *ticket);
mb_status mb_predict_ticket(const mb_model *m, const void *ticket, int32_t *scores, uint16_t *label);
#ifndef MB_WITHOUT_LEARN
mb_status mb_learn_ticket(mb_model *m, const void *ticket, uint16_t label, mb_learn_info *info);
#endif

/// Build ///

/* Define these for the whole library and for all that includes this header, in metabit_config.h or by -D. Each leaves a part out,
 * and mb_open refuses an image that needs it with MB_E_ABSENT. docs/results/runtime/kernels.md has the bytes that each saves.
 *   MB_WITHOUT_LEARN   mb_learn and mb_export; every layer only predicts
 *   MB_WITHOUT_CONV    convolutions
 *   MB_WITHOUT_BYTES   first layers on 8-bit inputs; a thermometer code is not one of them
 *   MB_WITHOUT_GRADED  graded units, and learning by votes
 *   MB_WITHOUT_GATES   cuts, gates, units from nothing, and the levels or the head after them
 *   MB_WITHOUT_LEVELS  output levels; this and the next three are parts of the above
 *   MB_WITHOUT_HEAD    the head of class means
 *   MB_WITHOUT_ROWS    several rows a class of a head
 *   MB_WITHOUT_TRIPLES units from nothing
 *   MB_WITHOUT_DENSE   all layers but those of MB_WITHOUT_GATES
 *   MB_WITHOUT_VISITS  learning by visits; layers that learn by it still predict, and mb_learn refuses them with MB_E_FROZEN
 *   MB_WITHOUT_TERNARY the ternary backward pass; with MB_WITHOUT_LEARN or MB_WITHOUT_VISITS such an image still predicts
 *   MB_WITHOUT_CHECKS  all checks of mb_open and mb_export but magic, version, sections and checksums. Only for an image
 *                      that is part of the program, as this library wrote or exported it, and that needs no part left out:
 *                      any other image can then read and write anywhere.
 * These add something:
 *   MB_THUMB1          adder tree, cuts, gates and levels by hand for Cortex-M0, M0+ and M1; the tree takes 27 % (gcc) or 33 % (clang) fewer
 *                      cycles. It needs -fomit-frame-pointer, and with gcc -O1 or more but not -Os.
 *   MB_WIDE            the calls into mb_model.host, for hosts with runtime/host; devices leave it out
 *   MB_PROFILE         the calls of mb_profile below */

/// Profile ///

/* A library built with MB_PROFILE calls mb_profile, which you define, at every layer boundary. Without it there is no code. */
typedef enum mb_phase { MB_FORWARD = 1, MB_ERROR = 2, MB_BACKWARD = 3, MB_UPDATE = 4, MB_DONE = 5 } mb_phase;
#ifdef MB_PROFILE
void mb_profile(mb_phase phase, unsigned layer);
#endif

#ifdef __cplusplus
}
#endif
#endif
