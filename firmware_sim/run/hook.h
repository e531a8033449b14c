/* Structs of the native half of the emulator. structs.py declares the same structs for ctypes; hook_fields[] in hook.c exports
 * their layout, so that structs.py can check every offset. All memory belongs to machine.py. */
#ifndef METABIT_HOOK_H
#define METABIT_HOOK_H

#include <stddef.h>
#include <stdint.h>

typedef struct block {
    uint32_t address, size; /* bytes */
    uint32_t next;          /* index of a block with the same address and another size; 0 = none */
    uint32_t insns;
    uint32_t cycles;       /* without a taken jump at its end */
    uint32_t taken;        /* extra cycles if it ends in a taken jump */
    uint32_t entered;      /* extra cycles if a jump leads here */
    uint32_t mispredicted; /* extra cycles if its last jump was predicted wrongly; 0 = the core has no predictor */
    uint32_t jump;         /* jump_kind */
    uint32_t predicted;    /* conditional jump: 0..3, where 2 and 3 mean taken; indirect jump: the target */
    int32_t sp_low;        /* lowest stack pointer inside the block minus its value at the start, bytes, <= 0 */
} block;

typedef enum jump_kind { JUMP_CERTAIN = 0, JUMP_CONDITIONAL = 1, JUMP_INDIRECT = 2 } jump_kind; /* Jump in cycles.py */

typedef struct tally {
    uint64_t insns, cycles, calls;
} tally;

typedef struct reply {
    uint64_t insns, cycles;
    int32_t status;
    uint32_t predicted, skipped, visited, moved, flipped;
} reply;

enum { PHASES = 8, LAYERS = 32 }; /* more than any mb_phase, more than any image has layers */

typedef enum stop_reason {
    STOP_NONE = 0,
    STOP_IDLE = 1,      /* the firmware polled for a command and the batch is finished */
    STOP_EXIT = 2,      /* the firmware wrote `value` to REG_EXIT */
    STOP_RUNAWAY = 3,   /* one call took more than `patience` instructions */
    STOP_EXCEPTION = 4, /* the core took exception `value` */
    STOP_DECODE = 5,    /* `decode` failed; machine.py keeps the Python exception */
    STOP_OVERRUN = 6,   /* the block table is full */
    STOP_OUTSIDE = 7    /* execution of flash outside .text, at address `value` */
} stop_reason;

typedef struct device {
    /* the unicorn engine and two of its functions */
    void *uc;
    int (*emu_stop)(void *uc);
    int (*reg_read)(void *uc, int reg, void *value);
    int (*decode)(uint32_t address, uint32_t size, block *b); /* 0 = success */

    /* slot[(address - code_start) / 2] = index into blocks, 0 = not decoded yet */
    block *blocks;
    uint32_t *slot;
    uint64_t insns, cycles;           /* since reset */
    uint64_t insns_here, cycles_here; /* the counts at the start of the current block */
    uint64_t patience, deadline;      /* instructions */
    uint32_t code_start, code_size;   /* bytes */
    uint32_t block_count, block_limit;
    uint32_t current; /* index of the current block, 0 = none */
    uint32_t sp_register;
    uint32_t sp_low; /* lowest stack pointer since reset */
    uint32_t stopped, value;
    uint32_t fault_address, fault_seen;

    /* Wait states of code in flash. wait: cycles of a fetch that the cache does not hold; 0 = none. line_shift: log2 of the bytes of a
     * line. lines[sets][ways]: number of the line + 1, 0 = empty, those of a set in the order of their last use; no ways: no cache. */
    uint32_t wait, line_shift, sets, ways;
    uint32_t *lines;

    /* The measured call: from the first block after the store to REG_BEGIN to the block that stores to REG_END, without it. */
    uint32_t opening, profile_opening;
    tally open, boot;
    uint32_t profile_slot;
    tally profile_open, profile[PHASES * LAYERS]; /* [phase * LAYERS + layer] */

    /* the current batch */
    uint32_t command, count, next, width, classes, input_size;
    const uint8_t *inputs;  /* [count][width] */
    const uint16_t *labels; /* [count], for learning */
    reply *replies;         /* [count] */
    int32_t *scores;        /* [count][classes], or NULL */
    uint8_t *states;        /* [count][state_size], or NULL: the state after each step */
    const uint8_t *state;   /* host address of the state memory of the firmware */
    uint8_t *sample;        /* host address of the sample buffer */
    uint32_t state_size, score;
} device;

#endif
