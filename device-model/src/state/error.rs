// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can be wrong with saving and loading: [`StateError`].

use core::fmt;

use crate::{Generation, Kind};

/// Why a device is not saved, or a state not loaded. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateError {
    /// The device is a peer: its memory belongs to another machine.
    Peer,
    /// The device would be master if its server had given it ID 0.
    NotFirst {
        /// The ID that it has.
        id: Option<u16>,
    },
    /// The device has no shared memory yet, without which a modern one is none.
    Unrealized,
    /// The bytes end too early.
    Truncated {
        /// What is missing, or part of it.
        field: &'static str,
        /// Where it begins, in bytes.
        offset: usize,
        /// How many bytes it has.
        needs: usize,
        /// How many of them are there.
        has: usize,
    },
    /// Bytes come after the end.
    TooLong {
        /// Where the state ends, in bytes.
        end: usize,
        /// How many bytes there are.
        has: usize,
    },
    /// The bytes are no state.
    Magic {
        /// What they begin with.
        found: [u8; 8],
    },
    /// The state is of a version that is not known.
    Version {
        /// The version.
        found: u16,
    },
    /// The state is of a kind of device that there is not.
    UnknownKind {
        /// The number of the kind.
        found: u32,
    },
    /// The state has more vectors than there can be.
    TooManyVectors {
        /// The number of vectors.
        found: u16,
    },
    /// A vector is pending that is behind the end of the table.
    Pending {
        /// The vector.
        vector: usize,
        /// The size of the table.
        vectors: u16,
    },
    /// The device's generation does not read this version.
    VersionOfGeneration {
        /// The version of the state.
        version: u16,
        /// The generation of the device.
        generation: Generation,
    },
    /// The state is that of another kind of device.
    KindDiffers {
        /// The kind that was saved.
        saved: Kind,
        /// The kind that is to load it.
        device: Kind,
    },
    /// The MSI-X table has another size.
    VectorsDiffer {
        /// Its size in the state, 0 for none.
        saved: u16,
        /// Its size in the device, 0 for none.
        device: u16,
    },
    /// The shared memory has another size.
    MemoryDiffers {
        /// Its size in bytes in the state.
        saved: u64,
        /// Its size in bytes in the device.
        device: u64,
    },
    /// Configuration space differs where no guest can write.
    ConfigDiffers {
        /// Where in configuration space.
        offset: usize,
        /// The byte in the state.
        saved: u8,
        /// The byte in the device.
        device: u8,
    },
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer => f.write_str(
                "a peer is neither saved nor loaded, its memory belongs to another machine: make it the master",
            ),
            Self::NotFirst { id } => {
                match id {
                    Some(id) => write!(f, "the device has id {id}")?,
                    None => f.write_str("the device has no id")?,
                }
                f.write_str(" and only the master, id 0, is saved and loaded: let it be the first that connects to its server")
            }
            Self::Unrealized => f.write_str(
                "the device has no shared memory yet: wait until it is realized",
            ),
            Self::Truncated {
                field,
                offset,
                needs,
                has,
            } => write!(
                f,
                "the state ends in the {field} at byte {offset}: {has} of its {needs} bytes are there"
            ),
            Self::TooLong { end, has } => {
                write!(f, "the state ends at byte {end} and {has} are there")
            }
            Self::Magic { found } => {
                write!(f, "this is no state of an ivshmem device, it begins with {found:x?}")
            }
            Self::Version { found } => {
                write!(f, "the state is of version {found}, known are 0 and 1")
            }
            Self::UnknownKind { found } => write!(
                f,
                "the state is of device kind {found}, known are 0 (ivshmem), 1 (ivshmem-plain) and 2 (ivshmem-doorbell)"
            ),
            Self::TooManyVectors { found } => {
                write!(f, "the state has {found} vectors, there can be 2048")
            }
            Self::Pending { vector, vectors } => write!(
                f,
                "vector {vector} is pending in the state, whose table has {vectors} entries"
            ),
            Self::VersionOfGeneration {
                version,
                generation,
            } => write!(
                f,
                "the state is of version {version}, which a device of generation {generation} does not read"
            ),
            Self::KindDiffers { saved, device } => {
                write!(f, "the state is that of `{saved}`, the device is `{device}`")
            }
            Self::VectorsDiffer { saved, device } => write!(
                f,
                "the state has {saved} MSI-X vectors and the device {device}: set `vectors` and `msi` as they were"
            ),
            Self::MemoryDiffers { saved, device } => write!(
                f,
                "the shared memory had {saved} bytes and the device's has {device}: give it the same size"
            ),
            Self::ConfigDiffers {
                offset,
                saved,
                device,
            } => write!(
                f,
                "byte {offset:#x} of configuration space is {saved:#04x} in the state and {device:#04x} in the device, where no guest can write: give the device the same properties"
            ),
        }
    }
}

impl core::error::Error for StateError {}
