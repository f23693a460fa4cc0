// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why a region cannot be used: [`OpenError`].

use core::fmt;

use super::layout::VERSION;
use super::region::Format;

/// Why a region cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// Nobody has formatted it.
    NotFormatted,
    /// It is formatted by a later version of this crate, or of another implementation.
    UnknownVersion {
        /// The version.
        found: u8,
    },
    /// It is formatted for another size than is mapped.
    WrongSize {
        /// The size it was formatted for, in bytes.
        formatted: usize,
        /// The size of the mapping in bytes.
        mapped: usize,
    },
    /// It holds something else.
    Foreign {
        /// Its first 8 bytes, little-endian.
        magic: u64,
    },
    /// The memory cannot be a region: no power of two of 4096 bytes or more, or not aligned to 8 bytes.
    BadMemory {
        /// Its size in bytes.
        len: usize,
    },
    /// It is too small for the format, or the format is out of range.
    DoesNotFit {
        /// Its size in bytes.
        len: usize,
        /// The format.
        format: Format,
    },
    /// Somebody else has formatted it at the same time.
    Raced,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFormatted => write!(f, "the shared memory is blank; one of the peers has to format it"),
            Self::UnknownVersion { found } => write!(
                f,
                "the shared memory is formatted by version {found} of the layout, this is version {VERSION}; use one version everywhere"
            ),
            Self::WrongSize { formatted, mapped } => write!(
                f,
                "the shared memory is formatted for {formatted} bytes and {mapped} are mapped; map all of it, or format it anew"
            ),
            Self::Foreign { magic } => write!(
                f,
                "the shared memory holds something else (it begins with {magic:#018x}); format it anew if nobody needs that"
            ),
            Self::BadMemory { len } => write!(
                f,
                "{len} bytes of shared memory cannot be a region; a power of two of 4096 or more, aligned to 8, can"
            ),
            Self::DoesNotFit { len, format } => write!(
                f,
                "{} slots with {} do not fit into {len} bytes; 2 to 256 slots and rings of 256 bytes to 512 MiB are possible",
                format.slots,
                if format.ring_log2.is_some() { "rings of that size" } else { "any rings" }
            ),
            Self::Raced => write!(f, "somebody else has formatted the shared memory at the same time; try again"),
        }
    }
}
