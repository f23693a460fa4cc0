// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ranges of addresses, given out from the bottom up.

/// A range of physical addresses, or of I/O ports, that devices may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first address.
    pub start: u64,
    /// The length in bytes.
    pub len: u64,
}

/// What a machine has for the BARs of its devices. Nothing else may decode these addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Memory below 4 GiB; what lies above is left alone.
    pub memory32: Window,
    /// Memory anywhere below 2 to the 52, for 64-bit prefetchable BARs; without it they go below 4 GiB too.
    pub memory64: Option<Window>,
    /// I/O ports below 0x10000; without it I/O BARs get no address, which is no error.
    pub io: Option<Window>,
}

/// The granularity of a bridge's memory windows: their registers have the bits from 20 up
/// (PCI-to-PCI Bridge Architecture 1.2, 3.2.5.8 and 3.2.5.9).
pub(super) const MEMORY_GRAIN: u64 = 1 << 20;
/// The granularity of a bridge's I/O window (3.2.5.6).
pub(super) const IO_GRAIN: u64 = 1 << 12;

/// What is left of a window.
#[derive(Debug)]
pub(super) struct Pool {
    next: u64,
    /// The address behind the last one. Invariant: a multiple of `grain`, not below `next`.
    end: u64,
    grain: u64,
}

impl Pool {
    /// Takes over the whole grains of `window` below `limit`, without address 0, which would mean "none".
    pub(super) fn new(window: Window, grain: u64, limit: u64) -> Self {
        let end = window.start.saturating_add(window.len).min(limit);
        let end = end - end % grain;
        let next = window.start.max(1).checked_next_multiple_of(grain);
        Self {
            next: next.map_or(end, |next| next.min(end)),
            end,
            grain,
        }
    }

    /// Returns the address of `size` bytes, aligned to their size, and gives them away.
    pub(super) fn take(&mut self, size: u64) -> Option<u64> {
        let start = self.next.checked_next_multiple_of(size)?;
        let end = start.checked_add(size)?;
        if end > self.end {
            return None;
        }
        self.next = end;
        Some(start)
    }

    /// Moves on to a whole grain, where a bridge's window may begin or end, and returns its number.
    pub(super) fn next_grain(&mut self) -> u64 {
        // Cannot pass `end`, which is whole grains, nor overflow.
        self.next = self.next.next_multiple_of(self.grain);
        self.next / self.grain
    }
}
