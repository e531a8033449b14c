/* main.c: the network answers lines of text (metabit_lines.h) over standard input and output. */
#include <stdio.h>

#include "metabit_lines.h"

int main(void)
{
    const mb_status status = lines_start();
    puts(status == MB_OK ? "ready" : mb_strerror(status));
    for (int c = status == MB_OK ? getchar() : EOF; c != EOF; c = getchar()) {
        const char *const said = lines_take((char)c);
        if (said != NULL) {
            puts(said);
        }
    }
    return status == MB_OK ? 0 : 1;
}
