/* Ways a compiler never takes and a hand may. Linked beside probe.c, kept by its R; never run. */
    .syntax unified
    .thumb
    .section .text.kept, "axR", %progbits

/* The constant depends on the way: 2,000 bytes more, or 16. */
    .balign 4
    .global joined
    .type joined, %function
    .thumb_func
joined:
    ldr     r3, =-2000
    cmp     r0, #0
    beq     1f
    ldr     r3, =-16
1:  add     sp, r3
    bx      lr
    .pool
    .size joined, . - joined

/* A helper inside the function: a call, and behind it 400 bytes. */
    .balign 4
    .global helped
    .type helped, %function
    .thumb_func
helped:
    push    {r4, lr}
    bl      1f
    sub     sp, #400
    str     r0, [sp]
    add     sp, #400
    pop     {r4, pc}
1:  push    {r4, lr}
    pop     {r4, pc}
    .size helped, . - helped
