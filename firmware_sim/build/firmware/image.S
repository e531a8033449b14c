/* The model in flash, aligned to 16 bytes, so that offsets inside the image keep their alignment. */
    .section .rodata.image, "a", %progbits
    .balign 16
    .global image
    .type image, %object
image:
    .incbin "image.mbit"
    .size image, . - image
    .global image_end
image_end:
