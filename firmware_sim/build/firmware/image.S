/* The model, as it lies in flash: 16-byte aligned, so that every offset inside keeps its alignment. */
    .section .rodata.image, "a", %progbits
    .balign 16
    .global image
    .type image, %object
image:
    .incbin "image.mbit"
    .size image, . - image
    .global image_end
image_end:
