/* The guard: a running accuracy, a test on kept samples, and what follows from both. metabit_guard.h is the manual and has the layout of
 * the guard data. */
#include "metabit_guard.h"

#include <string.h>

#ifndef MB_WITHOUT_LEARN

enum { /* offsets in the guard data; the checksum is of all that follows it */
    AT_IDENTITY = 4, AT_SUM = 8, AT_COUNT = 12, AT_TICKET = 14, AT_ALLOWED = 16, AT_SPARED = 18, AT_LEAST = 20, AT_GOOD = 22,
    AT_PATIENCE = 24, AT_APART = 26, AT_PER_STEP = 28, AT_REPEATS = 29, AT_RUN = 30, AT_SAMPLES = 32
};
#define MAGIC 0x3147424Du /* "MBG1" */
enum { SLOW = 7, FAST = 5, DIP = 4096 }; /* time constants, as powers of two; how far fast may lie below slow at a save, in 1/65536 */

/* Their code is smaller so, which a compiler does not see by itself. */
#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline))
#define NOINLINE static __attribute__((noinline))
#else
#define INLINE static
#define NOINLINE static
#endif

INLINE uint32_t u16_at(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8;
}

INLINE uint32_t u32_at(const uint8_t *p)
{
    return u16_at(p) | u16_at(p + 2) << 16;
}

/* A checksum (FNV-1a). Bytes that differ in one place differ in the sum, because the factor is odd. */
NOINLINE uint32_t sum_of(const uint8_t *p, size_t size)
{
    uint32_t sum = 2166136261u;
    for (; size != 0; size--) {
        sum = (sum ^ *p++) * 16777619u;
    }
    return sum;
}

/// Keeping a state in RAM ///

mb_status mb_guard_copy(void *copy, const mb_model *m)
{
    memcpy(copy, m->state, mb_state_size(m));
    return MB_OK;
}

mb_status mb_guard_take_back(void *copy, mb_model *m)
{
    memcpy(m->state, copy, mb_state_size(m));
    return mb_reattach(m, m->state, mb_state_size(m), m->arena, mb_arena_size(m, MB_LEARN));
}

/// The guard ///

/* Begins a test, and the running accuracy at this one. */
static void begin(mb_guard *g, uint32_t accuracy, mb_guard_status status, mb_guard_reason reason)
{
    g->status = (uint8_t)status;
    g->reason = (uint8_t)reason;
    g->slow = g->fast = accuracy;
    g->low = 0;
    g->next = g->right_now = 0;
}

void mb_guard_resume(mb_guard *g)
{
    if (g != NULL && g->data != NULL) {
        begin(g, u16_at(g->data + AT_GOOD), MB_GUARD_WATCHING, MB_GUARD_NONE);
    }
}

mb_status mb_guard_open(mb_guard *g, const mb_model *m, const void *data, size_t len, const mb_guard_keep *keep)
{
    const uint8_t *const p = data;
    if (g == NULL || m == NULL || data == NULL) {
        return MB_E_NULL;
    }
    memset(g, 0, sizeof *g);
    if (m->mode != MB_LEARN) {
        return MB_E_FROZEN;
    }
    if (len < AT_SAMPLES || u32_at(p) != MAGIC || u32_at(p + AT_IDENTITY) != mb_identity(m) ||
        u32_at(p + AT_SUM) != sum_of(p + AT_COUNT, len - AT_COUNT) ||
        u16_at(p + AT_TICKET) != mb_ticket_size(m) || len - AT_SAMPLES != u16_at(p + AT_COUNT) * (u16_at(p + AT_TICKET) + 2u)) {
        return MB_E_GUARD; /* no product exceeds 65535 * 65537 = 2^32 - 1 */
    }
    if (keep != NULL) {
        g->keep = *keep;
    }
    const mb_status status = g->keep.save != NULL ? g->keep.save(g->keep.context, m) : MB_OK;
    if (status == MB_OK) {
        g->data = p;
        g->last_label = UINT16_MAX;
        mb_guard_resume(g);
    }
    return status;
}

/* Learning ends. The running accuracy begins at 0: only samples that the state predicts from now on can make it good. */
static void end(mb_guard *g, mb_model *m, mb_guard_reason reason)
{
    mb_guard_status now = MB_GUARD_STOPPED;
    g->ends++;
    if (g->keep.restore != NULL) {
        g->error = g->keep.restore(g->keep.context, m);
        now = g->error == MB_OK ? MB_GUARD_ROLLED_BACK : now;
    }
    begin(g, 0, now, reason);
}

