// SPDX-License-Identifier: MIT OR Apache-2.0
//! The interrupt descriptor table: every vector leads to its stub.

use core::mem;

use spin::Once;
use x86_64::{
    instructions::tables::{lidt, DescriptorTablePointer},
    registers::control::{Cr4, Cr4Flags},
    structures::idt::Entry,
    VirtAddr,
};

use super::{gdt, stubs::STUBS};

/// `x86_64`'s own table leaves out the vectors that the architecture reserves; an interrupt
/// there must print its frame too.
static TABLE: Once<[Entry<()>; 256]> = Once::new();

/// Fills and loads the table. The segments must be loaded before: each entry names the code
/// segment in force.
pub fn init() {
    let table = TABLE.call_once(|| {
        let mut table = [const { Entry::missing() }; 256];
        for (vector, (entry, stub)) in (0..=u8::MAX).zip(table.iter_mut().zip(&STUBS)) {
            let address = VirtAddr::from_ptr(*stub as *const ());
            // SAFETY: the stub of this very vector takes the stack as the processor leaves it.
            let options = unsafe { entry.set_handler_addr(address) };
            if let Some(index) = gdt::stack_index(vector) {
                // SAFETY: the task state has a stack at every index that `stack_index` gives,
                // used by this vector alone.
                unsafe { options.set_stack_index(index) };
            }
        }
        table
    });
    let pointer = DescriptorTablePointer {
        limit: (mem::size_of_val(table) - 1) as u16,
        base: VirtAddr::from_ptr(table),
    };
    // SAFETY: the table is `'static` and all its entries are valid.
    unsafe { lidt(&pointer) };
    // Or a machine check would reset the machine without a word.
    // SAFETY: the exception has its handler now.
    unsafe { Cr4::update(|flags| flags.insert(Cr4Flags::MACHINE_CHECK_EXCEPTION)) };
}
