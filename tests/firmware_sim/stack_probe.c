/* A firmware whose deepest stack is taken at boot: main, choose, tail, big. The others have no bound and are never called. */
#include "port.h"

#define KEEP __attribute__((noinline))
typedef uint32_t function(uint32_t);

function big, tail, choose, itself, ping, pong, dynamic;
uint32_t through(function *volatile *f);
int main(void);

KEEP uint32_t big(uint32_t i) {
    volatile uint32_t frame[500]; /* 2,000 bytes: more than one instruction can subtract on an M0+ */
    frame[i] = i;
    return frame[i ^ 1];
}

KEEP uint32_t tail(uint32_t i) { return big(i + 2); }

KEEP uint32_t choose(uint32_t i) {
    volatile uint32_t frame[10];
    frame[i & 7] = i;
    switch (frame[i & 7]) { /* by a table */
    case 0: return tail(i) + frame[1];
    case 1: return port_label();
    case 2: frame[3] = tail(4); break;
    case 3: frame[4] = i * i; break;
    case 4: return frame[5];
    case 5: frame[2] = port_label(); break;
    case 6: return frame[2] - i;
    default: frame[8] = 1;
    }
    return frame[9] + frame[i & 3];
}

KEEP uint32_t itself(uint32_t n) {
    volatile uint32_t frame[4];
    frame[n & 3] = n;
    return n ? itself(n - 1) + frame[n & 3] : 0;
}

KEEP uint32_t ping(uint32_t n) { return n ? pong(n - 1) + port_label() : 0; }

KEEP uint32_t pong(uint32_t n) { return n ? ping(n - 1) + port_label() : 1; }

KEEP uint32_t through(function *volatile *f) { return (*f)(3) + 1; }

KEEP uint32_t dynamic(uint32_t n) {
    volatile uint8_t frame[n + 1];
    frame[n] = (uint8_t)n;
    return frame[port_label()];
}

int main(void) {
    static const void *const volatile kept[] = {(void *)itself, (void *)ping, (void *)through, (void *)dynamic};
    (void)kept[0];
    port_ready(choose(port_label()) & 0, 1);
    port_wait();
    return 0;
}
