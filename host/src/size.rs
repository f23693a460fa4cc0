// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sizes of the shared memory: what is allowed, and how people write it.
//!
//! QEMU turns the memory into a PCI BAR, so its size must be a power of two:
//! QEMU 7.2 aborts on any other (assertion in `pci_register_bar`), and refuses
//! less than a page.

use std::fmt;

/// The smallest size in bytes: one page.
pub const MIN_BYTES: u64 = 4096;

/// Checks that `bytes` can be the size of the shared memory.
///
/// # Errors
///
/// - [`SizeError::TooSmall`]: less than [`MIN_BYTES`].
/// - [`SizeError::NotPowerOfTwo`]: any other number that is not a power of two.
pub const fn check(bytes: u64) -> Result<(), SizeError> {
    if bytes < MIN_BYTES {
        return Err(SizeError::TooSmall { bytes });
    }
    if !bytes.is_power_of_two() {
        return Err(SizeError::NotPowerOfTwo { bytes });
    }
    Ok(())
}

/// Returns the smallest size that [`check`] allows and `bytes` fit in; `None` beyond 64 bits.
#[must_use]
pub fn round_up(bytes: u64) -> Option<u64> {
    bytes.max(MIN_BYTES).checked_next_power_of_two()
}

/// Reads a size of shared memory as [`parse_bytes`] does.
///
/// # Errors
///
/// Those of [`parse_bytes`] and [`check`].
pub fn parse(text: &str) -> Result<u64, SizeError> {
    let bytes = parse_bytes(text)?;
    check(bytes)?;
    Ok(bytes)
}

/// Reads a number of bytes as QEMU's command line has it: as it is, or with the
/// suffix K, M, G or T (of 1024, either case).
///
/// # Errors
///
/// - [`SizeError::NotASize`]: something other than digits and one suffix.
/// - [`SizeError::TooLarge`]: a number of bytes beyond 64 bits.
pub fn parse_bytes(text: &str) -> Result<u64, SizeError> {
    let not_a_size = || SizeError::NotASize {
        text: text.to_owned(),
    };
    let digits_end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, suffix) = text.split_at(digits_end);
    let unit: u64 = match suffix {
        "" => 1,
        "K" | "k" => 1 << 10,
        "M" | "m" => 1 << 20,
        "G" | "g" => 1 << 30,
        "T" | "t" => 1 << 40,
        _ => return Err(not_a_size()),
    };
    if digits.is_empty() {
        return Err(not_a_size());
    }
    // Digits alone can only fail to parse by being too many.
    digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .ok_or_else(|| SizeError::TooLarge {
            text: text.to_owned(),
        })
}

/// A size that cannot be that of the shared memory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SizeError {
    /// Not a number with at most one known suffix.
    NotASize {
        /// What was given.
        text: String,
    },
    /// More bytes than 64 bits can count.
    TooLarge {
        /// What was given.
        text: String,
    },
    /// Less than a page.
    TooSmall {
        /// The size in bytes.
        bytes: u64,
    },
    /// Not a power of two.
    NotPowerOfTwo {
        /// The size in bytes.
        bytes: u64,
    },
}

impl fmt::Display for SizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotASize { text } => write!(
                f,
                "'{text}' is not a size: write bytes, or a number with K, M, G or T, such as 4M"
            ),
            Self::TooLarge { text } => write!(f, "the size {text} is beyond 64 bits"),
            Self::TooSmall { bytes } => write!(
                f,
                "a size of {bytes} bytes is too small: the least is {MIN_BYTES}"
            ),
            Self::NotPowerOfTwo { bytes } => write!(
                f,
                "a size of {bytes} bytes is not a power of two, as a PCI BAR has to be"
            ),
        }
    }
}

impl std::error::Error for SizeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_suffix() {
        for (text, bytes) in [
            ("4096", 4096),
            ("4K", 4096),
            ("64k", 65536),
            ("4M", 4 << 20),
            ("1G", 1 << 30),
            ("2t", 2 << 40),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_size_is_refused() {
        for text in [
            "", "M", "4MB", "4 M", "-4M", "+4096", "0x1000", "4.0M", "4Mé", "٤",
        ] {
            assert_eq!(
                parse(text),
                Err(SizeError::NotASize {
                    text: text.to_owned()
                })
            );
        }
        for text in ["99999999999999999999", "16777216T"] {
            assert_eq!(
                parse(text),
                Err(SizeError::TooLarge {
                    text: text.to_owned()
                })
            );
        }
    }

    #[test]
    fn sizes_are_rounded_up_to_what_a_bar_can_have() {
        for (bytes, size) in [
            (0, 4096),
            (4096, 4096),
            (4097, 8192),
            ((3 << 30) + 1, 4 << 30),
            (1 << 63, 1 << 63),
        ] {
            assert_eq!(round_up(bytes), Some(size), "{bytes}");
        }
        assert_eq!(round_up((1 << 63) + 1), None);
    }

    #[test]
    fn only_powers_of_two_from_a_page_up_are_sizes() {
        for bytes in [0, 1, 2048, 4095] {
            assert_eq!(check(bytes), Err(SizeError::TooSmall { bytes }));
        }
        for bytes in [4097, 6000, 3 << 20, u64::MAX] {
            assert_eq!(check(bytes), Err(SizeError::NotPowerOfTwo { bytes }));
        }
        assert_eq!(
            parse("3M"),
            Err(SizeError::NotPowerOfTwo { bytes: 3 << 20 })
        );
        assert_eq!(check(1 << 63), Ok(()));
    }
}
