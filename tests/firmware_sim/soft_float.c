/* Integers only, it said. */
int main(void);
volatile float factor = 1.5f;
int main(void) { return (int)(factor * factor); }
