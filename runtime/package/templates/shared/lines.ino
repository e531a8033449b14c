// The network answers lines of text over the serial port, 115200 baud: metabit_lines.h says which.
#include <Arduino.h>

#include "metabit_lines.h"

static mb_status status;

void setup()
{
    Serial.begin(115200);
    status = lines_start();
    Serial.println(status == MB_OK ? "ready" : mb_strerror(status));
}

void loop()
{
    while (status == MB_OK && Serial.available() > 0) {
        const char *said = lines_take((char)Serial.read());
        if (said != NULL) {
            Serial.println(said);
        }
    }
}
