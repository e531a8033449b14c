/* From a multiboot loader to emulated() in 64-bit mode, all of the first GiB mapped, no interrupts, vectors allowed (emulated.c). */
    .section .start, "ax"
    .code32
header: /* the file is loaded at 1 MiB as it lies, from its first byte on */
    .long 0x1BADB002, 0x10000, -(0x1BADB002 + 0x10000)
    .long header, header, end_of_file, end_of_memory, start
    .globl start
start:
    cli
    movl $stack, %esp
    movl $tables + 0x1003, tables /* one entry of each of two tables, then 512 pages of 2 MiB */
    movl $tables + 0x2003, tables + 0x1000
    movl $0x83, %eax
    movl $tables + 0x2000, %edi
1:  movl %eax, (%edi)
    movl $0, 4(%edi)
    addl $0x200000, %eax
    addl $8, %edi
    cmpl $0x40000083, %eax
    jne 1b
    movl $tables, %eax
    movl %eax, %cr3
    movl $0x40620, %eax /* PAE, SSE and its exceptions, XSAVE */
    movl %eax, %cr4
    movl $0xC0000080, %ecx
    rdmsr
    orl $0x100, %eax /* long mode */
    wrmsr
    movl $0x80000013, %eax /* paging, protection, a floating-point unit that is there */
    movl %eax, %cr0
    lgdt pointer
    ljmp $8, $long_mode
    .code64
long_mode:
    xorl %ecx, %ecx
    xorl %edx, %edx
    movl $0xE7, %eax /* x87, SSE, AVX and the three parts of AVX-512 */
    xsetbv
    xorl %eax, %eax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    call emulated
1:  hlt
    jmp 1b
    .balign 8
descriptors:
    .quad 0, 0x00AF9A000000FFFF
pointer:
    .word 15
    .long descriptors

    .data
    .balign 64
    .globl cases
cases:
    .incbin "cases.bin"
    .balign 64

    .bss
    .balign 4096
tables:
    .skip 0x3000
    .skip 0x40000
stack:
    .section .note.GNU-stack, "", @progbits
