// SPDX-License-Identifier: MIT OR Apache-2.0
//! The properties of a device, from three bytes of an input.

use ivshmem_device::{Generation, Properties, Role, Source};

use crate::input::Input;

/// Bits of the second byte.
const IOEVENTFD: u8 = 1 << 0;
const NO_MSI: u8 = 1 << 1;
const BAR32: u8 = 1 << 2;
const PEER: u8 = 1 << 3;
/// The other four: the size of a historic device or of a flat one, as a power of two times 1 MiB, but 15 for nothing.
const SIZE_SHIFT: u8 = 4;

/// Takes properties, not all of which are valid: the kind, bits, and the number of vectors.
pub fn properties(input: &mut Input<'_>) -> Properties {
    let (kind, bits): (u8, u8) = (input.take(), input.take());
    let shm = || Source::Shm("m".into());
    let chardev = || Source::Chardev("c".into());
    let mut properties = match kind % 7 {
        0 => Properties::legacy(Generation::V2_3, chardev()),
        1 => Properties::legacy(Generation::V2_5, chardev()),
        2 => Properties::legacy(Generation::V2_3, shm()),
        3 => Properties::legacy(Generation::V2_5, shm()),
        4 => Properties::plain("m"),
        5 => Properties::doorbell("c"),
        _ => Properties::flat("c"),
    };
    properties.vectors = match input.take::<u8>() {
        0xff => u32::MAX,
        0xfe => 2048,
        0xfd => 1024,
        few => few.into(),
    };
    properties.ioeventfd = bits & IOEVENTFD != 0;
    properties.msi = bits & NO_MSI == 0;
    properties.use64 = bits & BAR32 == 0;
    properties.role = match bits & PEER {
        0 => Role::Master,
        _ => Role::Peer,
    };
    properties.size_bytes = match bits >> SIZE_SHIFT {
        15 => 0,
        shift => 1 << 20 << shift,
    };
    properties
}
