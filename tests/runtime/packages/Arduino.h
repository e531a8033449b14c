/* All that the Arduino example needs of an Arduino core, on standard input and output. */
#ifndef ARDUINO_H
#define ARDUINO_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

class Port
{
  public:
    void begin(unsigned long) {}
    int available() { return 1; }
    int read()
    {
        const int c = getchar();
        if (c == EOF) {
            fflush(stdout);
            exit(0);
        }
        return c;
    }
    void println(const char *text) { puts(text); }
};
static Port Serial;

void setup();
void loop();

int main()
{
    setup();
    for (;;) {
        loop();
    }
}
#endif
