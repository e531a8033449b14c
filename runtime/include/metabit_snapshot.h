/* Snapshots: a state that says which image it grew from, as bytes for a host, a file or another device. FORMAT.md, "Snapshot".
 *
 * Optional: a program that does not call it links none of it. To keep what was learnt in flash there is metabit_store.h.
 *
 *   uint32_t head[MB_SNAPSHOT_WORDS];
 *   if (mb_snapshot_head(&m, head) == MB_OK) { send(head, sizeof head); send(m.state, mb_state_size(&m)); }
 *   ...
 *   status = mb_adopt(&m, received, count);   // after mb_attach; anybody may have made these bytes */
#ifndef METABIT_SNAPSHOT_H
#define METABIT_SNAPSHOT_H

#include "metabit.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { MB_SNAPSHOT_WORDS = 6 }; /* of a snapshot, before the state */

/* Makes what stands before the attached state in a snapshot.
 *
 * returns    MB_OK; MB_E_NULL; or MB_E_DETACHED without a state */
mb_status mb_snapshot_head(const mb_model *m, uint32_t head[MB_SNAPSHOT_WORDS]);

/* Makes a snapshot, or the bytes of a state alone, the attached state. It checks them as mb_open checks an image's state, so no byte can
 * make a later call read or write outside the three memories; a state alone does not say whose it is.
 *
 * bytes      len bytes, 4-byte aligned: a snapshot, or mb_state_size(m) bytes of state, which may be m->state itself
 * returns    MB_OK, and a host calls mb_widen again; or an error, and nothing has changed: MB_E_NULL; MB_E_DETACHED without a state;
 *            MB_E_ALIGN; MB_E_STATE_SIZE if there are more or fewer bytes than a state has and no snapshot's first four;
 *            MB_E_TRUNCATED; MB_E_VERSION of another version of snapshots; MB_E_STATE_CRC if it is damaged; MB_E_IDENTITY if it grew
 *            from another image; MB_E_GENERATOR, MB_E_PADDING or MB_E_RULE if it is no state of this image; or the error of
 *            mb_verify where bits of the opened image have changed */
mb_status mb_adopt(mb_model *m, const void *bytes, size_t len);

#ifdef __cplusplus
}
#endif
#endif
