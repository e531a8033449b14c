/* keep.c: what was learnt survives a restart. The driver's three functions are in flash.c. */
#include "metabit_store.h"

int flash_read(void *context, uint32_t at, void *to, uint32_t count);
int flash_program(void *context, uint32_t at, const void *from, uint32_t count);
int flash_erase(void *context, uint32_t at);

static const mb_store store = {NULL, flash_read, flash_program, flash_erase, 4096, 12, 8}; /* 12 pages of 4 KB, programs of 8 bytes */

mb_status keep_start(mb_model *m);
mb_status keep(const mb_model *m, uint32_t steps);

mb_status keep_start(mb_model *m) /* after mb_attach */
{
    const mb_status status = mb_restore(m, &store);
    return status == MB_E_NO_SNAPSHOT || status == MB_E_IDENTITY ? MB_OK : status; /* a new device, or a new image: the factory's state */
}

mb_status keep(const mb_model *m, uint32_t steps) /* after each learning step */
{
    return steps % 100u == 0 ? mb_save(m, &store) : MB_OK;
}
