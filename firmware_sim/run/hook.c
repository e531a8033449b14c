/* The native half of the emulator: counts every basic block unicorn is about to run, and plays the device's port.
 *
 * Free of libc, so that zig builds it in a tenth of a second without a C library. All memory comes from machine.py, which
 * mirrors the three structs below with ctypes; hook_sizes() lets it check that both sides agree.
 *
 * Counting. Unicorn reports a block before running it, every time, chained blocks included. A block is decoded once, by
 * cycles.py through `decode`; after that a visit costs a table look-up and a few additions. What a jump costs depends on
 * whether it was taken, which shows when the next block begins.
 *
 * Serving. When the firmware polls for a command, the next sample of the batch is handed to it right here; only an empty
 * batch stops the emulator and returns to Python. */
#include <stddef.h>
#include <stdint.h>

#include "../build/firmware/port_registers.h"

#ifdef _WIN32
#define EXPORT __declspec(dllexport)
EXPORT int _DllMainCRTStartup(void *library, unsigned long reason, void *reserved); /* what a C library would bring */
int _DllMainCRTStartup(void *library, unsigned long reason, void *reserved) {
    return (void)library, (void)reason, (void)reserved, 1;
}
#else
#define EXPORT
#endif

typedef struct block {
    uint32_t address, size; /* bytes */
    uint32_t next;          /* index of another block at the same address, of another size; 0 = none */
    uint32_t insns;
    uint32_t cycles;       /* falling through */
    uint32_t taken;        /* more, when it ends in a taken jump */
    uint32_t entered;      /* more, when a jump lands here */
    uint32_t mispredicted; /* more, when it ends in a jump that went another way than predicted; 0 = no predictor */
    uint32_t jump;         /* jump_kind */
    uint32_t predicted;    /* conditional: 0..3, of which 2 and 3 mean taken; indirect: the target */
    int32_t sp_low;        /* lowest stack pointer inside, relative to its value at the start; <= 0 */
} block;

typedef enum jump_kind { JUMP_CERTAIN = 0, JUMP_CONDITIONAL = 1, JUMP_INDIRECT = 2 } jump_kind; /* cycles.py */

typedef struct tally {
    uint64_t insns, cycles, calls;
} tally;

typedef struct reply {
    uint64_t insns, cycles;
    int32_t status;
    uint32_t predicted, skipped, visited, moved, flipped;
} reply;

enum { PHASES = 8, LAYERS = 32 };

typedef enum stop_reason {
    STOP_NONE = 0,
    STOP_IDLE = 1,      /* the firmware polled and there is nothing to do */
    STOP_EXIT = 2,      /* it wrote REG_EXIT: value */
    STOP_RUNAWAY = 3,   /* one call ran for more than `patience` instructions */
    STOP_EXCEPTION = 4, /* the core took an exception: value */
    STOP_DECODE = 5,    /* decode failed; machine.py holds the Python exception */
    STOP_OVERRUN = 6,   /* the block table is full */
    STOP_OUTSIDE = 7    /* running flash outside .text: value */
} stop_reason;

typedef struct device {
    /* unicorn: the engine and the two functions used */
    void *uc;
    int (*emu_stop)(void *uc);
    int (*reg_read)(void *uc, int reg, void *value);
    int (*decode)(uint32_t address, uint32_t size, block *b); /* 0 = done */

    /* blocks by half-word address: slot[(address - code_start) / 2] = index into blocks, 0 = not seen yet */
    block *blocks;
    uint32_t *slot;
    uint64_t insns, cycles;           /* since reset */
    uint64_t insns_here, cycles_here; /* the same at the start of the block that runs now */
    uint64_t patience, deadline;      /* instructions */
    uint32_t code_start, code_size;   /* bytes */
    uint32_t block_count, block_limit;
    uint32_t current; /* index of the block that runs now, 0 = none */
    uint32_t sp_register;
    uint32_t sp_low; /* lowest stack pointer since reset */
    uint32_t stopped, value;
    uint32_t fault_address, fault_seen;

    /* measured call: opens at the first block after REG_BEGIN, closes before the block that holds REG_END */
    uint32_t opening, profile_opening;
    tally open, boot;
    uint32_t profile_slot;
    tally profile_open, profile[PHASES * LAYERS]; /* [phase * LAYERS + layer] */

    /* the batch being served */
    uint32_t command, count, next, width, classes, input_size;
    const uint8_t *inputs;  /* [count][width] */
    const uint16_t *labels; /* [count], for learning */
    reply *replies;         /* [count] */
    int32_t *scores;        /* [count][classes], or NULL */
    uint8_t *states;        /* [count][state_size], or NULL: the state after each step */
    const uint8_t *state;   /* host address of the firmware's state memory */
    uint8_t *sample;        /* host address of the sample buffer */
    uint32_t state_size, score;
} device;

