/* The guard: a running accuracy, a test on kept samples, and what follows from both. metabit_guard.h is the manual, FORMAT.md has the data. */
#include <string.h>

#include "image.h"
#include "metabit_guard.h"

#if MB_HAS_LEARN

enum { /* offsets in the guard data; all fields little-endian */
    AT_VERSION = 4, AT_COUNT = 6, AT_IDENTITY = 8, AT_SUM = 12, AT_TICKET = 16, AT_ALLOWED = 18, AT_SPARED = 20, AT_LEAST = 22,
    AT_GOOD = 24, AT_PATIENCE = 26, AT_APART = 28, AT_PER_STEP = 30, AT_REPEATS = 31, AT_RUN = 32, AT_LABELS = 36
};
enum { MAGIC = 0x4447424D, VERSION = 1, MOST = 4096 }; /* "MBGD"; samples */
enum { SLOW = 7, FAST = 5, DIP = 4096 };  /* time constants, as powers of two; how far fast may lie below slow at a save, in 1/65536 */

static uint32_t field(const mb_guard *g, unsigned at)
{
    return mb_u16_at(g->data + at);
}

/* Offset of the tickets: the labels before them end at a multiple of four. */
static uint32_t tickets_at(uint32_t count)
{
    return AT_LABELS + ((2u * count + 3u) & ~3u);
}

/// Keeping a state in RAM ///

mb_status mb_guard_copy(void *copy, const mb_model *m)
{
    MB_REFUSE(MB_E_NULL, copy == NULL);
    memcpy(copy, m->state, mb_state_size(m));
    return MB_OK;
}

mb_status mb_guard_take_back(void *copy, mb_model *m)
{
    MB_REFUSE(MB_E_NULL, copy == NULL);
    MB_REFUSE(MB_E_GENERATOR, *(const mb_word *)copy == 0);
    memcpy(m->state, copy, mb_state_size(m));
    return mb_reattach(m, m->state, mb_state_size(m), m->arena, mb_arena_size(m, MB_LEARN));
}

/// The guard ///

/* Begins anew with a running accuracy. */
static void begin(mb_guard *g, uint32_t accuracy)
{
    g->slow = g->fast = accuracy;
    g->low = 0;
    g->next = g->right_now = 0;
}

mb_status mb_guard_open(mb_guard *g, const mb_model *m, const void *data, size_t len, const mb_guard_keep *keep)
{
    MB_REFUSE(MB_E_NULL, g == NULL);
    memset(g, 0, sizeof *g);
    MB_REFUSE(MB_E_NULL, m == NULL || data == NULL);
    MB_REFUSE(MB_E_ALIGN, ((uintptr_t)data & 3u) != 0);
    MB_REFUSE(MB_E_DETACHED, m->state == NULL);
    MB_REFUSE(MB_E_FROZEN, m->mode != MB_LEARN);
    const uint8_t *const p = data;
    MB_REFUSE(MB_E_GUARD, len < AT_LABELS || mb_u32_at(p) != (uint32_t)MAGIC || mb_u16_at(p + AT_VERSION) != VERSION);
    const uint32_t count = mb_u16_at(p + AT_COUNT), size = mb_ticket_size(m), labels = tickets_at(count);
    const uint32_t bytes = labels + count * size; /* count <= 2^12 where it is used, and size < 2^16 */
    MB_REFUSE(MB_E_GUARD, count - 1u >= MOST || mb_u16_at(p + AT_TICKET) != size || p[AT_PER_STEP] == 0 || len < ((bytes + 3u) & ~3u));
    MB_REFUSE(MB_E_GUARD, mb_u32_at(p + AT_IDENTITY) != mb_identity(m));
    MB_REFUSE(MB_E_GUARD, mb_u32_at(p + AT_SUM) != mb_section_sum(m->image, p + AT_TICKET, bytes - AT_TICKET));
    if (keep != NULL) {
        g->keep = *keep;
    }
    const mb_status status = g->keep.save != NULL ? g->keep.save(g->keep.context, m) : MB_OK;
    MB_REFUSE(status, status != MB_OK);
    g->data = p;
    g->right = (uint16_t)count;
    g->last_label = UINT16_MAX;
    mb_guard_resume(g);
    return MB_OK;
}

void mb_guard_resume(mb_guard *g)
{
    if (g != NULL && g->data != NULL) {
        g->status = MB_GUARD_WATCHING;
        g->reason = MB_GUARD_NONE;
        begin(g, field(g, AT_GOOD));
    }
}

