/* The port: the seven functions that main.c needs from a board. To run metabit on your hardware, write them with your UART, USB
 * or sensor driver and link them instead of port_emulated.c. startup.c, link.ld and main.c can stay as they are. */
#ifndef METABIT_PORT_H
#define METABIT_PORT_H

#include "metabit.h"

typedef enum port_command { PORT_IDLE = 0, PORT_PREDICT = 1, PORT_LEARN = 2, PORT_STOP = 3 } port_command;

void port_ready(uint32_t input_size, uint32_t classes); /* called once: bytes of an input, number of scores */
port_command port_wait(void);                           /* returns the next command */
const void *port_sample(void);                          /* the input of this command */
uint16_t port_label(void);                              /* its class, if the command is PORT_LEARN */

/* Called directly before and after the library call, to measure it: a real board raises and lowers a pin, for example. */
void port_begin(void);
void port_end(void);

void port_reply(mb_status status, const int32_t *scores, uint32_t classes, const mb_learn_info *info);

/* Stops the program; does not return. code: 0, an mb_status, or PORT_EXCEPTION. */
#define PORT_EXCEPTION 0xDEAD
void port_exit(int32_t code);

#endif
