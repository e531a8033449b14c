/* The port: all the firmware asks of a board. To run metabit on your hardware, write these seven functions over your UART,
 * USB or sensor driver in place of port_emulated.c; startup.c, link.ld and main.c stay as they are. */
#ifndef METABIT_PORT_H
#define METABIT_PORT_H

#include "metabit.h"

typedef enum port_command { PORT_IDLE = 0, PORT_PREDICT = 1, PORT_LEARN = 2, PORT_STOP = 3 } port_command;

void port_ready(uint32_t input_size, uint32_t classes); /* the model is open; sizes of one input and of the scores */
port_command port_wait(void);                           /* blocks until there is something to do */
const void *port_sample(void);                          /* the input that came with the command */
uint16_t port_label(void);                              /* its class, for PORT_LEARN */

/* Around the library call, and nothing else. On a real board: raise and lower a pin, read a cycle counter. */
void port_begin(void);
void port_end(void);

void port_reply(mb_status status, const int32_t *scores, uint32_t classes, const mb_learn_info *info);

/* Never returns. code: 0, an mb_status, or PORT_EXCEPTION. */
#define PORT_EXCEPTION 0xDEAD
void port_exit(int32_t code);

#endif
