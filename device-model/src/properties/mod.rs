// SPDX-License-Identifier: MIT OR Apache-2.0
//! The properties of a device, with the names, meanings and defaults that they have in QEMU: [`Properties`].

mod check;
mod display;
mod error;
mod options;
mod parse;

use alloc::string::String;

use crate::Generation;

pub use check::ChardevKind;
pub use error::PropertyError;

/// What a device is to be.
///
/// [`Properties::parse`] takes them from the text that QEMU's `-device` takes. By hand, start from one of
/// [`legacy`](Self::legacy), [`plain`](Self::plain), [`doorbell`](Self::doorbell) and [`flat`](Self::flat), which
/// have QEMU's defaults; [`Device::new`](crate::Device::new) checks the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Properties {
    /// Whose behaviour it has: a historic one for [`Kind::Legacy`], `Modern` for all others.
    pub generation: Generation,
    /// The kind of device.
    pub kind: Kind,
    /// Where the shared memory comes from.
    pub source: Source,
    /// `size` of the historic device, `shmem-size` of `ivshmem-flat`, in bytes. `ivshmem-plain` and
    /// `ivshmem-doorbell` take the size of their memory, and this is 0.
    pub size_bytes: u64,
    /// `vectors`: of the MSI-X table, or how many eventfds are taken.
    pub vectors: u32,
    /// `ioeventfd`: exact values of the Doorbell register go straight to their eventfds.
    pub ioeventfd: bool,
    /// `msi` of the historic device: MSI-X in place of INTx.
    pub msi: bool,
    /// `role` of the historic device, `master` of the modern ones: who owns the memory when a machine migrates.
    pub role: Role,
    /// `use64` of the historic device: BAR 2 is a 64-bit one.
    pub use64: bool,
}

impl Properties {
    /// Returns those of the historic `ivshmem`: 4 MiB, 1 vector, MSI-X, no ioeventfd, master, a 64-bit BAR 2.
    #[must_use]
    pub const fn legacy(generation: Generation, source: Source) -> Self {
        Self {
            generation,
            kind: Kind::Legacy,
            source,
            size_bytes: DEFAULT_SIZE_BYTES,
            vectors: 1,
            ioeventfd: false,
            msi: true,
            role: Role::Master,
            use64: true,
        }
    }

    /// Returns those of `ivshmem-plain`, which has no interrupts and only one of these to choose, `role`: peer.
    #[must_use]
    pub fn plain(memdev: impl Into<String>) -> Self {
        Self {
            generation: Generation::Modern,
            kind: Kind::Plain,
            source: Source::Memdev(memdev.into()),
            size_bytes: 0,
            vectors: 0,
            ioeventfd: false,
            msi: false,
            role: Role::Peer,
            use64: true,
        }
    }

    /// Returns those of `ivshmem-doorbell`: 1 vector, ioeventfd, peer.
    #[must_use]
    pub fn doorbell(chardev: impl Into<String>) -> Self {
        Self {
            generation: Generation::Modern,
            kind: Kind::Doorbell,
            source: Source::Chardev(chardev.into()),
            size_bytes: 0,
            vectors: 1,
            ioeventfd: true,
            msi: true,
            role: Role::Peer,
            use64: true,
        }
    }

    /// Returns those of `ivshmem-flat`: 4 MiB, and 64 vectors, its limit. It cannot be saved.
    #[must_use]
    pub fn flat(chardev: impl Into<String>) -> Self {
        Self {
            generation: Generation::Modern,
            kind: Kind::Flat,
            source: Source::Chardev(chardev.into()),
            size_bytes: DEFAULT_SIZE_BYTES,
            vectors: check::FLAT_VECTORS,
            ioeventfd: false,
            msi: false,
            role: Role::Peer,
            use64: false,
        }
    }
}

/// The size of `ivshmem` and of `ivshmem-flat` where nothing else is said.
const DEFAULT_SIZE_BYTES: u64 = 4 << 20;

/// The kinds of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `ivshmem`, revision 0.
    Legacy,
    /// `ivshmem-plain`.
    Plain,
    /// `ivshmem-doorbell`.
    Doorbell,
    /// `ivshmem-flat`, which is no PCI device.
    Flat,
}

impl Kind {
    /// All of them, the historic one first.
    pub const ALL: [Self; 4] = [Self::Legacy, Self::Plain, Self::Doorbell, Self::Flat];
}

/// Where shared memory comes from. The names are those of the embedding program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `shm`: a POSIX shared memory object of this name.
    Shm(String),
    /// `chardev`: a server at the other end of this connection.
    Chardev(String),
    /// `memdev`: this memory backend.
    Memdev(String),
}

impl Source {
    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Shm(name) | Self::Chardev(name) | Self::Memdev(name) => name,
        }
    }
}

/// Who owns the shared memory when a machine is saved or migrated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// This machine, which takes the memory along.
    Master,
    /// Another one: this machine cannot be saved.
    Peer,
    /// Master if the ID is 0 (`master=auto`).
    Auto,
}
