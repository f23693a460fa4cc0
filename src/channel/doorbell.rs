// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a channel wakes a peer: [`Doorbell`].

use crate::{Ivshmem, PeerId, Registers, VectorIndex};

/// Something that interrupts peers.
///
/// A doorbell is a hint: it may be lost, and several may arrive as one. What it announces lies in the shared memory,
/// and whoever wakes up looks there.
///
/// # Implementation
///
/// - All that this CPU has stored before the call has to be seen by a peer that wakes up from it.
/// - There is no result, because one could not be relied on: nobody says whether a peer has heard it. A call that cannot
///   ring does nothing.
/// - It is called from wherever messages are sent and received, so it must not wait.
pub trait Doorbell {
    /// Rings `vector` of `peer`.
    fn ring(&self, peer: PeerId, vector: VectorIndex);
}

impl<T: Doorbell + ?Sized> Doorbell for &T {
    fn ring(&self, peer: PeerId, vector: VectorIndex) {
        T::ring(self, peer, vector);
    }
}

/// The device's own doorbell.
impl<R: Registers> Doorbell for Ivshmem<R> {
    fn ring(&self, peer: PeerId, vector: VectorIndex) {
        // A device that cannot ring is one whose doorbells nobody hears.
        let _ = Self::ring(self, peer, vector);
    }
}

/// The doorbell of a member that has none, as on `ivshmem-plain`.
///
/// Only for a member whose [`Introduction`](super::Introduction) names no device: with a device others sleep until they
/// are rung.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDoorbell;

impl Doorbell for NoDoorbell {
    fn ring(&self, _: PeerId, _: VectorIndex) {}
}
