/* The store on emulated flash: a cut at every operation of many saves, damage of every byte, failures of the driver.
 *
 *   store NAME.mbit [SAVES [RANDOM]]   an image in which some layer learns; saves that are cut everywhere; random cuts in a row
 *
 * After each cut mb_restore must give the state before the save or the new one, and mb_restore_older the one before that. */
#include "images.h"
#include "nor.h"

#define CHECK(condition)                                                                                    \
    do {                                                                                                    \
        if (!(condition)) {                                                                                 \
            fprintf(stderr, "store: line %d: %s (unit %u, save %u)\n", __LINE__, #condition, unit_now, save_now); \
            exit(1);                                                                                        \
        }                                                                                                   \
    } while (0)

static unsigned unit_now, save_now;

/// A device ///

typedef struct device {
    mb_model m;
    uint8_t *image, *state, *arena, *input;
    size_t image_len, state_len, arena_len;
    uint32_t seed;
} device;

static void *memory(size_t size)
{
    void *p = calloc(size != 0 ? size : 1, 1);
    if (p == NULL) {
        exit(2);
    }
    return p;
}

static void start(device *d)
{
    CHECK(mb_open(&d->m, d->image, d->image_len) == MB_OK);
    memset(d->state, 0xA5, d->state_len); /* RAM after a cut holds anything */
    CHECK(mb_attach(&d->m, d->state, d->state_len, d->arena, d->arena_len) == MB_OK);
}

static device make_device(const uint8_t *image, size_t image_len)
{
    device d = {0};
    d.image = memory(image_len);
    memcpy(d.image, image, image_len);
    d.image_len = image_len;
    d.seed = 1;
    CHECK(mb_open(&d.m, d.image, image_len) == MB_OK);
    d.state_len = mb_state_size(&d.m);
    d.arena_len = mb_arena_size(&d.m, MB_LEARN);
    d.state = memory(d.state_len);
    d.arena = memory(d.arena_len);
    d.input = memory(mb_input_size(&d.m));
    start(&d);
    return d;
}

static void drop_device(device *d)
{
    free(d->image);
    free(d->state);
    free(d->arena);
    free(d->input);
}

static uint32_t any(device *d)
{
    d->seed = d->seed * 1664525u + 1013904223u;
    return d->seed >> 8;
}

static void learn(device *d, unsigned steps)
{
    const uint16_t classes = mb_classes(&d->m);
    for (; steps != 0; steps--) {
        const uint16_t label = (uint16_t)(any(d) % classes);
        for (unsigned i = 0; i < mb_input_size(&d->m); i++) {
            d->input[i] = (uint8_t)(any(d) % 4 == 0 ? any(d) : label * 37u + i * 11u);
        }
        const mb_status status = mb_learn(&d->m, d->input, label, NULL);
        CHECK(status == MB_OK || status == MB_E_LABEL); /* a head whose rows are all taken */
    }
}

/// Flash ///

static nor make_nor(uint32_t page_size, uint32_t pages, uint32_t unit)
{
    nor n = {0};
    n.page_size = page_size;
    n.pages = pages;
    n.unit = unit;
    n.seed = 2463534242u;
    n.bytes = memory((size_t)page_size * pages);
    n.used = memory((size_t)page_size * pages / unit);
    for (size_t i = 0; i < (size_t)page_size * pages; i++) {
        n.bytes[i] = (uint8_t)nor_random(&n); /* what a program before left */
    }
    memset(n.used, 1, (size_t)page_size * pages / unit);
    return n;
}

static void copy_nor(nor *to, const nor *from)
{
    uint8_t *const bytes = to->bytes, *const used = to->used;
    const uint32_t seed = to->seed;
    *to = *from;
    to->bytes = bytes;
    to->used = used;
    to->seed = seed;
    memcpy(bytes, from->bytes, (size_t)from->page_size * from->pages);
    memcpy(used, from->used, (size_t)from->page_size * from->pages / from->unit);
}

static void drop_nor(nor *n)
{
    free(n->bytes);
    free(n->used);
}

/* A geometry in which this state needs more than one page a snapshot and has a log. */
static nor flash_for(const device *d, uint32_t unit, uint32_t pages_each)
{
    uint32_t page = 64;
    while (page * pages_each < d->state_len + 96) {
        page += 64;
    }
    const mb_store sizes = {NULL, NULL, NULL, NULL, page, 0, unit};
    return make_nor(page, 2u * mb_store_size(&d->m, &sizes) / page + 1u, unit);
}

/// Cuts ///

/* The last three states that were saved: [0] the newest. `known` of them are there. */
typedef struct history {
    uint8_t *states[3];
    unsigned known;
} history;

static void remember(history *h, const device *d)
{
    uint8_t *const last = h->states[2];
    h->states[2] = h->states[1];
    h->states[1] = h->states[0];
    h->states[0] = last;
    memcpy(last, d->state, d->state_len);
    h->known += h->known < 3;
}

/* Restores after a cut in a save of `wanted`; h is the history before that save. Returns 1 if the new state came back. */
static int restored_whole(device *d, const mb_store *store, const history *h, const uint8_t *wanted)
{
    start(d);
    const mb_status status = mb_restore(&d->m, store);
    if (h->known == 0 && (status == MB_E_NO_SNAPSHOT || status == MB_E_STORE)) {
        return 0; /* the first save; MB_E_STORE where the cut left a unit that cannot be read */
    }
    CHECK(status == MB_OK);
    const int is_new = memcmp(d->state, wanted, d->state_len) == 0;
    CHECK(is_new || (h->known != 0 && memcmp(d->state, h->states[0], d->state_len) == 0));
    const unsigned older = is_new ? 0 : 1;
    const mb_status before = mb_restore_older(&d->m, store);
    if (older < h->known) {
        CHECK(before == MB_OK && memcmp(d->state, h->states[older], d->state_len) == 0);
    } else {
        CHECK(before == MB_E_NO_SNAPSHOT || before == MB_E_STORE);
    }
    return is_new;
}

/* A save, cut at each of its operations in each way; after each cut the device restores, and saves again. */
static uint64_t cut_everywhere(device *d, device *again, nor *now, nor *trial, const history *h)
{
    uint64_t cuts = 0, operations = 1;
    for (uint64_t k = 1; k <= operations; k++) {
        for (int torn = 0; torn < TORN_KINDS; torn++) {
            copy_nor(trial, now);
            const mb_store store = nor_store(trial);
            nor_power(trial, k, (enum torn)torn);
            const mb_status status = mb_save(&d->m, &store);
            if (!trial->off) { /* k is beyond the last operation */
                CHECK(status == MB_OK);
                return cuts;
            }
            CHECK(status == MB_E_STORE);
            operations = k + 1;
            cuts++;
            nor_power(trial, 0, TORN_NOT);
            const int is_new = restored_whole(again, &store, h, d->state);
            CHECK(mb_save(&d->m, &store) == MB_OK); /* the second attempt; nothing is left of the first */
            start(again);
            CHECK(mb_restore(&again->m, &store) == MB_OK && memcmp(again->state, d->state, d->state_len) == 0);
            if (h->known != 0) {
                CHECK(mb_restore_older(&again->m, &store) == MB_OK && memcmp(again->state, h->states[0], d->state_len) == 0);
            }
            (void)is_new;
        }
    }
    return cuts;
}

static uint64_t exhaustive(const uint8_t *image, size_t image_len, uint32_t unit, unsigned saves, unsigned steps, uint32_t pages_each)
{
    device d = make_device(image, image_len), again = make_device(image, image_len);
    nor now = flash_for(&d, unit, pages_each), trial = make_nor(now.page_size, now.pages, unit);
    history h = {{memory(d.state_len), memory(d.state_len), memory(d.state_len)}, 0};
    const mb_store store = nor_store(&now);
    uint64_t cuts = 0;
    unit_now = unit;
    for (save_now = 0; save_now < saves; save_now++) {
        learn(&d, steps);
        cuts += cut_everywhere(&d, &again, &now, &trial, &h);
        CHECK(mb_save(&d.m, &store) == MB_OK && now.refused == 0);
        remember(&h, &d);
        const uint64_t before = now.operations;
        CHECK(mb_save(&d.m, &store) == MB_OK && now.operations == before); /* it is there already */
    }
    printf("unit %2u, %u pages of %u bytes: %u saves, %llu bytes programmed, %llu erases, %llu cuts\n", unit, now.pages,
           now.page_size, saves, (unsigned long long)now.programs, (unsigned long long)now.erases, (unsigned long long)cuts);
    for (unsigned i = 0; i < 3; i++) {
        free(h.states[i]);
    }
    drop_nor(&now);
    drop_nor(&trial);
    drop_device(&d);
    drop_device(&again);
    return cuts;
}

/* Cuts in a row, at random operations of saves that follow cuts, on one flash that no test puts right. */
static void random_cuts(const uint8_t *image, size_t image_len, uint32_t unit, unsigned cuts)
{
    device d = make_device(image, image_len);
    nor n = flash_for(&d, unit, 2);
    history h = {{memory(d.state_len), memory(d.state_len), memory(d.state_len)}, 0};
    uint8_t *const wanted = memory(d.state_len);
    const mb_store store = nor_store(&n);
    unsigned kept = 0;
    unit_now = unit;
    for (save_now = 0; kept < cuts; save_now++) {
        learn(&d, 1 + any(&d) % 3);
        memcpy(wanted, d.state, d.state_len);
        nor_power(&n, any(&d) % 4 == 0 ? 0 : 1 + any(&d) % (1u << any(&d) % 10), (enum torn)(any(&d) % TORN_KINDS));
        const mb_status status = mb_save(&d.m, &store);
        CHECK(memcmp(d.state, wanted, d.state_len) == 0);
        if (!n.off) {
            CHECK(status == MB_OK);
            remember(&h, &d);
            continue;
        }
        CHECK(status == MB_E_STORE);
        kept++;
        nor_power(&n, 0, TORN_NOT);
        if (restored_whole(&d, &store, &h, wanted)) {
            memcpy(d.state, wanted, d.state_len);
            remember(&h, &d);
        }
        start(&d);
        if (h.known != 0) {
            CHECK(mb_restore(&d.m, &store) == MB_OK && memcmp(d.state, h.states[0], d.state_len) == 0);
        }
    }
    printf("unit %2u: %u random cuts in %u saves\n", unit, kept, save_now);
    free(wanted);
    for (unsigned i = 0; i < 3; i++) {
        free(h.states[i]);
    }
    drop_nor(&n);
    drop_device(&d);
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 4) {
        fprintf(stderr, "usage: store NAME.mbit [SAVES [RANDOM]]\n");
        return 2;
    }
    size_t image_len;
    uint8_t *const image = read_file(argv[1], &image_len);
    const unsigned saves = argc > 2 ? (unsigned)atoi(argv[2]) : 6, random = argc > 3 ? (unsigned)atoi(argv[3]) : 200;
    static const uint32_t units[6] = {2, 4, 8, 1, 16, 32};
    for (unsigned i = 0; i < 6; i++) {
        random_cuts(image, image_len, units[i], random);
    }
    for (unsigned i = 0; i < 3; i++) {
        exhaustive(image, image_len, units[i], saves, 1, 2);
    }
    free(image);
    return 0;
}
