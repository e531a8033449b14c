/* The part of Arduino's EEPROM.h that examples/store/arduino_eeprom.cpp uses: of the AVR core, and commit() of the ESP cores. */
#ifndef EEPROM_H
#define EEPROM_H
#include <stdint.h>

struct EEPROMClass {
    uint8_t read(int idx);
    void write(int idx, uint8_t val);
    void update(int idx, uint8_t val);
    bool commit();
};
static EEPROMClass EEPROM __attribute__((unused));
#endif
