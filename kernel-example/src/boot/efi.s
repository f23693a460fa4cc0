# SPDX-License-Identifier: MIT OR Apache-2.0
#
# From UEFI to the PVH entry: out of long mode, into the state that a PVH loader leaves.
#
# State at entry: 64-bit mode with the firmware's tables, which map all RAM at its own
# address; edi is the physical address of start_info. Nothing returns from here.

    .section .rodata.efi_gdt, "a", @progbits
    .balign 8
efi_gdt:
    .quad 0
    # Marked accessed, because firmware may map constants read-only.
    .quad 0x00cf9b000000ffff        # 0x08: 32-bit code
    .quad 0x00cf93000000ffff        # 0x10: data
efi_gdt_pointer:
    .word . - efi_gdt - 1
    .quad efi_gdt

    .section .text.efi_enter_pvh, "ax", @progbits
    .code64
    .globl efi_enter_pvh
efi_enter_pvh:
    cli
    cld
    mov ebx, edi
    lgdt [rip + efi_gdt_pointer]
    push 0x08
    lea rax, [rip + efi_compatibility_mode]
    push rax
    retfq

    .code32
efi_compatibility_mode:
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov fs, eax
    mov gs, eax
    mov ss, eax
    mov eax, 0x11                   # ET, PE: without PG, and so out of long mode
    mov cr0, eax
    mov ecx, 0xc0000080             # EFER
    xor eax, eax
    xor edx, edx
    wrmsr
    # After paging is off: five levels of tables cannot be left while it is on.
    mov cr4, eax
    jmp pvh_entry
    .code64