EXPORT const uint32_t hook_ports[4] = {PORT_BASE, PORT_SIZE, SAMPLE_BASE, SAMPLE_SIZE};
EXPORT const uint32_t hook_sizes[5] = {sizeof(block), sizeof(reply), sizeof(device), PHASES, LAYERS};

static void copy(uint8_t *to, const uint8_t *from, size_t n) {
    for (size_t i = 0; i < n; i++) {
        to[i] = from[i];
    }
}

static void stop(device *d, stop_reason reason, uint32_t value) {
    if (d->stopped == STOP_NONE) {
        d->stopped = reason;
        d->value = value;
    }
    d->emu_stop(d->uc);
}

/// Counting ///

static block *find(device *d, uint32_t address, uint32_t size) {
    uint32_t *link = &d->slot[(address - d->code_start) >> 1];
    for (; *link != 0; link = &d->blocks[*link].next) {
        if (d->blocks[*link].size == size) {
            return &d->blocks[*link];
        }
    }
    if (d->block_count == d->block_limit) {
        stop(d, STOP_OVERRUN, d->block_limit);
        return NULL;
    }
    block *b = &d->blocks[d->block_count];
    b->address = address;
    b->size = size;
    b->next = 0;
    b->predicted = 1;
    if (d->decode(address, size, b) != 0) {
        stop(d, STOP_DECODE, address);
        return NULL;
    }
    *link = d->block_count++;
    return b;
}

/* What it costs that `before` goes on at `next`. */
static uint32_t jumped(block *before, const block *next) {
    const uint32_t taken = before->address + before->size != next->address;
    uint32_t cycles = taken ? before->taken + next->entered : 0;
    if (before->mispredicted == 0) {
        return cycles;
    }
    if (before->jump == JUMP_CONDITIONAL) {
        cycles += taken != before->predicted >> 1 ? before->mispredicted : 0;
        before->predicted += taken ? before->predicted < 3 : 0u - (before->predicted > 0);
    } else if (before->jump == JUMP_INDIRECT) {
        cycles += before->predicted != next->address ? before->mispredicted : 0;
        before->predicted = next->address;
    }
    return cycles;
}

EXPORT void hook_block(void *uc, uint64_t wide_address, uint32_t size, void *user) {
    device *d = user;
    const uint32_t address = (uint32_t)wide_address;
    if (address - d->code_start >= d->code_size) {
        stop(d, STOP_OUTSIDE, address); /* a chip would run it, but nobody meant to, and it could not be counted */
        return;
    }
    block *b = find(d, address, size);
    if (b == NULL) {
        return;
    }
    if (d->current != 0) {
        d->cycles += jumped(&d->blocks[d->current], b);
    }
    d->current = (uint32_t)(b - d->blocks);
    d->insns_here = d->insns;
    d->cycles_here = d->cycles;
    if (d->opening) {
        d->opening = 0;
        d->open.insns = d->insns;
        d->open.cycles = d->cycles;
    }
    if (d->profile_opening) {
        d->profile_opening = 0;
        d->profile_open.insns = d->insns;
        d->profile_open.cycles = d->cycles;
    }
    if (b->sp_low < 0) {
        uint32_t sp = 0;
        d->reg_read(uc, (int)d->sp_register, &sp);
        sp += (uint32_t)b->sp_low;
        if (sp < d->sp_low) {
            d->sp_low = sp;
        }
    }
    d->insns += b->insns;
    d->cycles += b->cycles;
    if (d->insns > d->deadline) {
        stop(d, STOP_RUNAWAY, address);
    }
}

