// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a device takes along when its machine is saved or moves to another host: [`State`].
//!
//! It goes along by itself: the shared memory is the machine's to save, with the rest of its memory, and the ID
//! and the peers are those of the server where it is loaded.
//!
//! # Format
//!
//! All numbers are little-endian. Version 0 has what QEMU 2.3 saved, version 1 what later ones did; the bytes are ours,
//! and no stream of QEMU's.
//!
//! | bytes in version 0 | in version 1 | what |
//! |---|---|---|
//! | 0 to 7 | 0 to 7 | the magic: `ivshmem` and a zero |
//! | 8, 9 | 8, 9 | the version |
//! | 10, 11 | 10, 11 | the size n of the MSI-X table, at most 2048; 0: no MSI-X |
//! | | 12 to 15 | the kind: 0 `ivshmem`, 1 `ivshmem-plain`, 2 `ivshmem-doorbell` |
//! | | 16 to 23 | the size of BAR 2 in bytes |
//! | 12 to 267 | 24 to 279 | configuration space |
//! | 268 ... | 280 ... | 16 n bytes: the MSI-X table, as in its BAR |
//! | ... | ... | 8 bytes for each 64 vectors begun: the pending bits, as in their BAR, 0 behind the last vector |
//! | ... | ... | 4 bytes: Interrupt Status |
//! | ... | ... | 4 bytes: Interrupt Mask |
//!
//! `ivshmem` has either MSI-X or the two registers, so that a device with MSI-X begins with 0 in them when it is loaded.
//! `ivshmem-plain` and `ivshmem-doorbell` have the registers always.
//!
//! | generation | saves | loads |
//! |---|---|---|
//! | 2.3 | version 0 | version 0 |
//! | 2.5 | version 1 | versions 0 and 1 |
//! | modern | version 1 | version 1 |

mod error;

use alloc::vec::Vec;

use crate::pci::{MsixTable, CONFIG_LEN};
use crate::registers::Registers;
use crate::Kind;

pub use error::StateError;

const MAGIC: [u8; 8] = *b"ivshmem\0";

/// The most vectors of MSI-X (PCI 3.0, 6.8.2.3).
const MAX_VECTORS: u16 = 2048;

/// The state of a device, by [`Device::save`](crate::Device::save) or from bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// What version 1 says about the device; that of version 0 is an `ivshmem`.
    pub(crate) origin: Option<Origin>,
    pub(crate) config: [u8; CONFIG_LEN],
    /// The size of the MSI-X table, 0 for none.
    pub(crate) vectors: u16,
    /// The table and the pending bits, which have the length that goes with `vectors`.
    pub(crate) msix: Vec<u8>,
    pub(crate) registers: Option<Registers>,
}

/// The device that was saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) kind: Kind,
    pub(crate) memory_bytes: u64,
}

impl State {
    /// Returns the version of its format: 0 or 1.
    #[must_use]
    pub const fn version(&self) -> u16 {
        if self.origin.is_some() {
            1
        } else {
            0
        }
    }

    /// Returns the kind of device that was saved.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.origin.map_or(Kind::Legacy, |origin| origin.kind)
    }

    /// Returns the bytes, at most 33312.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(self.version().to_le_bytes());
        bytes.extend(self.vectors.to_le_bytes());
        if let Some(Origin { kind, memory_bytes }) = self.origin {
            bytes.extend(number_of(kind).to_le_bytes());
            bytes.extend(memory_bytes.to_le_bytes());
        }
        bytes.extend(self.config);
        bytes.extend(&self.msix);
        if let Some(Registers { mask, status }) = self.registers {
            bytes.extend(status.to_le_bytes());
            bytes.extend(mask.to_le_bytes());
        }
        bytes
    }

    /// Takes a state from its bytes, which may be anything.
    ///
    /// # Errors
    ///
    /// - [`StateError::Magic`], [`Version`](StateError::Version), [`UnknownKind`](StateError::UnknownKind),
    ///   [`TooManyVectors`](StateError::TooManyVectors), [`Pending`](StateError::Pending): a field has a value that
    ///   it cannot have.
    /// - [`StateError::Truncated`], [`TooLong`](StateError::TooLong): it is not of the length that it says.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        let mut reader = Reader { bytes, offset: 0 };
        let found = reader.take("magic")?;
        if found != MAGIC {
            return Err(StateError::Magic { found });
        }
        let version = u16::from_le_bytes(reader.take("version")?);
        if version > 1 {
            return Err(StateError::Version { found: version });
        }
        let vectors = u16::from_le_bytes(reader.take("number of vectors")?);
        if vectors > MAX_VECTORS {
            return Err(StateError::TooManyVectors { found: vectors });
        }
        let origin = match version {
            0 => None,
            _ => Some(Origin {
                kind: kind_of(u32::from_le_bytes(reader.take("kind of device")?))?,
                memory_bytes: u64::from_le_bytes(reader.take("size of the memory")?),
            }),
        };
        let config = reader.take("configuration space")?;
        let msix = reader.take_slice("MSI-X table", MsixTable::saved_len(vectors))?;
        if let Some(vector) = MsixTable::foreign_pending(vectors, msix) {
            return Err(StateError::Pending { vector, vectors });
        }
        let historic = origin.is_none_or(|origin| origin.kind == Kind::Legacy);
        let registers = if historic && vectors != 0 {
            None
        } else {
            Some(Registers {
                status: u32::from_le_bytes(reader.take("interrupt status")?),
                mask: u32::from_le_bytes(reader.take("interrupt mask")?),
            })
        };
        if !reader.bytes.is_empty() {
            return Err(StateError::TooLong {
                end: reader.offset,
                has: bytes.len(),
            });
        }
        Ok(Self {
            origin,
            config,
            vectors,
            msix: msix.to_vec(),
            registers,
        })
    }
}

const fn number_of(kind: Kind) -> u32 {
    match kind {
        Kind::Legacy => 0,
        Kind::Plain => 1,
        Kind::Doorbell => 2,
        // No PCI device, so it is never saved.
        Kind::Flat => 3,
    }
}

fn kind_of(number: u32) -> Result<Kind, StateError> {
    Kind::ALL
        .into_iter()
        .find(|kind| *kind != Kind::Flat && number_of(*kind) == number)
        .ok_or(StateError::UnknownKind { found: number })
}

/// The bytes that are left, and where they begin.
struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], StateError> {
        let (taken, rest) = self
            .bytes
            .split_first_chunk()
            .ok_or(self.ends_in(field, N))?;
        self.bytes = rest;
        self.offset += N;
        Ok(*taken)
    }

    fn take_slice(&mut self, field: &'static str, len: usize) -> Result<&'a [u8], StateError> {
        let (taken, rest) = self
            .bytes
            .split_at_checked(len)
            .ok_or(self.ends_in(field, len))?;
        self.bytes = rest;
        self.offset += len;
        Ok(taken)
    }

    const fn ends_in(&self, field: &'static str, needs: usize) -> StateError {
        StateError::Truncated {
            field,
            offset: self.offset,
            needs,
            has: self.bytes.len(),
        }
    }
}

#[cfg(test)]
mod tests;