/* Learning ends. The running accuracy begins at 0: only samples that the state predicts from now on can make it good. */
MB_MINSIZE static void end(mb_guard *g, mb_model *m, mb_guard_reason reason)
{
    g->reason = (uint8_t)reason;
    g->status = MB_GUARD_STOPPED;
    g->ends++;
    begin(g, 0);
    if (g->keep.restore != NULL) {
        const mb_status status = g->keep.restore(g->keep.context, m);
        if (status == MB_OK) {
            g->status = MB_GUARD_ROLLED_BACK;
        } else {
            g->error = status;
        }
    }
}

/* Tests the next guard samples. After the last one either learning ends, or the state may be good enough to be saved. */
static void test(mb_guard *g, mb_model *m)
{
    const uint32_t count = field(g, AT_COUNT), size = field(g, AT_TICKET);
    for (uint32_t left = g->data[AT_PER_STEP]; left != 0 && g->next < count; left--) {
        uint16_t label;
        const mb_status status = mb_predict_ticket(m, g->data + tickets_at(count) + g->next * size, NULL, &label);
        g->right_now = (uint16_t)(g->right_now + (status == MB_OK && label == field(g, AT_LABELS + 2u * g->next)));
        g->next++;
    }
    if (g->next < count) {
        return;
    }
    g->right = g->right_now;
    g->next = g->right_now = 0;
    g->tests++;
    if (g->right + field(g, AT_ALLOWED) < count) {
        end(g, m, MB_GUARD_FORGOT);
    } else if (g->keep.save != NULL && g->right + field(g, AT_SPARED) >= count && g->slow >= field(g, AT_GOOD) &&
               g->fast + DIP >= g->slow && g->apart >= field(g, AT_APART)) {
        const mb_status status = g->keep.save(g->keep.context, m);
        if (status == MB_OK) {
            g->saves++;
            g->apart = 0;
        } else {
            g->error = status;
        }
    }
}

/* An exponential mean: accuracy <= 65536 before and after, because it loses at least as much as a sample adds at 65536. */
static void follow(mb_guard *g, uint32_t right)
{
    g->slow += (right << (16 - SLOW)) - (g->slow >> SLOW);
    g->fast += (right << (16 - FAST)) - (g->fast >> FAST);
}

/* True if the step is to be refused: the input or the label has been the same too often. */
static int refused(mb_guard *g, const uint8_t *input, uint32_t size, uint16_t label)
{
    uint32_t sum = size; /* an odd factor: inputs that differ in one byte differ in the sum */
    for (uint32_t i = 0; i < size; i++) {
        sum = (sum ^ input[i]) * 16777619u;
    }
    g->repeats = (uint8_t)(sum != g->last_input || g->last_label == UINT16_MAX ? 0 : g->repeats + (g->repeats != 255u));
    g->run = (uint8_t)(label != g->last_label ? 0 : g->run + (g->run != 255u));
    g->last_input = sum;
    g->last_label = label;
    const uint32_t repeats = g->data[AT_REPEATS], run = g->data[AT_RUN];
    return (repeats != 0 && g->repeats >= repeats) || (run != 0 && g->run >= run);
}

/* The step of both functions below: they differ in what they are given, and in its size. */
static mb_status guarded(mb_guard *g, mb_model *m, const void *given, int ticket, uint16_t label, mb_learn_info *info)
{
    mb_learn_info done = {0, 1, 0, 0, 0};
    mb_status status;
    MB_REFUSE(MB_E_NULL, g == NULL || m == NULL || given == NULL);
    MB_REFUSE(MB_E_GUARD, g->data == NULL);
    MB_REFUSE(MB_E_LABEL, label >= mb_classes(m));
    const int refuse = refused(g, given, ticket ? mb_ticket_size(m) : mb_input_size(m), label);
    if (refuse || g->status != MB_GUARD_WATCHING) {
        status = ticket ? mb_predict_ticket(m, given, NULL, &done.predicted) : mb_predict(m, given, NULL, &done.predicted);
        MB_REFUSE(status, status != MB_OK);
        g->refused += (uint32_t)refuse;
        if (!refuse) {
            follow(g, done.predicted == label);
            if (g->slow >= field(g, AT_GOOD)) {
                mb_guard_resume(g);
            }
        }
    } else {
        status = ticket ? mb_learn_ticket(m, given, label, &done) : mb_learn(m, given, label, &done);
        MB_REFUSE(status, status != MB_OK);
        g->learnt++;
        g->apart++;
        follow(g, done.predicted == label);
        g->low = g->slow < field(g, AT_LEAST) ? g->low + 1u : 0;
        if (g->low > field(g, AT_PATIENCE)) {
            end(g, m, MB_GUARD_LABELS);
        } else {
            test(g, m);
        }
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