/// Faults ///

/* Unmapped or protected memory: note where; returning 0 makes unicorn stop with an error. */
EXPORT int hook_memory(void *uc, int type, uint64_t address, int size, int64_t value, void *user) {
    (void)uc, (void)type, (void)size, (void)value;
    device *d = user;
    d->fault_address = (uint32_t)address;
    d->fault_seen = 1;
    return 0;
}

EXPORT void hook_interrupt(void *uc, uint32_t number, void *user) {
    (void)uc;
    stop(user, STOP_EXCEPTION, number);
}

/// Serving the port ///

static uint32_t next_command(device *d) {
    if (d->boot.calls == 0) { /* the first poll ends the boot */
        d->boot = (tally){d->insns_here, d->cycles_here, 1};
    }
    if (d->next == d->count) {
        stop(d, STOP_IDLE, 0);
        return 0;
    }
    copy(d->sample, d->inputs + (size_t)d->next * d->width, d->width);
    d->score = 0;
    d->deadline = d->insns + d->patience;
    return d->command;
}

static void close_profile(device *d) {
    if (d->profile_slot != 0) {
        tally *t = &d->profile[d->profile_slot];
        t->insns += d->insns_here - d->profile_open.insns;
        t->cycles += d->cycles_here - d->profile_open.cycles;
        t->calls++;
    }
}

static void mark(device *d, uint32_t phase, uint32_t layer) {
    close_profile(d);
    d->profile_slot = phase != PROFILE_NOTHING && phase < PHASES && layer < LAYERS ? phase * LAYERS + layer : 0;
    d->profile_opening = d->profile_slot != 0;
}

static void done(device *d) {
    if (d->states != NULL) {
        copy(d->states + (size_t)d->next * d->state_size, d->state, d->state_size);
    }
    d->next++;
}

EXPORT uint64_t hook_port_read(void *uc, uint64_t offset, unsigned size, void *user) {
    (void)uc, (void)size;
    device *d = user;
    switch (offset) {
    case REG_COMMAND:
        return next_command(d);
    case REG_LABEL:
        return d->next < d->count && d->labels != NULL ? d->labels[d->next] : 0;
    default:
        return 0;
    }
}

EXPORT void hook_port_write(void *uc, uint64_t offset, unsigned size, uint64_t wide_value, void *user) {
    (void)uc, (void)size;
    device *d = user;
    const uint32_t value = (uint32_t)wide_value;
    reply none, *r = d->next < d->count ? &d->replies[d->next] : &none;
    switch (offset) {
    case REG_INPUT_SIZE:
        d->input_size = value;
        break;
    case REG_CLASSES:
        d->classes = value;
        break;
    case REG_BEGIN:
        d->opening = 1;
        break;
    case REG_END:
        r->insns = d->insns_here - d->open.insns;
        r->cycles = d->cycles_here - d->open.cycles;
        mark(d, PROFILE_NOTHING, 0);
        break;
    case REG_PROFILE:
        mark(d, value >> 16, value & 0xFFFF);
        break;
    case REG_STATUS:
        r->status = (int32_t)value;
        break;
    case REG_PREDICTED:
        r->predicted = value;
        break;
    case REG_SKIPPED:
        r->skipped = value;
        break;
    case REG_VISITED:
        r->visited = value;
        break;
    case REG_MOVED:
        r->moved = value;
        break;
    case REG_FLIPPED:
        r->flipped = value;
        break;
    case REG_SCORE:
        if (d->scores != NULL && d->next < d->count && d->score < d->classes) {
            d->scores[(size_t)d->next * d->classes + d->score++] = (int32_t)value;
        }
        break;
    case REG_DONE:
        if (d->next < d->count) {
            done(d);
        }
        break;
    case REG_EXIT:
        stop(d, STOP_EXIT, value);
        break;
    default:
        break;
    }
}
