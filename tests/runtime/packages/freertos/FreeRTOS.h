/* All that the ESP-IDF example needs of FreeRTOS. */
#include <stdlib.h>
