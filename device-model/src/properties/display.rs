// SPDX-License-Identifier: MIT OR Apache-2.0
//! Properties as the text of QEMU's `-device`, all of them written out.

use core::fmt;

use super::check::MIB;
use super::{Kind, Properties, Role, Source};

/// [`Properties::parse`] makes the same properties of the text, if they are [checked](Properties::check).
impl fmt::Display for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        let (name, value) = match &self.source {
            Source::Shm(value) => ("shm", value),
            Source::Chardev(value) => ("chardev", value),
            Source::Memdev(value) => ("memdev", value),
        };
        write!(f, ",{name}=")?;
        for (index, piece) in value.split(',').enumerate() {
            let comma = if index == 0 { "" } else { ",," };
            write!(f, "{comma}{piece}")?;
        }
        match self.kind {
            Kind::Legacy => {
                write!(
                    f,
                    ",size={}M,vectors={}",
                    self.size_bytes / MIB,
                    self.vectors
                )?;
                write!(f, ",ioeventfd={}", switch(self.ioeventfd))?;
                write!(f, ",msi={},role={}", switch(self.msi), self.role)?;
                write!(f, ",use64={}", u8::from(self.use64))
            }
            Kind::Plain => write!(f, ",master={}", master(self.role)),
            Kind::Doorbell => {
                write!(f, ",vectors={}", self.vectors)?;
                write!(f, ",ioeventfd={}", switch(self.ioeventfd))?;
                write!(f, ",master={}", master(self.role))
            }
            Kind::Flat => write!(f, ",shmem-size={}", self.size_bytes),
        }
    }
}

impl Kind {
    /// Returns the name that it has in QEMU.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Legacy => "ivshmem",
            Self::Plain => "ivshmem-plain",
            Self::Doorbell => "ivshmem-doorbell",
            Self::Flat => "ivshmem-flat",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Master => "master",
            Self::Peer => "peer",
            Self::Auto => "auto",
        })
    }
}

const fn switch(on: bool) -> &'static str {
    if on {
        "on"
    } else {
        "off"
    }
}

const fn master(role: Role) -> &'static str {
    match role {
        Role::Master => "on",
        Role::Peer => "off",
        Role::Auto => "auto",
    }
}

#[cfg(test)]
#[path = "display_tests.rs"]
mod tests;
