/* All that the Zephyr sample needs of Zephyr, on standard output. */
#ifndef STUB_KERNEL_H
#define STUB_KERNEL_H
#include <stdio.h>
#define printk printf
#endif
