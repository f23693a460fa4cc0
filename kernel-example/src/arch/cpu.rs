// SPDX-License-Identifier: MIT OR Apache-2.0
//! Processor features, and the two ways to wait: halted and spinning.

use core::{arch::x86_64::__cpuid, hint};

use x86_64::instructions::{hlt, interrupts};

use super::time;

/// Looks at the condition between two looks at the clock.
const SPINS: u32 = 1024;

/// Returns whether the processor offers x2APIC (CPUID 1, ECX bit 21).
pub fn has_x2apic() -> bool {
    __cpuid(1).ecx & (1 << 21) != 0
}

/// Returns whether the processor offers 1 GiB pages (CPUID 0x8000_0001, EDX bit 26).
pub fn has_gigabyte_pages() -> bool {
    __cpuid(0x8000_0001).edx & (1 << 26) != 0
}

/// Returns the width of physical addresses in bits (CPUID 0x8000_0008, EAX bits 0 to 7),
/// at most the 52 that page tables can hold.
pub fn physical_address_bits() -> u32 {
    (__cpuid(0x8000_0008).eax & 0xff).min(52)
}

/// Halts between interrupts until `condition` holds or `deadline_ns` on the clock
/// [`time::now_ns`] has passed; returns whether the condition held.
///
/// Interrupts are off while the condition is looked at, and come on again only together
/// with the halt: none can slip in between and be slept through. The periodic tick ends
/// the halt at the latest, so the deadline is kept to about a tick.
pub fn wait_until(deadline_ns: u64, mut condition: impl FnMut() -> bool) -> bool {
    let were_enabled = interrupts::are_enabled();
    let held = loop {
        interrupts::disable();
        if condition() {
            break true;
        }
        if time::now_ns() >= deadline_ns {
            break false;
        }
        interrupts::enable_and_hlt();
    };
    if were_enabled {
        interrupts::enable();
    }
    held
}

/// Spins until `condition` holds or `deadline_ns` on the clock [`time::now_ns`] has passed;
/// returns whether the condition held.
///
/// The clock is read now and then only: under TCG that takes longer than a look at memory.
pub fn spin_until(deadline_ns: u64, mut condition: impl FnMut() -> bool) -> bool {
    loop {
        for _ in 0..SPINS {
            if condition() {
                return true;
            }
            hint::spin_loop();
        }
        if time::now_ns() >= deadline_ns {
            return false;
        }
    }
}

/// Halts for good.
pub fn halt_forever() -> ! {
    loop {
        interrupts::disable();
        hlt();
    }
}
