/* Start of a RISC-V core in machine mode: stack, .data, .bss, then main. Every trap resets the chip. link.ld defines the symbols. */
    .section .vectors, "ax", %progbits
    .global Reset_Handler
    .type Reset_Handler, %function
Reset_Handler:
    la sp, stack_top
    la t0, trap
    csrw mtvec, t0
    la t0, data_load
    la t1, data_start
    la t2, data_end
1:  bgeu t1, t2, 2f
    lw t3, 0(t0)
    sw t3, 0(t1)
    addi t0, t0, 4
    addi t1, t1, 4
    j 1b
2:  la t1, bss_start
    la t2, bss_end
3:  bgeu t1, t2, 4f
    sw zero, 0(t1)
    addi t1, t1, 4
    j 3b
4:  call main
    .balign 4
trap:
    call port_exit
    .size Reset_Handler, . - Reset_Handler
