// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which devices QEMU's proxy can take: [`check`].

use std::fmt;

use crate::{Kind, Properties, Source};

/// The first size of a BAR that QEMU's proxy cannot express: it counts in an `int`.
const SIZE_LIMIT: u64 = 1 << 31;

/// Checks that a device can be lent to QEMU, beside [`Properties::check`].
///
/// # Errors
///
/// - [`Unsuitable`]: why not.
pub const fn check(properties: &Properties) -> Result<(), Unsuitable> {
    if !matches!(properties.kind, Kind::Legacy) {
        return Err(Unsuitable::Modern);
    }
    if properties.use64 {
        return Err(Unsuitable::Use64);
    }
    if properties.msi && matches!(properties.source, Source::Chardev(_)) {
        return Err(Unsuitable::Msi);
    }
    if properties.size_bytes == 0 {
        return Err(Unsuitable::Empty);
    }
    if properties.size_bytes >= SIZE_LIMIT {
        return Err(Unsuitable::Size {
            size_bytes: properties.size_bytes,
        });
    }
    Ok(())
}

/// Why QEMU's proxy cannot take a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unsuitable {
    /// It is one that QEMU has itself, with a BAR of 64 bits.
    Modern,
    /// It has a BAR of 64 bits.
    Use64,
    /// It has MSI-X.
    Msi,
    /// It has no memory, as QEMU 2.3 permits.
    Empty,
    /// It has too much memory.
    Size {
        /// The property `size` in bytes.
        size_bytes: u64,
    },
}

impl fmt::Display for Unsuitable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Modern => "only the device ivshmem is lent to qemu; the others qemu has itself",
            Self::Use64 => "x-pci-proxy-dev has no bars of 64 bits; give use64=0",
            Self::Msi => "x-pci-proxy-dev delivers no msi-x; give msi=off",
            Self::Empty => "a device of size=0 has no memory to share; give size=1M or more",
            Self::Size { size_bytes } => {
                return write!(
                    f,
                    "x-pci-proxy-dev has no bars of {size_bytes} bytes; give size=1G or less"
                )
            }
        })
    }
}

impl core::error::Error for Unsuitable {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Generation;

    #[test]
    fn what_cannot_be_lent_is_refused() {
        for (text, expected) in [
            ("ivshmem,chardev=c,msi=off,use64=0", Ok(())),
            ("ivshmem,shm=s,use64=0,size=1G", Ok(())),
            ("ivshmem,shm=s", Err(Unsuitable::Use64)),
            ("ivshmem,chardev=c,use64=0", Err(Unsuitable::Msi)),
            (
                "ivshmem,shm=s,use64=0,size=2G",
                Err(Unsuitable::Size {
                    size_bytes: 1 << 31,
                }),
            ),
        ] {
            let properties = Properties::parse(Generation::V2_5, text).unwrap();
            assert_eq!(check(&properties), expected, "{text}");
        }
        assert_eq!(check(&Properties::plain("m")), Err(Unsuitable::Modern));
        let empty = Properties::parse(Generation::V2_3, "ivshmem,shm=s,use64=0,size=0").unwrap();
        assert_eq!(check(&empty), Err(Unsuitable::Empty));
    }
}
