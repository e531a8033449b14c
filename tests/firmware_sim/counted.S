/* Code short enough to count by hand. The measured code lies between the return of port_begin and the call of port_end,
 * that call included. test_counts.py has the sums. */
    .syntax unified
    .thumb
    .text

    .macro function name
    .global \name
    .type \name, %function
    .thumb_func
\name:
    .endm

/* n rounds of: subs, bne. Then: bl. */
    .balign 4
    function counted_loop
    push    {r4, lr}
    mov     r4, r0
    bl      port_begin
    .balign 4
1:  subs    r4, #1
    bne     1b
    bl      port_end
    pop     {r4, pc}

/* mov; two loads; a store; a multiple load of 3, of 2 after moving back; mul; nop; bl */
    .balign 4
    function counted_memory
    push    {r4-r7, lr}
    sub     sp, #16
    bl      port_begin
    mov     r4, sp
    ldr     r1, [r4]
    ldr     r2, [r4, #4]
    str     r2, [r4, #8]
    ldm     r4!, {r1, r2, r3}
    subs    r4, #12
    ldm     r4!, {r1, r2}
    muls    r1, r2, r1
    nop
    bl      port_end
    add     sp, #16
    pop     {r4-r7, pc}

/* bl; push of 3; pop of 3 with a return; bl */
    .balign 4
    function counted_call
    push    {r4, lr}
    bl      port_begin
    bl      leaf
    bl      port_end
    pop     {r4, pc}

    .balign 4
    function leaf
    push    {r4, r5, lr}
    pop     {r4, r5, pc}

/* sdiv r0, r1, r2: ARMv7-M and later */
    .balign 4
    function divide
    .inst.w 0xfb91f0f2
    bx      lr
