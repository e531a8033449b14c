/* main.c: the network answers lines of text (metabit_lines.h) on the console. */
#include <stdio.h>

#include "freertos/FreeRTOS.h"
#include "freertos/task.h"

#include "metabit_lines.h"

void app_main(void)
{
    const mb_status status = lines_start();
    puts(status == MB_OK ? "ready" : mb_strerror(status));
    while (status == MB_OK) {
        const int c = getchar();
        if (c == EOF) { /* nothing was typed yet */
            vTaskDelay(1);
            continue;
        }
        const char *const said = lines_take((char)c);
        if (said != NULL) {
            puts(said);
        }
    }
}
