// SPDX-License-Identifier: MIT OR Apache-2.0
//! The register block of ivshmem: offsets, bits and numbers. Pure, touches no hardware.
//!
//! Source: QEMU `docs/specs/ivshmem-spec.rst`, section "Device registers".
//! Everything from 0x10 to the end of the block is reserved, reads 0 and
//! ignores writes.

use core::fmt;

use bitflags::bitflags;

/// 0x00, read-write: Interrupt Mask. Revision 0: bits set here let the same bits of
/// Interrupt Status raise INTx. Revision 1: storage without effect.
pub const INTERRUPT_MASK: usize = 0x00;

/// 0x04, read-write: Interrupt Status. **A read clears every bit.** A write stores the value.
pub const INTERRUPT_STATUS: usize = 0x04;

/// 0x08, read-only: `IVPosition`, the own ID; all ones on revision 0 until the
/// server's shared memory has arrived; 0 on devices without a server.
pub const IV_POSITION: usize = 0x08;

/// 0x0c, write-only: Doorbell, peer ID in bits 31..16 and vector in bits 15..0.
pub const DOORBELL: usize = 0x0c;

/// Number of bytes of a register block that the driver needs. QEMU's BAR0 has
/// 256 and `ivshmem-flat` has 16; other hypervisors round up to a page.
pub const BLOCK_LEN: u64 = 0x10;

/// Largest vector that a doorbell write can ring reliably. Without a matching
/// ioeventfd QEMU looks at bits 7..0 of the vector only, so 0x100 would ring vector 0
/// (QEMU 7.2, measured).
pub const MAX_DOORBELL_VECTOR: u16 = 255;

/// ID of a peer, as the server gives it out and `IVPosition` shows it. 0 to 65535, not
/// necessarily dense: other hypervisors use their VM number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u16);

impl PeerId {
    /// Returns the ID in a value read from `IVPosition`, if it is one.
    ///
    /// All ones means "not ready" on revision 0 and "no device" anywhere; other values
    /// above 65535 do not fit the doorbell register.
    #[must_use]
    pub const fn from_position(value: u32) -> Option<Self> {
        if value > u16::MAX as u32 {
            return None;
        }
        Some(Self(value as u16))
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Index of an interrupt vector of a device: an entry of its own MSI-X table (0 to 2047), or
/// the one to ring at a peer (0 to 255).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VectorIndex(pub u16);

impl fmt::Display for VectorIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Returns the Doorbell value that rings `vector` of `peer`, or `None` for a vector above 255.
#[must_use]
pub const fn doorbell(peer: PeerId, vector: VectorIndex) -> Option<u32> {
    if vector.0 > MAX_DOORBELL_VECTOR {
        return None;
    }
    Some((peer.0 as u32) << 16 | vector.0 as u32)
}

bitflags! {
    /// Bits of Interrupt Mask and Interrupt Status.
    ///
    /// Only bit 0 is specified. The others are kept, because historic QEMU (up to 2.5) stores
    /// the low byte of the event counter in Interrupt Status: two coalesced
    /// doorbells give 2. So treat any bit as "a peer rang", and set the mask to all ones.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct InterruptStatus: u32 {
        /// A peer rang the doorbell.
        const PEER = 1;
        const _ = !0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doorbell_has_the_peer_in_the_upper_half() {
        assert_eq!(doorbell(PeerId(3), VectorIndex(1)), Some(0x0003_0001));
        assert_eq!(
            doorbell(PeerId(0xffff), VectorIndex(255)),
            Some(0xffff_00ff)
        );
        assert_eq!(doorbell(PeerId(3), VectorIndex(256)), None);
    }

    #[test]
    fn position_is_an_id_only_up_to_16_bits() {
        assert_eq!(PeerId::from_position(0), Some(PeerId(0)));
        assert_eq!(PeerId::from_position(0xffff), Some(PeerId(0xffff)));
        assert_eq!(PeerId::from_position(0x1_0000), None);
        assert_eq!(PeerId::from_position(u32::MAX), None);
    }
}
