/* Snapshots: the head of a state that travels, and the way back. metabit_snapshot.h is the manual. */
#include "metabit_snapshot.h"

#include <string.h>

#define MAGIC 0x5453424Du /* "MBST" */
enum { VERSION = 1 };
enum { AT_MAGIC, AT_VERSION, AT_IDENTITY, AT_SIZE, AT_STEPS, AT_SUM }; /* words of a head */

#if defined(__GNUC__)
typedef uint32_t __attribute__((may_alias)) snapshot_word; /* a state holds half words and bytes too */
#else
typedef uint32_t snapshot_word;
#endif

/* The checksum of a head but its last word, and the state. size: a multiple of 4. */
static uint32_t snapshot_sum(const snapshot_word *head, const void *state, uint32_t size)
{
    return ~mb_sum_words(mb_sum_words(0xFFFFFFFFu, head, AT_SUM), state, size / 4u);
}

mb_status mb_snapshot_head(const mb_model *m, uint32_t head[MB_SNAPSHOT_WORDS])
{
    if (m == NULL || m->image == NULL || head == NULL) {
        return MB_E_NULL;
    }
    if (m->state == NULL) {
        return MB_E_DETACHED;
    }
    head[AT_MAGIC] = MAGIC;
    head[AT_VERSION] = VERSION;
    head[AT_IDENTITY] = mb_identity(m);
    head[AT_SIZE] = (uint32_t)mb_state_size(m);
    memcpy(&head[AT_STEPS], m->state + 4, sizeof head[AT_STEPS]);
    head[AT_SUM] = snapshot_sum(head, m->state, head[AT_SIZE]);
    return MB_OK;
}

/* Returns whether the head of a snapshot is right, and this model's. pre: bytes has len bytes, at least 4. */
static mb_status check_head(const mb_model *m, const snapshot_word *head, size_t len)
{
    if (head[AT_MAGIC] != MAGIC) {
        return MB_E_STATE_SIZE;
    }
    if (len < 4u * MB_SNAPSHOT_WORDS) {
        return MB_E_TRUNCATED;
    }
    if (head[AT_VERSION] != VERSION) {
        return MB_E_VERSION;
    }
    const size_t given = len - 4u * MB_SNAPSHOT_WORDS;
    if (given != head[AT_SIZE] || (given & 3u) != 0) {
        return given < head[AT_SIZE] ? MB_E_TRUNCATED : MB_E_STATE_SIZE;
    }
    if (snapshot_sum(head, head + MB_SNAPSHOT_WORDS, (uint32_t)given) != head[AT_SUM]) {
        return MB_E_STATE_CRC;
    }
    return head[AT_IDENTITY] != mb_identity(m) ? MB_E_IDENTITY : given != mb_state_size(m) ? MB_E_STATE_SIZE : MB_OK;
}

mb_status mb_adopt(mb_model *m, const void *bytes, size_t len)
{
    if (m == NULL || m->image == NULL || bytes == NULL) {
        return MB_E_NULL;
    }
    if (m->state == NULL) {
        return MB_E_DETACHED;
    }
    if (((uintptr_t)bytes & 3u) != 0) {
        return MB_E_ALIGN;
    }
    const size_t size = mb_state_size(m);
    const snapshot_word *state = bytes;
    if (len != size) {
        const mb_status status = len < 4u ? MB_E_STATE_SIZE : check_head(m, state, len);
        if (status != MB_OK) {
            return status;
        }
        state += MB_SNAPSHOT_WORDS;
    }
    mb_model other = *m; /* that model with this state; nothing writes to it */
    other.state = (uint8_t *)(uintptr_t)state;
    const mb_status status = mb_verify(&other);
    if (status != MB_OK) {
        return status;
    }
    if (other.state != m->state) {
        memcpy(m->state, state, size);
    }
    return mb_reattach(m, m->state, size, m->arena, mb_arena_size(m, m->mode));
}
