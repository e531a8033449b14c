/* Registers of the emulated port: port_emulated.c reads and writes them, run/hook.c implements them.
 * The addresses lie in the Cortex-M peripheral space, outside the memory of every board. */
#ifndef METABIT_PORT_REGISTERS_H
#define METABIT_PORT_REGISTERS_H

#define PORT_BASE 0x4F000000u /* registers, one word each */
#define PORT_SIZE 0x1000u

/* The current input; read-only, like a buffer that a sensor fills by DMA. Large enough for every input that the format allows. */
#define SAMPLE_BASE 0x4F001000u
#define SAMPLE_SIZE 0x4000u

#define PROFILE_NOTHING 0u

enum port_register {
    REG_COMMAND = 0x00, /* read: a port_command, PORT_IDLE if there is none */
    REG_LABEL = 0x04,   /* read */

    REG_INPUT_SIZE = 0x10, /* write, once after boot */
    REG_CLASSES = 0x14,

    REG_BEGIN = 0x20, /* write: the measured call starts, ends */
    REG_END = 0x24,
    REG_PROFILE = 0x28, /* write: mb_phase << 16 | layer, or PROFILE_NOTHING */

    REG_STATUS = 0x30, /* write: the fields of one reply */
    REG_PREDICTED = 0x34,
    REG_SKIPPED = 0x38,
    REG_VISITED = 0x3C,
    REG_MOVED = 0x40,
    REG_FLIPPED = 0x44,
    REG_SCORE = 0x48, /* write: one score for each class, in order */
    REG_DONE = 0x4C,  /* write: the reply is complete */

    REG_EXIT = 0x50 /* write: the firmware stops with this code */
};

#endif
