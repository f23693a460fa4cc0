// SPDX-License-Identifier: MIT OR Apache-2.0
//! Permission bits on the command line.

/// Permission bits, written in octal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mode(pub(super) u32);

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// Reads permission bits.
pub(super) fn parse_mode(text: &str) -> Result<Mode, String> {
    // `from_str_radix` would take a sign.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|&mode| digits && mode <= 0o777)
        .map(Mode)
        .ok_or_else(|| "not an octal number from 0 to 0777".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal() {
        assert_eq!(parse_mode("0660").unwrap().0, 0o660);
        assert_eq!(parse_mode("777").unwrap().0, 0o777);
        for text in ["", "8", "1000", "-1", "+7", "rw", "0o660"] {
            assert!(parse_mode(text).is_err(), "{text}");
        }
    }
}
