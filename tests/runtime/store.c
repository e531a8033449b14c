/* The store on emulated flash: a cut at every operation of many saves, damage of every byte, failures of the driver.
 *
 *   store NAME.mbit [SAVES [RANDOM [OTHER.mbit]]]   an image in which some layer learns; saves that are cut everywhere; random cuts in a
 *                                                   row; an image with a state of another size, which follows this one and precedes it
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
    memset(n.used, 4, (size_t)page_size * pages / unit); /* no test's program: bit 0 is 0, and it is not blank */
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

/* A geometry in which this state needs `pages_each` pages a snapshot, and has the least store or one with a log. */
static nor flash_for(const device *d, uint32_t unit, uint32_t pages_each, int least)
{
    uint32_t page = 64;
    while (page * pages_each < d->state_len + 96) {
        page += 64;
    }
    const mb_store sizes = {NULL, NULL, NULL, NULL, page, 0, unit};
    const uint32_t pages = mb_store_size(&d->m, &sizes) / page;
    return make_nor(page, least ? pages : 2u * pages + 1u, unit);
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
            (void)restored_whole(again, &store, h, d->state);
            CHECK(mb_save(&d->m, &store) == MB_OK); /* the second attempt; nothing is left of the first */
            start(again);
            CHECK(mb_restore(&again->m, &store) == MB_OK && memcmp(again->state, d->state, d->state_len) == 0);
            if (h->known != 0) {
                CHECK(mb_restore_older(&again->m, &store) == MB_OK && memcmp(again->state, h->states[0], d->state_len) == 0);
            }
        }
    }
    return cuts;
}

