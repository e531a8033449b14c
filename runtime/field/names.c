/* Names of classes, from the notes of an image. metabit_merge.h is the manual. */
#include "metabit_merge.h"

#include <string.h>

/* The rest of the list of class names in the notes, {"classes":["a",...],...}. */
typedef struct names {
    const uint8_t *p, *end;
} names;

static names names_of(const mb_model *m)
{
    static const char KEY[] = "{\"classes\":[";
    const uint32_t key = sizeof KEY - 1u;
    uint32_t at, size;
    memcpy(&at, m->image + 52, 4);
    memcpy(&size, m->image + 56, 4);
    const uint8_t *const p = m->image + at;
    names n = {p, p};
    if (size > key && memcmp(p, KEY, key) == 0) {
        n.p = p + key;
        n.end = p + size;
    }
    return n;
}

/* Returns the bytes of the next name, as they are written, or NULL behind the last. */
static const uint8_t *next_name(names *n, uint32_t *len)
{
    while (n->p < n->end && *n->p != '"') {
        if (*n->p++ == ']') {
            n->end = n->p;
        }
    }
    if (n->p == n->end) {
        return NULL;
    }
    const uint8_t *const begin = ++n->p;
    while (n->p < n->end && *n->p != '"') {
        n->p += *n->p == '\\' && n->end - n->p > 1 ? 2 : 1;
    }
    if (n->p == n->end) {
        return NULL;
    }
    *len = (uint32_t)(n->p++ - begin);
    return begin;
}

/* pre: m is open. */
static const uint8_t *name_of(const mb_model *m, uint32_t c, uint32_t *len)
{
    names n = names_of(m);
    const uint8_t *name = next_name(&n, len);
    while (c-- != 0 && name != NULL) {
        name = next_name(&n, len);
    }
    return name;
}

const char *mb_class_name(const mb_model *m, uint16_t c, uint32_t *len)
{
    *len = 0;
    return m == NULL || m->image == NULL ? NULL : (const char *)(const void *)name_of(m, c, len);
}

uint16_t mb_class_in(const mb_model *from, const mb_model *to, uint16_t c)
{
    uint32_t len, other;
    const uint16_t classes = mb_classes(from);
    if (classes == 0 || c >= mb_classes(to)) {
        return MB_NO_CLASS;
    }
    names its = names_of(from);
    const uint8_t *const name = name_of(to, c, &len), *one = next_name(&its, &other);
    if (name != NULL && one != NULL) {
        for (uint16_t was = 0; one != NULL && was < classes; was++, one = next_name(&its, &other)) {
            if (other == len && memcmp(one, name, len) == 0) {
                return was;
            }
        }
        return MB_NO_CLASS;
    }
    const int unlike = one != NULL && name_of(to, 0, &len) != NULL && name_of(from, c, &other) != NULL; /* only the old one is named */
    return c < classes && !unlike ? c : (uint16_t)MB_NO_CLASS;
}
