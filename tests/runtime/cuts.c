/* A firmware that loses power at random operations of its saves: each cut is a reset of the processor. The flash is memory that a reset
 * leaves as it is (nor.h); with it survive the states that were saved, to compare, and nothing else.
 *
 * -DSTATE_BYTES= -DARENA_BYTES= (mb_state_size, mb_arena_size), -DUNIT= bytes of a program, -DCUTS= resets. By semihosting it prints
 * "N cuts, N saves, 0 wrong" and ends. */
#include "metabit_store.h"

void reset(void) __attribute__((noreturn));
void wrong(void) __attribute__((noreturn));
#define NOR_CUT() reset()
#define NOR_WRONG() wrong()
#include "nor.h"

#define RESET_REGISTER (*(volatile uint32_t *)0xE000ED0Cu) /* AIRCR */
#define PAGE (((STATE_BYTES) / 2u / 64u + 2u) * 64u)       /* more than one a snapshot */
enum { PAGES = 13, ALIVE = 0x416C6976 };

extern const uint8_t image[], image_end[];
int main(void);
void port_exit(int status);

static uint32_t state[STATE_BYTES / 4], arena[ARENA_BYTES / 4];
static uint8_t input[65535]; /* mb_input_size is a uint16_t */

static struct {
    uint32_t alive, cuts, saves, wrong, known, trying;
    nor flash;
    uint8_t bytes[PAGE * PAGES], used[PAGE * PAGES / UNIT];
    uint32_t states[3][STATE_BYTES / 4], wanted[STATE_BYTES / 4]; /* saved: the newest first; and the one that was being saved */
} kept __attribute__((section(".kept")));

static int semihosting(int operation, const void *argument)
{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

void port_exit(int status) /* startup.c calls it with what main returns, and after a fault */
{
    (void)semihosting(0x18, (const void *)(uintptr_t)(status == 0 ? 0x20026 : 0x20023));
}

void reset(void)
{
    kept.cuts++;
    __asm__ volatile("dsb" ::: "memory");
    RESET_REGISTER = 0x05FA0004u;
    for (;;) {
    }
}

void wrong(void)
{
    port_exit(1);
    for (;;) {
    }
}

static void print(uint32_t number, const char *text)
{
    char digits[12] = {0};
    unsigned at = 11;
    do {
        digits[--at] = (char)('0' + number % 10u);
        number /= 10u;
    } while (number != 0);
    (void)semihosting(4, digits + at);
    (void)semihosting(4, text);
}

static int equal(const void *a, const void *b)
{
    const uint8_t *const p = a, *const q = b;
    for (uint32_t i = 0; i < STATE_BYTES; i++) {
        if (p[i] != q[i]) {
            return 0;
        }
    }
    return 1;
}

static void remember(void)
{
    memcpy(kept.states[2], kept.states[1], STATE_BYTES);
    memcpy(kept.states[1], kept.states[0], STATE_BYTES);
    memcpy(kept.states[0], kept.wanted, STATE_BYTES);
    kept.known += kept.known < 3;
    kept.saves++;
    kept.trying = 0;
}

/* After a reset: the state before the cut save or the new one is there, and behind it the one before. */
static void compare(mb_model *m, const mb_store *store)
{
    const mb_status status = mb_restore(m, store);
    if (kept.trying != 0 && status == MB_OK && equal(state, kept.wanted)) {
        remember();
    }
    kept.trying = 0;
    const int first = kept.known == 0 && (status == MB_E_NO_SNAPSHOT || status == MB_E_STORE);
    if (!first && (kept.known == 0 || status != MB_OK || !equal(state, kept.states[0]))) {
        kept.wrong++;
    }
    if (kept.known > 1 && (mb_restore_older(m, store) != MB_OK || !equal(state, kept.states[1]))) {
        kept.wrong++;
    }
    if (kept.known != 0 && mb_restore(m, store) != MB_OK) {
        kept.wrong++;
    }
}

int main(void)
{
    mb_model m;
    nor *const n = &kept.flash;
    if (kept.alive != ALIVE) {
        memset(&kept, 0, sizeof kept);
        kept.alive = ALIVE;
        n->page_size = PAGE;
        n->pages = PAGES;
        n->unit = UNIT;
        n->seed = 2463534242u;
        n->bytes = kept.bytes;
        n->used = kept.used;
        memset(kept.used, 4, sizeof kept.used);
    }
    nor_power(n, 0, TORN_NOT);
    const mb_store store = nor_store(n);
    if (mb_open(&m, image, (size_t)(image_end - image)) != MB_OK || mb_attach(&m, state, sizeof state, arena, sizeof arena) != MB_OK) {
        return 1;
    }
    compare(&m, &store);
    while (kept.cuts < CUTS) {
        for (uint32_t steps = 1 + nor_random(n) % 3u; steps != 0; steps--) {
            const uint16_t label = (uint16_t)(nor_random(n) % mb_classes(&m));
            for (uint32_t i = 0; i < mb_input_size(&m); i++) {
                input[i] = (uint8_t)(nor_random(n) % 4u == 0 ? nor_random(n) : label * 37u + i * 11u);
            }
            (void)mb_learn(&m, input, label, NULL);
        }
        memcpy(kept.wanted, state, sizeof state);
        kept.trying = 1;
        nor_power(n, nor_random(n) % 4u == 0 ? 0 : 1 + nor_random(n) % (1u << nor_random(n) % 10u), (enum torn)(nor_random(n) % TORN_KINDS));
        if (mb_save(&m, &store) != MB_OK) { /* a cut does not come back here */
            kept.wrong++;
        }
        remember();
        nor_power(n, 0, TORN_NOT);
    }
    print(kept.cuts, " cuts, ");
    print(kept.saves, " saves, ");
    print(kept.wrong, " wrong\n");
    return kept.wrong != 0;
}
