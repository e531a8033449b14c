/* arduino_eeprom.cpp: the store in Arduino's EEPROM library, from address 0. EEPROM needs no erase: erasing writes 0xFF, and update
 * spares bytes that are so already. On ESP8266, ESP32 and RP2040, where the library holds a copy in RAM, call EEPROM.begin(size) first;
 * each call ends with EEPROM.commit(). */
#include <EEPROM.h>

#include "drivers.h"

#if defined(ESP8266) || defined(ESP32) || defined(ARDUINO_ARCH_RP2040)
static bool finished() { return EEPROM.commit(); }
static void put(int at, uint8_t byte) { EEPROM.write(at, byte); }
#else
static bool finished() { return true; }
static void put(int at, uint8_t byte) { EEPROM.update(at, byte); }
#endif

static uint32_t erase_size;

static int eeprom_read(void *, uint32_t at, void *to, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        static_cast<uint8_t *>(to)[i] = EEPROM.read(static_cast<int>(at + i));
    }
    return 0;
}

static int eeprom_program(void *, uint32_t at, const void *from, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        put(static_cast<int>(at + i), static_cast<const uint8_t *>(from)[i]);
    }
    return finished() ? 0 : -1;
}

static int eeprom_erase(void *, uint32_t at)
{
    for (uint32_t i = 0; i < erase_size; i++) {
        put(static_cast<int>(at + i), 0xFF);
    }
    return finished() ? 0 : -1;
}

mb_store arduino_eeprom_store(uint32_t page_size, uint32_t pages)
{
    erase_size = page_size;
    const mb_store store = {nullptr, eeprom_read, eeprom_program, eeprom_erase, page_size, pages, 1};
    return store;
}
