/* vadd.f32 s0, s0, s0, spelt in hexadecimal so that every core's assembler takes it. */
    .syntax unified
    .thumb
    .text
    .global main
    .type main, %function
    .thumb_func
main:
    push    {r4, lr}
    .inst.w 0xee300a00
    movs    r0, #2
    movs    r1, #1
    bl      port_ready
    bl      port_wait
    movs    r0, #0
    pop     {r4, pc}
