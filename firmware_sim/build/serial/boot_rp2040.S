/* Second stage of the RP2040's start (datasheet, 2.8.1.3): 256 bytes that the boot ROM copies to RAM and runs if their CRC-32 is right.
 * It lets the flash chip be read in place by the command 03h, which every chip has (4.10, SSI), and jumps to the vector table. */
    .syntax unified
    .cpu cortex-m0plus
    .thumb
    .section .boot2, "ax", %progbits
    .global boot2
    .type boot2, %function
boot2:
    ldr r3, =0x18000000     /* SSI */
    movs r0, #0
    str r0, [r3, #0x08]     /* SSIENR: off */
    movs r0, #4
    str r0, [r3, #0x14]     /* BAUDR: a quarter of the system clock */
    ldr r0, =0x001F0300     /* CTRLR0: 32 bits a frame, standard SPI, read after command and address */
    str r0, [r3, #0x00]
    movs r0, #0
    str r0, [r3, #0x04]     /* CTRLR1: one frame a read */
    ldr r0, =0x03000218     /* SPI_CTRLR0: command 03h of 8 bits, address of 24 bits */
    ldr r1, =0x180000F4
    str r0, [r1]
    movs r0, #1
    str r0, [r3, #0x08]     /* SSIENR: on */
    ldr r0, =0x10000100     /* vector table */
    ldr r1, =0xE000ED08     /* VTOR */
    str r0, [r1]
    ldmia r0!, {r1, r2}
    msr msp, r1
    bx r2
    .ltorg
    .org 252
    .word 0xC0278CA8        /* the CRC-32 of these 252 bytes, by polynomial 04C11DB7, not reflected; a test computes it */