static uint64_t exhaustive(const uint8_t *image, size_t image_len, uint32_t unit, unsigned saves, unsigned steps, uint32_t pages_each, int least)
{
    device d = make_device(image, image_len), again = make_device(image, image_len);
    nor now = flash_for(&d, unit, pages_each, least), trial = make_nor(now.page_size, now.pages, unit);
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
    nor n = flash_for(&d, unit, 2, 0);
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

/// Images in turn ///

/* The first save of an image, cut at each of its operations in each way: the store gives its state, or has none of it; and the newest
 * state of the image before it, `kept`, is whole after the cut and after the second attempt. */
static uint64_t cut_first_save(device *d, device *again, device *before, const uint8_t *kept, const nor *now, nor *trial)
{
    uint64_t cuts = 0;
    for (uint64_t k = 1;; k++) {
        for (int torn = 0; torn < TORN_KINDS; torn++) {
            copy_nor(trial, now);
            const mb_store store = nor_store(trial);
            nor_power(trial, k, (enum torn)torn);
            const mb_status status = mb_save(&d->m, &store);
            const int cut = trial->off;
            CHECK(status == (cut ? MB_E_STORE : MB_OK));
            for (int attempts = cut ? 2 : 1; attempts != 0; attempts--) {
                nor_power(trial, 0, TORN_NOT);
                start(again);
                const mb_status there = mb_restore(&again->m, &store);
                CHECK(there == MB_OK || (attempts == 2 && (there == MB_E_NO_SNAPSHOT || there == MB_E_IDENTITY || there == MB_E_STORE)));
                CHECK(there != MB_OK || memcmp(again->state, d->state, d->state_len) == 0);
                start(before);
                CHECK(mb_restore(&before->m, &store) == MB_OK && memcmp(before->state, kept, before->state_len) == 0);
                CHECK(attempts == 1 || mb_save(&d->m, &store) == MB_OK);
            }
            if (!cut) { /* k is beyond the last operation */
                return cuts;
            }
            cuts++;
        }
    }
}

/* An image saves until its newest state lay in every slot; before each save the next image tries its first one. Then that one saves, and a
 * third tries: it must keep the second's state, though the first saved more often. */
static void images_in_turn(const uint8_t *image, size_t image_len, const uint8_t *next, size_t next_len, uint32_t unit)
{
    uint8_t *const third = memory(next_len);
    memcpy(third, next, next_len);
    third[50] ^= 2; /* margin below which a step is skipped */
    seal(third, next_len);
    device a = make_device(image, image_len), b = make_device(next, next_len), c = make_device(third, next_len);
    device before = make_device(image, image_len), b_again = make_device(next, next_len), c_again = make_device(third, next_len);
    nor now = flash_for(a.state_len > b.state_len ? &a : &b, unit, 2, 0), trial = make_nor(now.page_size, now.pages, unit);
    const mb_store store = nor_store(&now);
    const uint32_t size = now.page_size * now.pages, least = mb_store_size(&a.m, &store) / 3u, most = 2u * least + now.page_size;
    const uint32_t third_of = now.pages / 3u * now.page_size, slot = third_of < most ? third_of : most;
    uint64_t cuts = 0;
    unit_now = unit;
    save_now = 0;
    learn(&b, 3);
    learn(&c, 2);
    for (uint32_t seen = 0; seen != (1u << size / slot) - 1u; save_now++) {
        learn(&a, 4);
        CHECK(save_now < 500 && mb_save(&a.m, &store) == MB_OK);
        for (uint32_t i = 0; i < size / unit; i++) {
            seen |= now.used[i] == 1 ? 1u << i * unit / slot : 0;
            now.used[i] |= (uint8_t)((now.used[i] & 1) << 2); /* of a save before */
        }
        cuts += cut_first_save(&b, &b_again, &before, a.state, &now, &trial);
    }
    CHECK(mb_save(&b.m, &store) == MB_OK);
    cuts += cut_first_save(&c, &c_again, &b_again, b.state, &now, &trial);
    printf("unit %2u, states of %u and %u bytes: %u saves, then another image's first one, %llu cuts\n", unit, (unsigned)a.state_len,
           (unsigned)b.state_len, save_now, (unsigned long long)cuts);
    free(third);
    drop_nor(&now);
    drop_nor(&trial);
    device *const devices[6] = {&a, &b, &c, &before, &b_again, &c_again};
    for (unsigned i = 0; i < 6; i++) {
        drop_device(devices[i]);
    }
}

/// Damage ///

/* A single snapshot with a changed byte: no state comes back, and a damaged state is called that. */
static void damage_the_only_snapshot(const uint8_t *image, size_t image_len)
{
    device d = make_device(image, image_len);
    nor n = flash_for(&d, 4, 1, 0);
    const mb_store store = nor_store(&n);
    size_t named = 0;
    learn(&d, 1);
    CHECK(mb_save(&d.m, &store) == MB_OK);
    for (uint32_t at = 0; at < n.page_size * n.pages; at++) {
        if ((n.used[at / 4] & 1) != 0) {
            n.bytes[at] ^= 0x5A;
            const mb_status status = mb_restore(&d.m, &store);
            CHECK(status == MB_E_STATE_CRC || status == MB_E_NO_SNAPSHOT);
            named += status == MB_E_STATE_CRC;
            n.bytes[at] ^= 0x5A;
        }
    }
    CHECK(named >= d.state_len && mb_restore(&d.m, &store) == MB_OK);
    drop_nor(&n);
    drop_device(&d);
}

/* Changes each byte of all records, one at a time: the damaged record and those that build on it are gone, and the state before comes
 * back. With programs of 4 bytes there is no padding, so every byte counts. */
static void damage_every_byte(const uint8_t *image, size_t image_len)
{
    enum { SAVES = 12 };
    device d = make_device(image, image_len), again = make_device(image, image_len);
    nor n = flash_for(&d, 4, 1, 0);
    const uint32_t size = n.page_size * n.pages, slot = n.pages / 3u * n.page_size;
    const mb_store store = nor_store(&n);
    uint8_t *saved[SAVES], *owner = memory(size / 4); /* 1 + the save that programmed a unit; 0: none, or it was erased */
    unsigned damaged = 0, slot_of[SAVES];
    unit_now = 4;
    for (save_now = 0; save_now < SAVES; save_now++) {
        do { /* a head that has no row left for a class refuses the sample */
            learn(&d, 1);
        } while (save_now != 0 && memcmp(d.state, saved[save_now - 1], d.state_len) == 0);
        CHECK(mb_save(&d.m, &store) == MB_OK);
        saved[save_now] = memory(d.state_len);
        memcpy(saved[save_now], d.state, d.state_len);
        for (uint32_t i = 0; i < size / 4; i++) {
            if (n.used[i] == 1) {
                owner[i] = (uint8_t)(save_now + 1);
                slot_of[save_now] = 4 * i / slot;
            }
            owner[i] = n.used[i] == 0 ? 0 : owner[i];
            n.used[i] |= (uint8_t)((n.used[i] & 1) << 2); /* seen */
        }
    }
    unsigned first = SAVES - 1; /* the save that wrote the newest snapshot; what is older in its slot's pages counts no more */
    for (; first != 0 && slot_of[first - 1] == slot_of[SAVES - 1]; first--) {
    }
    for (uint32_t at = 0; at < size; at++) {
        const unsigned save = owner[at / 4];
        const uint8_t whole = n.bytes[at];
        for (unsigned change = 0; save != 0 && change < 3; change++) {
            n.bytes[at] ^= (uint8_t)(change == 0 ? 0xFF : change == 1 ? 1u << at % 8 : 1u + nor_random(&n) % 255u);
            start(&again);
            const mb_status status = mb_restore(&again.m, &store);
            const unsigned newest = save - 1 >= first ? save - 1 : SAVES; /* 1 + the save that comes back */
            if (newest == 0) {
                CHECK(status == MB_E_NO_SNAPSHOT || status == MB_E_STATE_CRC);
                CHECK(memcmp(again.state, image + image_len - d.state_len, d.state_len) == 0);
            } else {
                CHECK(status == MB_OK && memcmp(again.state, saved[newest - 1], d.state_len) == 0);
            }
            n.bytes[at] = whole;
            damaged++;
        }
    }
    CHECK(damaged > 3u * d.state_len);
    printf("unit  4: %u damages of a byte\n", damaged);
    for (unsigned i = 0; i < SAVES; i++) {
        free(saved[i]);
    }
    free(owner);
    drop_nor(&n);
    drop_device(&d);
    drop_device(&again);
}

/// Failures ///

enum { TRIES = 5 };

static int is_one_of(const device *d, uint8_t *const *states, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (memcmp(d->state, states[i], d->state_len) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Each call of the driver fails once while power stays. A save keeps the state in RAM and loses none in flash. A restore gives a state
 * that was saved, where bytes that cannot be read count as damaged, or it leaves the attached one, or the factory's. */
static void failing_driver(const uint8_t *image, size_t image_len)
{
    device d = make_device(image, image_len), again = make_device(image, image_len);
    nor n = flash_for(&d, 8, 2, 0), trial = make_nor(n.page_size, n.pages, 8);
    const mb_store store = nor_store(&n), tried = nor_store(&trial);
    uint8_t *saved[TRIES], *others[2] = {memory(d.state_len), memory(d.state_len)}; /* others: its own before, and the factory's */
    unsigned failures = 0;
    memcpy(others[1], image + image_len - d.state_len, d.state_len);
    unit_now = 8;
    for (save_now = 0; save_now < TRIES; save_now++) {
        learn(&d, 2);
        saved[save_now] = memory(d.state_len);
        memcpy(saved[save_now], d.state, d.state_len);
        for (uint32_t call = 1, done = 0; !done; call++) {
            copy_nor(&trial, &n);
            trial.fail = call;
            const mb_status status = mb_save(&d.m, &tried);
            done = trial.fail != 0;
            failures += !done;
            trial.fail = 0;
            CHECK((status == MB_OK || (status == MB_E_STORE && !done)) && is_one_of(&d, saved + save_now, 1));
            start(&again);
            const mb_status there = mb_restore(&again.m, &tried);
            if (there == MB_OK) {
                CHECK(is_one_of(&again, saved + save_now, 1) || (status != MB_OK && save_now != 0 && is_one_of(&again, saved + save_now - 1, 1)));
            } else {
                CHECK(save_now == 0 && there == MB_E_NO_SNAPSHOT && status != MB_OK);
            }
        }
        CHECK(mb_save(&d.m, &store) == MB_OK);
        for (uint32_t call = 1, done = 0; !done; call++) {
            start(&again);
            learn(&again, 1);
            memcpy(others[0], again.state, d.state_len);
            n.fail = call;
            const mb_status status = mb_restore(&again.m, &store);
            done = n.fail != 0;
            failures += !done;
            n.fail = 0;
            CHECK(status == MB_OK ? is_one_of(&again, saved, save_now + 1) : status == MB_E_STORE && is_one_of(&again, others, 2));
            CHECK(!done || is_one_of(&again, saved + save_now, 1));
        }
    }
    printf("unit  8: %u failures of the driver\n", failures);
    for (unsigned i = 0; i < TRIES; i++) {
        free(saved[i]);
    }
    free(others[0]);
    free(others[1]);
    drop_nor(&n);
    drop_nor(&trial);
    drop_device(&d);
    drop_device(&again);
}

/* Each program of a unit leaves other bits once, and the driver does not know. The state of a save with MB_OK comes back; after
 * MB_E_STORE the one before does. */
static void worn_flash(const uint8_t *image, size_t image_len)
{
    device d = make_device(image, image_len), again = make_device(image, image_len);
    nor n = flash_for(&d, 8, 2, 0), trial = make_nor(n.page_size, n.pages, 8);
    const mb_store store = nor_store(&n), tried = nor_store(&trial);
    uint8_t *const before = memory(d.state_len);
    unsigned failures = 0;
    unit_now = 8;
    for (save_now = 0; save_now < TRIES; save_now++) {
        memcpy(before, d.state, d.state_len);
        learn(&d, 2);
        uint64_t last = n.operations;
        do {
            copy_nor(&trial, &n);
            trial.worn = ++last;
            trial.torn = TORN_NOISE;
            const mb_status status = mb_save(&d.m, &tried);
            CHECK(status == MB_OK || status == MB_E_STORE);
            start(&again);
            const mb_status there = mb_restore(&again.m, &tried);
            if (status == MB_OK) {
                CHECK(there == MB_OK && memcmp(again.state, d.state, d.state_len) == 0);
            } else {
                failures++;
                CHECK(save_now == 0 ? there != MB_OK : there == MB_OK && memcmp(again.state, before, d.state_len) == 0);
                CHECK(mb_save(&d.m, &tried) == MB_OK);
            }
        } while (trial.operations >= last);
        CHECK(mb_save(&d.m, &store) == MB_OK);
    }
    CHECK(failures != 0);
    printf("unit  8: %u saves that found other bits than they programmed\n", failures);
    free(before);
    drop_nor(&n);
    drop_nor(&trial);
    drop_device(&d);
    drop_device(&again);
}

/// Refusals ///

static void sizes(const uint8_t *image, size_t image_len)
{
    device d = make_device(image, image_len);
    nor n = flash_for(&d, 8, 2, 0);
    mb_store store = nor_store(&n);
    const uint32_t least = mb_store_size(&d.m, &store);
    mb_model closed = {0};
    CHECK(least % store.page_size == 0 && least >= 3 * d.state_len && least < 3 * (d.state_len + 64 + store.page_size));
    CHECK(mb_store_size(NULL, &store) == 0 && mb_store_size(&d.m, NULL) == 0 && mb_store_size(&closed, &store) == 0);
    CHECK(mb_save(NULL, &store) == MB_E_NULL && mb_save(&d.m, NULL) == MB_E_NULL && mb_save(&closed, &store) == MB_E_DETACHED);
    CHECK(mb_restore(NULL, &store) == MB_E_NULL && mb_restore(&d.m, NULL) == MB_E_NULL && mb_restore_older(&d.m, NULL) == MB_E_NULL);
    CHECK(mb_attach(&d.m, NULL, 0, d.arena, d.arena_len) == MB_OK);
    CHECK(mb_save(&d.m, &store) == MB_E_DETACHED && mb_restore(&d.m, &store) == MB_E_DETACHED);
    start(&d);
    store.pages = least / store.page_size - 1;
    CHECK(mb_save(&d.m, &store) == MB_E_STORE_SIZE && mb_restore(&d.m, &store) == MB_E_STORE_SIZE);
    store.pages = 0x80000000u / store.page_size + 1u;
    CHECK(mb_save(&d.m, &store) == MB_E_STORE_SIZE);
    store.pages = n.pages;
    static const uint32_t wrong[6] = {0, 3, 12, 33, 64, 0x80000000u};
    for (unsigned i = 0; i < 6; i++) {
        store.program_size = wrong[i];
        CHECK(mb_store_size(&d.m, &store) == 0 && mb_save(&d.m, &store) == MB_E_STORE_SIZE);
    }
    store.program_size = 8;
    static const uint32_t pages[5] = {0, 16, 68, 0xFFFFFFF8u, (1u << 24) + 8u};
    for (unsigned i = 0; i < 5; i++) {
        store.page_size = pages[i];
        CHECK(mb_store_size(&d.m, &store) == 0 && mb_restore(&d.m, &store) == MB_E_STORE_SIZE);
    }
    CHECK(n.operations == 0 && memcmp(d.state, image + image_len - d.state_len, d.state_len) == 0);
    drop_nor(&n);
    drop_device(&d);
}

/* Another image's states are refused by name, and the newest survives this one's first save; bits that changed by accident are not saved. */
static void other_images(const uint8_t *image, size_t image_len)
{
    uint8_t *const changed = memory(image_len);
    memcpy(changed, image, image_len);
    changed[50] ^= 1; /* margin below which a step is skipped */
    seal(changed, image_len);
    device a = make_device(image, image_len), b = make_device(changed, image_len);
    CHECK(mb_identity(&a.m) != mb_identity(&b.m));
    nor n = flash_for(&a, 8, 2, 0);
    mb_store store = nor_store(&n);
    CHECK(mb_restore(&a.m, &store) == MB_E_NO_SNAPSHOT);
    learn(&a, 3);
    learn(&b, 3);
    memcpy(changed, b.state, b.state_len);
    CHECK(mb_save(&a.m, &store) == MB_OK);
    CHECK(mb_restore(&b.m, &store) == MB_E_IDENTITY && memcmp(changed, b.state, b.state_len) == 0);
    CHECK(mb_restore_older(&a.m, &store) == MB_E_NO_SNAPSHOT);
    const uint64_t before = n.operations;
    memcpy(changed, a.state, 4);
    memset(a.state, 0, 4);
    CHECK(mb_save(&a.m, &store) == MB_E_GENERATOR && n.operations == before);
    memcpy(a.state, changed, 4);
    CHECK(mb_save(&b.m, &store) == MB_OK && mb_restore(&b.m, &store) == MB_OK && mb_restore(&a.m, &store) == MB_OK);

    /* a state that is none, by whoever knows the format: identity, size, serial, check, state, seal */
    uint32_t *const words = memory(a.state_len + 24), count = (uint32_t)a.state_len / 4, sum = 0x3153424Du;
    words[0] = mb_identity(&a.m);
    words[1] = (uint32_t)a.state_len;
    words[2] = 77;
    memcpy(words + 4, a.state, a.state_len);
    words[4] = 0; /* the generator */
    for (uint32_t i = 0; i < 4 + count; i++) {
        if (i == 3) {
            words[i] = sum;
            continue;
        }
        sum ^= words[i];
        sum ^= sum >> 9 ^ sum >> 9 << 5;
        sum ^= sum << 23 ^ sum << 23 >> 8;
    }
    words[4 + count] = sum;
    words[5 + count] = 0x454C4857u;
    const uint32_t at = (3u * n.pages / 4u) * n.page_size;
    memset(n.used + at / 8, 0, (a.state_len + 31) / 8);
    CHECK(sizeof n.bytes[0] == 1 && at + a.state_len + 24 < n.page_size * n.pages);
    memcpy(n.bytes + at, words, a.state_len + 24);
    CHECK(a.state_len % 8 != 0 || mb_restore(&a.m, &store) == MB_E_GENERATOR);
    CHECK(a.state_len % 8 != 0 || memcmp(a.state, image + image_len - a.state_len, a.state_len) == 0);
    free(words);
    free(changed);
    drop_nor(&n);
    drop_device(&a);
    drop_device(&b);
}

/* Headers of no image, by whoever knows their checksum, name states that cannot be; saves pass over them. */
static void impossible_sizes(const uint8_t *image, size_t image_len)
{
    static const uint32_t wrong[6] = {0, 3, 0x7FFFFFFCu, 0xFFFFFFFCu, 0xFFFFFFFFu, 0x80000000u};
    device d = make_device(image, image_len);
    for (unsigned i = 0; i < 7; i++) {
        nor n = flash_for(&d, 8, 2, 0);
        const mb_store store = nor_store(&n);
        const uint32_t at = n.pages / 2u * n.page_size;
        uint32_t header[4] = {7, i < 6 ? wrong[i] : n.page_size * n.pages - at, 9, 0x3153424Du};
        for (unsigned word = 0; word < 3; word++) {
            header[3] ^= header[word];
            header[3] ^= header[3] >> 9 ^ header[3] >> 9 << 5;
            header[3] ^= header[3] << 23 ^ header[3] << 23 >> 8;
        }
        memcpy(n.bytes + at, header, sizeof header);
        CHECK(mb_restore(&d.m, &store) == MB_E_IDENTITY);
        CHECK(mb_save(&d.m, &store) == MB_OK && mb_restore(&d.m, &store) == MB_OK);
        drop_nor(&n);
    }
    drop_device(&d);
}

/* A store that was given more pages keeps what it holds. */
static void growing(const uint8_t *image, size_t image_len)
{
    device d = make_device(image, image_len), again = make_device(image, image_len);
    nor n = flash_for(&d, 4, 1, 0);
    mb_store store = nor_store(&n);
    uint8_t *const before = memory(d.state_len);
    const uint32_t least = mb_store_size(&d.m, &store) / store.page_size;
    for (store.pages = least; store.pages <= n.pages; store.pages++) {
        for (save_now = 0; save_now < 7; save_now++) {
            memcpy(before, d.state, d.state_len);
            learn(&d, 1);
            CHECK(mb_save(&d.m, &store) == MB_OK && mb_restore(&again.m, &store) == MB_OK);
            CHECK(memcmp(d.state, again.state, d.state_len) == 0);
            CHECK(save_now + store.pages == least || mb_restore_older(&again.m, &store) == MB_OK);
            CHECK(save_now + store.pages == least || memcmp(before, again.state, d.state_len) == 0);
        }
    }
    free(before);
    drop_nor(&n);
    drop_device(&d);
    drop_device(&again);
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 5) {
        fprintf(stderr, "usage: store NAME.mbit [SAVES [RANDOM [OTHER.mbit]]]\n");
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
        exhaustive(image, image_len, units[i], saves, 1, 2, 0);
    }
    exhaustive(image, image_len, 8, saves < 5 ? 5 : saves, 20, 1, 1);
    worn_flash(image, image_len);
    size_t other_len;
    uint8_t *const other = read_file(argv[argc > 4 ? 4 : 1], &other_len);
    other[50] ^= 1; /* margin below which a step is skipped: another identity, also without OTHER */
    seal(other, other_len);
    images_in_turn(image, image_len, other, other_len, 8);
    images_in_turn(other, other_len, image, image_len, 4);
    free(other);
    damage_the_only_snapshot(image, image_len);
    damage_every_byte(image, image_len);
    failing_driver(image, image_len);
    sizes(image, image_len);
    other_images(image, image_len);
    impossible_sizes(image, image_len);
    growing(image, image_len);
    free(image);
    return 0;
}
