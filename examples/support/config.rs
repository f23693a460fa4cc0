// SPDX-License-Identifier: MIT OR Apache-2.0
//! Configuration space of the examples' machines: one ivshmem-doorbell at 00:03.0, as firmware leaves it.

use std::sync::Mutex;

use crate::memory;

/// Device 3 on bus 0.
pub const DEVICE: u8 = 3;

/// The words of the function that are not 0, the bits of them that can be written, and what they hold.
static WORDS: Mutex<[(u16, u32, u32); 9]> = Mutex::new([
    (0x00, 0, 0x1110_1af4),
    (0x04, 0x0547, 0x0010_0103),
    (0x08, 0, 0x0500_0001),
    (0x10, 0xffff_ff00, memory::REGISTERS as u32),
    (0x14, 0xffff_f000, memory::MSIX as u32),
    (0x18, 0xfff0_0000, memory::SHARED_MEMORY as u32 | 0xc),
    (0x1c, 0xffff_ffff, 0),
    (0x34, 0, 0x40),
    (0x40, 0xc000_0000, 0x0001_0011),
]);
/// The MSI-X structures: the table at the start of BAR 1, pending bits in its second half.
const PLACES: [(u16, u32); 2] = [(0x44, 0x0000_0001), (0x48, 0x0000_0801)];

/// Returns the word at `offset` of a device on bus 0.
pub fn read(device: u8, function: u8, offset: u16) -> u32 {
    if (device, function) != (DEVICE, 0) {
        return !0;
    }
    if let Some((_, value)) = PLACES.iter().find(|place| place.0 == offset) {
        return *value;
    }
    let words = WORDS.lock().expect("no access panics");
    words.iter().find(|w| w.0 == offset).map_or(0, |w| w.2)
}

/// Writes the word at `offset` of a device on bus 0.
pub fn write(device: u8, function: u8, offset: u16, value: u32) {
    let mut words = WORDS.lock().expect("no access panics");
    let word = words.iter_mut().find(|w| w.0 == offset);
    if let (Some((_, mask, old)), (DEVICE, 0)) = (word, (device, function)) {
        *old = *old & !*mask | value & *mask;
    }
}
