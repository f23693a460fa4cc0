// SPDX-License-Identifier: MIT OR Apache-2.0
//! The memory that both sides of a measurement share: [`Ground`].

use ivshmem::channel::{Format, Region};
use ivshmem::SharedMemory;

use crate::Failure;

/// As few slots as there are parties, for rings of about a MiB in half of 32.
const FORMAT: Format = Format {
    slots: 4,
    ring_log2: None,
};

/// A region of channels, and as much memory beside it.
#[derive(Clone, Copy, Debug)]
pub struct Ground<'m> {
    /// The region.
    pub region: Region<'m>,
    /// The other half of the memory.
    pub(super) bare: SharedMemory<'m>,
}

impl<'m> Ground<'m> {
    /// Divides the memory, and formats the region if that is to do.
    ///
    /// # Errors
    ///
    /// - The memory is too small, or holds something else.
    pub fn open(memory: SharedMemory<'m>) -> Result<Self, Failure> {
        let half = memory.len() / 2;
        let region = Region::open_or_format(memory.region(0, half)?, &FORMAT)?;
        Ok(Self {
            region,
            bare: memory.region(half, half)?,
        })
    }
}
