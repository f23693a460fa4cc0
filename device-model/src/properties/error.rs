// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can be wrong with properties: [`PropertyError`].

use alloc::string::String;
use core::fmt;

use super::parse::names_of;
use super::Kind;
use crate::Generation;

/// Why there is no device with such properties.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PropertyError {
    /// The text does not say what kind of device.
    NoKind,
    /// There is no kind of this name.
    UnknownKind {
        /// The name.
        name: String,
    },
    /// The kind is none of that generation.
    NotOfGeneration {
        /// The kind.
        kind: Kind,
        /// The generation.
        generation: Generation,
    },
    /// The kind has no such property.
    UnknownProperty {
        /// The kind.
        kind: Kind,
        /// The name of the property.
        name: String,
    },
    /// The property is none of the device but of its place in QEMU.
    Placement {
        /// The name of the property.
        name: String,
    },
    /// A property is named, and not set.
    NoValue {
        /// The name of the property.
        name: String,
    },
    /// The property cannot have this value.
    BadValue {
        /// The name of the property.
        name: &'static str,
        /// The value.
        value: String,
        /// What it can be.
        expected: &'static str,
    },
    /// The shared memory's source is missing, or is not one of this kind of device.
    NoSource {
        /// The kind.
        kind: Kind,
    },
    /// Both a server and a shared memory object are named.
    TwoSources,
    /// The server of a QEMU 2.5 is not behind a Unix socket.
    NotASocket,
    /// The device cannot be of this size.
    BadSize {
        /// The kind.
        kind: Kind,
        /// The size in bytes.
        size_bytes: u64,
    },
    /// The device cannot have so many vectors.
    BadVectors {
        /// The number wished for.
        vectors: u32,
        /// The most it can have; the least is 1.
        most: u32,
    },
    /// `ioeventfd` is on where `msi` is off.
    IoeventfdWithoutMsi,
    /// The historic device is master or peer, always.
    AutoRole,
    /// The shared memory cannot be a BAR: no power of two, or less than a page.
    BadMemory {
        /// Its size in bytes.
        memory_bytes: u64,
    },
    /// The shared memory is smaller than the device.
    MemoryTooSmall {
        /// Its size in bytes.
        memory_bytes: u64,
        /// The device's size in bytes.
        size_bytes: u64,
    },
    /// The shared memory is not of the size of the device, which cannot take another.
    MemoryDiffers {
        /// Its size in bytes.
        memory_bytes: u64,
        /// The device's size in bytes.
        size_bytes: u64,
    },
    /// `ivshmem-flat` is no PCI device: [`Flat`](crate::Flat) is.
    NotPci,
    /// `ivshmem-flat` alone is a [`Flat`](crate::Flat).
    NotFlat,
    /// The memory comes from `shm` or `memdev`, so the caller has to bring it along.
    NeedsMemory,
    /// The memory comes from a server, not from the caller.
    NeedsServer,
}

impl fmt::Display for PropertyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKind => {
                f.write_str("the kind of device is missing: begin with one of ")?;
                list(f, Kind::ALL)
            }
            Self::UnknownKind { name } => {
                write!(f, "there is no device `{name}`, there are ")?;
                list(f, Kind::ALL)
            }
            Self::NotOfGeneration { kind, generation } => {
                write!(f, "the generation {generation} has no `{kind}`, it has ")?;
                list(f, Kind::ALL.iter().filter(|kind| kind.is_of(*generation)))
            }
            Self::UnknownProperty { kind, name } => {
                write!(f, "`{kind}` has no property `{name}`, it has ")?;
                list(f, names_of(*kind))
            }
            Self::Placement { name } => write!(
                f,
                "`{name}` is of the device's place in QEMU, which the model does not know: leave it out"
            ),
            Self::NoValue { name } => {
                write!(f, "`{name}` has no value: write `{name}=`, and the value")
            }
            Self::BadValue {
                name,
                value,
                expected,
            } => write!(f, "`{name}` cannot be `{value}`: it is {expected}"),
            Self::NoSource { kind } => {
                let missing = match kind {
                    Kind::Legacy => "a `chardev` or a `shm`",
                    Kind::Plain => "a `memdev`",
                    Kind::Doorbell | Kind::Flat => "a `chardev`",
                };
                write!(f, "you must specify {missing} for `{kind}`")
            }
            Self::TwoSources => f.write_str(
                "both `chardev` and `shm` are given: the memory comes from one of them, leave out the other",
            ),
            Self::NotASocket => f.write_str("the `chardev` is not a unix client socket"),
            Self::BadSize { kind, size_bytes } => {
                let possible = match kind {
                    Kind::Flat => "1 to 4294967295 bytes",
                    _ => "a power of two of at least 1 MiB, and less than 4 GiB unless use64 is on",
                };
                write!(f, "`{kind}` cannot have {size_bytes} bytes: give it {possible}")
            }
            Self::BadVectors { vectors, most } => {
                write!(f, "the device cannot have {vectors} vectors: it has 1 to {most}")
            }
            Self::IoeventfdWithoutMsi => f.write_str(
                "`ioeventfd` requires MSI: turn `msi` on, or `ioeventfd` off",
            ),
            Self::AutoRole => f.write_str("the `role` of `ivshmem` is master or peer, not auto"),
            Self::BadMemory { memory_bytes } => write!(
                f,
                "shared memory of {memory_bytes} bytes cannot be a BAR: take a power of two of at least 4096"
            ),
            Self::MemoryTooSmall {
                memory_bytes,
                size_bytes,
            } => write!(
                f,
                "the shared memory has {memory_bytes} bytes, less than the device's {size_bytes}: enlarge it, or lower `size`"
            ),
            Self::NotPci => f.write_str("`ivshmem-flat` is no PCI function: make it with `Flat::new`"),
            Self::NotFlat => f.write_str("this is a PCI function: make it with `Device::new` or `Device::with_memory`"),
            Self::NeedsMemory => f.write_str("`shm` and `memdev` name memory that has to be brought along: make the device with `Device::with_memory`"),
            Self::NeedsServer => f.write_str("`chardev` names a server that sends the memory: make the device with `Device::new`"),
            Self::MemoryDiffers {
                memory_bytes,
                size_bytes,
            } => write!(
                f,
                "the shared memory has {memory_bytes} bytes and the device {size_bytes}: set `shmem-size` to the memory's"
            ),
        }
    }
}

impl core::error::Error for PropertyError {}

fn list(
    f: &mut fmt::Formatter<'_>,
    names: impl IntoIterator<Item = impl fmt::Display>,
) -> fmt::Result {
    for (index, name) in names.into_iter().enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        write!(f, "{separator}`{name}`")?;
    }
    Ok(())
}
