// SPDX-License-Identifier: MIT OR Apache-2.0
//! The way from the PVH loader to `kmain`, what the loader told, and a loader under UEFI.

use core::{arch::global_asm, mem};

use spin::Once;

pub use self::start_info::{BootInfo, MemoryRegion, StartInfoError};
use crate::arch::stack::GuardedStack;

mod efi;
mod start_info;

/// The size of the stack that `kmain` runs on, in bytes.
const STACK_BYTES: usize = 256 * 1024;

/// The memory below this address is mapped at its own address by the tables of `pvh.s`.
pub const BOOT_MAPPED_BYTES: u64 = 1 << 30;

/// The stack that `kmain` runs on.
pub static STACK: GuardedStack<STACK_BYTES> = GuardedStack::new();

static INFO: Once<BootInfo> = Once::new();

global_asm!(
    include_str!("pvh.s"),
    stack = sym STACK,
    stack_bytes = const mem::size_of::<GuardedStack<STACK_BYTES>>(),
    kmain = sym crate::kmain,
);

/// Copies what the loader tells, at the physical address `start_info`, into static storage.
///
/// # Errors
///
/// Those of [`BootInfo::copy`].
pub fn init(start_info: u64) -> Result<(), StartInfoError> {
    let info = BootInfo::copy(start_info)?;
    INFO.call_once(|| info);
    Ok(())
}

/// Returns what the loader told, or nothing before [`init`].
pub fn info() -> Option<&'static BootInfo> {
    INFO.get()
}
