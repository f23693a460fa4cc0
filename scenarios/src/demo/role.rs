// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who takes part in the demo: [`Role`].

use core::fmt;

use ivshmem::channel::Name;

/// A party of the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The first guest.
    A,
    /// The second guest.
    B,
    /// The process on the host.
    Host,
}

impl Role {
    const ALL: [Self; 3] = [Self::A, Self::B, Self::Host];

    /// Returns the role called `name` on the command line.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Returns the role whose member is called `name`.
    #[must_use]
    pub fn of_member(name: Name) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.member() == name)
    }

    /// Returns the name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
            Self::Host => "host",
        }
    }

    /// Returns the name as a member of the region.
    #[must_use]
    pub fn member(self) -> Name {
        Name::new(self.name())
    }
}

/// A role is shown by the name that people know it by.
impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
            Self::Host => "host",
        })
    }
}
