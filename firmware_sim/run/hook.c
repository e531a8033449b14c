/* The native half of the emulator: counts the basic blocks that unicorn runs, and implements the registers of the port.
 *
 * Needs no libc, so that zig compiles it without a C library. machine.py allocates all memory.
 *
 * Counting: unicorn reports every basic block before it runs, chained blocks included. cycles.py prices a block once, through
 * `decode`; every further run of the block costs a table look-up and a few additions. The cost of a jump depends on whether it
 * is taken, which is known when the next block begins.
 *
 * Commands: when the firmware polls for a command, next_command() passes it the next sample of the batch. Only at the end of a
 * batch does the emulator stop and return to Python. */
#include "hook.h"

#include "../build/firmware/port_registers.h"

#ifdef _WIN32
#define EXPORT __declspec(dllexport)
EXPORT int _DllMainCRTStartup(void *library, unsigned long reason, void *reserved); /* otherwise part of the C library */
int _DllMainCRTStartup(void *library, unsigned long reason, void *reserved) {
    return (void)library, (void)reason, (void)reserved, 1;
}
#else
#define EXPORT
#endif

EXPORT const uint32_t hook_ports[4] = {PORT_BASE, PORT_SIZE, SAMPLE_BASE, SAMPLE_SIZE};

/* Name, offset and size of every field, for structs.py. An empty name ends the table. */
typedef struct field {
    char name[32];
    uint32_t offset, size;
} field;

#define B(name) {"block." #name, offsetof(block, name), sizeof(((block *)0)->name)}
#define T(name) {"tally." #name, offsetof(tally, name), sizeof(((tally *)0)->name)}
#define R(name) {"reply." #name, offsetof(reply, name), sizeof(((reply *)0)->name)}
#define D(name) {"device." #name, offsetof(device, name), sizeof(((device *)0)->name)}
EXPORT const field hook_fields[] = {
    B(address), B(size), B(next), B(insns), B(cycles), B(taken), B(entered), B(mispredicted), B(jump), B(predicted), B(sp_low),
    T(insns), T(cycles), T(calls),
    R(insns), R(cycles), R(status), R(predicted), R(skipped), R(visited), R(moved), R(flipped),
    D(uc), D(emu_stop), D(reg_read), D(decode), D(blocks), D(slot), D(insns), D(cycles), D(insns_here), D(cycles_here),
    D(patience), D(deadline), D(code_start), D(code_size), D(block_count), D(block_limit), D(current), D(sp_register), D(sp_low),
    D(stopped), D(value), D(fault_address), D(fault_seen), D(wait), D(line_shift), D(sets), D(ways), D(lines),
    D(opening), D(profile_opening), D(open), D(boot), D(profile_slot),
    D(profile_open), D(profile), D(command), D(count), D(next), D(width), D(classes), D(input_size), D(inputs), D(labels),
    D(replies), D(scores), D(states), D(state), D(sample), D(state_size), D(score),
    {"sizeof block", 0, sizeof(block)}, {"sizeof tally", 0, sizeof(tally)}, {"sizeof reply", 0, sizeof(reply)},
    {"sizeof device", 0, sizeof(device)}, {"", 0, 0},
};

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

/* Returns the cycles of going from `before` to `next`, and updates the prediction. */
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

/* Returns the cycles that fetching the code from `address` to before `end` waits, and keeps its lines in the cache. */
static uint32_t waits(const device *d, uint32_t address, uint32_t end) {
    uint32_t cycles = 0;
    for (uint32_t line = address >> d->line_shift; line <= (end - 1) >> d->line_shift; line++) {
        uint32_t *set = d->lines + (line & (d->sets - 1)) * d->ways, at = 0;
        while (at < d->ways && set[at] != line + 1) {
            at++;
        }
        cycles += at == d->ways ? d->wait : 0;
        for (at -= at == d->ways && at > 0; at > 0; at--) {
            set[at] = set[at - 1];
        }
        if (d->ways > 0) {
            set[0] = line + 1;
        }
    }
    return cycles;
}

EXPORT void hook_block(void *uc, uint64_t wide_address, uint32_t size, void *user) {
    device *d = user;
    const uint32_t address = (uint32_t)wide_address;
    if (address - d->code_start >= d->code_size) {
        stop(d, STOP_OUTSIDE, address); /* a chip would run it, but it is no code of this firmware */
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
    d->cycles += b->cycles + (d->wait != 0 ? waits(d, address, address + size) : 0);
    if (d->insns > d->deadline) {
        stop(d, STOP_RUNAWAY, address);
    }
}

/// Faults ///

/* Access to unmapped or protected memory: keeps the address. Returning 0 makes unicorn stop with an error. */
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

/// Port registers ///

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
