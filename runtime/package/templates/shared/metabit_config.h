/* metabit_config.h: parts of the library to leave out. metabit.h includes this file by itself. An image that needs a part that is
 * left out is refused with MB_E_ABSENT. */
#ifndef METABIT_CONFIG_H
#define METABIT_CONFIG_H

@part_lines_c@

#endif
