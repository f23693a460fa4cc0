# SPDX-License-Identifier: MIT OR Apache-2.0
#
# PVH entry: from 32-bit protected mode without paging to kmain in long mode.
#
# State at entry (Xen's x86/HVM direct boot ABI): ebx is the physical address of
# start_info, segments are flat, interrupts are off, esp is anything. The loader
# has zeroed what the ELF program headers call for, .bss among it.

    .section .note.xen, "a", @note
    .balign 4
    .long 4                         # size of the owner's name
    .long 4                         # size of the descriptor
    .long 18                        # XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long pvh_entry

# Page tables until memory::init has made better ones: the first GiB, identical.
    .section .data.boot_tables, "aw", @progbits
    .balign 4096
boot_pml4:
    .quad boot_pdpt + 0x03          # present, writable
    .fill 511, 8, 0
boot_pdpt:
    .quad boot_pd + 0x03
    .fill 511, 8, 0
boot_pd:
    .set boot_frame, 0
    .rept 512
    .quad boot_frame + 0x83         # present, writable, 2 MiB
    .set boot_frame, boot_frame + 0x200000
    .endr

    .section .rodata.boot_gdt, "a", @progbits
    .balign 8
boot_gdt:
    .quad 0
    .quad 0x00af9a000000ffff        # 0x08: 64-bit code
    .quad 0x00cf92000000ffff        # 0x10: data
boot_gdt_pointer:
    .word . - boot_gdt - 1
    .long boot_gdt

    .section .text.pvh_entry, "ax", @progbits
    .code32
    .globl pvh_entry
pvh_entry:
    cli
    cld
    mov esp, offset {stack} + {stack_bytes}

    mov eax, offset boot_pml4
    mov cr3, eax
    mov eax, cr4
    or eax, 0x20                    # PAE
    mov cr4, eax
    mov ecx, 0xc0000080             # EFER
    rdmsr
    or eax, 0x100                   # LME
    wrmsr
    mov eax, cr0
    or eax, 0x80010001              # PG, WP, PE
    mov cr0, eax

    lgdt [boot_gdt_pointer]
    push 0x08
    mov eax, offset pvh_long_mode   # `push offset` would be assembled as 16-bit
    push eax
    retf

    .code64
pvh_long_mode:
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    mov rsp, offset {stack} + {stack_bytes}
    mov edi, ebx
    xor ebp, ebp
    call {kmain}
    ud2