/* Tests the next guard samples: a label of two bytes, then the ticket. Returns 1 after the last one. A sample that is no ticket is wrong. */
static int tested(mb_guard *g, const mb_model *m)
{
    const uint8_t *const p = g->data;
    const uint32_t count = u16_at(p + AT_COUNT), pitch = u16_at(p + AT_TICKET) + 2u;
    for (uint32_t left = p[AT_PER_STEP]; left != 0 && g->next < count; left--) {
        const uint8_t *const sample = p + AT_SAMPLES + g->next++ * pitch;
        uint16_t label = UINT16_MAX;
        (void)mb_predict_ticket(m, sample + 2, NULL, &label);
        g->right_now = (uint16_t)(g->right_now + (label == u16_at(sample)));
    }
    if (g->next < count) {
        return 0;
    }
    g->right = g->right_now;
    g->next = g->right_now = 0;
    g->tests++;
    return 1;
}

/* Ends learning, or saves the state, if that is called for after this step. whole: 1 if a test has just ended. */
static void judge(mb_guard *g, mb_model *m, int whole)
{
    const uint8_t *const p = g->data;
    const uint32_t wrong = whole ? u16_at(p + AT_COUNT) - g->right : 0;
    g->low = g->slow < u16_at(p + AT_LEAST) ? g->low + 1u : 0;
    const int labels = g->low > u16_at(p + AT_PATIENCE);
    if (labels || wrong > u16_at(p + AT_ALLOWED)) {
        end(g, m, labels ? MB_GUARD_LABELS : MB_GUARD_FORGOT);
    } else if (whole && wrong <= u16_at(p + AT_SPARED) && g->slow >= u16_at(p + AT_GOOD) && g->fast + DIP >= g->slow &&
               g->apart >= u16_at(p + AT_APART) && g->keep.save != NULL) {
        g->error = g->keep.save(g->keep.context, m);
        g->saves += g->error == MB_OK;
        g->apart = 0;
    }
}

/* 1 if the input or the label has been the same too often. */
static int refused(mb_guard *g, uint32_t input, uint16_t label)
{
    const uint8_t *const most = g->data + AT_REPEATS; /* of inputs, of labels */
    uint32_t *const seen = g->same;
    seen[0] = input == g->last_input ? seen[0] + 1u : 0;
    seen[1] = label == g->last_label ? seen[1] + 1u : 0;
    g->last_input = input;
    g->last_label = label;
    return (most[0] != 0 && seen[0] >= most[0]) || (most[1] != 0 && seen[1] >= most[1]);
}

/* The step of both functions below. */
static mb_status guarded(mb_guard *g, mb_model *m, const void *given, int ticket, uint16_t label, mb_learn_info *info)
{
    mb_learn_info done = {0, 1, 0, 0, 0};
    mb_status status;
    if (g == NULL || m == NULL || given == NULL) {
        return MB_E_NULL;
    }
    if (g->data == NULL) {
        return MB_E_GUARD;
    }
    if (label >= mb_classes(m)) {
        return MB_E_LABEL;
    }
    const int refuse = refused(g, sum_of(given, ticket ? mb_ticket_size(m) : mb_input_size(m)), label);
    const int learns = !refuse && g->status == MB_GUARD_WATCHING;
    if (learns) {
        status = ticket ? mb_learn_ticket(m, given, label, &done) : mb_learn(m, given, label, &done);
    } else {
        status = ticket ? mb_predict_ticket(m, given, NULL, &done.predicted) : mb_predict(m, given, NULL, &done.predicted);
    }
    if (status != MB_OK) {
        return status;
    }
    if (refuse) {
        g->refused++;
    } else { /* means that fade; at 65536 a sample adds at most what they lose, so they stay at or below it */
        const uint32_t right = done.predicted == label;
        g->slow += (right << (16 - SLOW)) - (g->slow >> SLOW);
        g->fast += (right << (16 - FAST)) - (g->fast >> FAST);
    }
    if (learns) {
        g->learnt++;
        g->apart++;
        judge(g, m, tested(g, m));
    } else if (g->status != MB_GUARD_WATCHING && g->slow >= u16_at(g->data + AT_GOOD)) {
        mb_guard_resume(g);
    }
    if (info != NULL) {
        *info = done;
    }
    return MB_OK;
}

mb_status mb_guard_learn(mb_guard *g, mb_model *m, const void *input, uint16_t label, mb_learn_info *info)
{
    return guarded(g, m, input, 0, label, info);
}

mb_status mb_guard_learn_ticket(mb_guard *g, mb_model *m, const void *ticket, uint16_t label, mb_learn_info *info)
{
    return guarded(g, m, ticket, 1, label, info);
}
#endif
