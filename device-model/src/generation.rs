// SPDX-License-Identifier: MIT OR Apache-2.0
//! The generations of the device that the model can be.

use core::fmt;

/// A generation of QEMU's device.
///
/// What differs between them is told where it differs; the table in the crate's documentation has all of it.
/// Where a historic generation was unsafe in its memory (a heap overflow, a NULL pointer, a use after free), the
/// model does what the next one does instead, and says so by a [`Notice`](crate::Notice).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Generation {
    /// `ivshmem` of about QEMU 2.3: no checks, and interrupts through the main loop.
    V2_3,
    /// `ivshmem` as it was while QEMU 2.5 was developed: the same protocol and timing, with checks.
    V2_5,
    /// `ivshmem-plain`, `ivshmem-doorbell` (QEMU 2.6 and later, measured on 7.2) and `ivshmem-flat` (10.0).
    Modern,
}

impl Generation {
    /// All of them, the oldest first.
    pub const ALL: [Self; 3] = [Self::V2_3, Self::V2_5, Self::Modern];

    /// Returns whether the device is of revision 0, set up while the guest runs already.
    #[must_use]
    pub const fn is_historic(self) -> bool {
        matches!(self, Self::V2_3 | Self::V2_5)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V2_3 => "2.3",
            Self::V2_5 => "2.5",
            Self::Modern => "modern",
        })
    }
}
