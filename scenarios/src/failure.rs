// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why a scenario failed, without allocation.

use core::fmt::{self, Write};

use arrayvec::ArrayString;

/// Longest reason kept; the rest is cut off.
const MAX_LEN: usize = 120;

/// The reason of a failure. Everything with a `Display` turns into one by `?`.
///
/// It has no `Display` of its own, which would make that conversion ambiguous.
#[derive(Debug)]
pub struct Failure(ArrayString<MAX_LEN>);

impl Failure {
    /// Returns the failure that `reason` describes.
    pub fn new(reason: fmt::Arguments<'_>) -> Self {
        let mut text = Cut(ArrayString::new());
        // `Cut` takes everything, so only a broken `Display` ends early; what it wrote is kept.
        let _ = text.write_fmt(reason);
        Self(text.0)
    }

    /// Returns the reason.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<E: fmt::Display> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(format_args!("{error}"))
    }
}

/// A text that drops what does not fit.
struct Cut(ArrayString<MAX_LEN>);

impl Write for Cut {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for c in s.chars() {
            if self.0.try_push(c).is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// Fails with `reason` unless `condition` holds.
///
/// # Errors
///
/// `reason`.
pub fn ensure(condition: bool, reason: fmt::Arguments<'_>) -> Result<(), Failure> {
    if condition {
        Ok(())
    } else {
        Err(Failure::new(reason))
    }
}

/// Fails unless `got` is `expected`.
///
/// # Errors
///
/// What was compared, and both values.
pub fn ensure_eq<T: PartialEq + fmt::Debug>(
    what: &str,
    got: T,
    expected: T,
) -> Result<(), Failure> {
    ensure(
        got == expected,
        format_args!("{what}: got {got:x?}, expected {expected:x?}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_reasons_are_cut_not_lost() {
        let long = Failure::new(format_args!("{:>300}", "end"));
        assert_eq!(long.as_str().len(), MAX_LEN);
        let failure = ensure_eq("answer", 41, 42).unwrap_err();
        assert_eq!(failure.as_str(), "answer: got 29, expected 2a");
        assert!(ensure_eq("answer", 42, 42).is_ok());
    }
}
