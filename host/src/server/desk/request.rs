// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a caller may ask for.

use crate::admin::{MEMORY, STATUS};

/// The longest request in bytes, with its newline.
pub(super) const MAX_BYTES: usize = 256;

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Status,
    Memory,
}

/// Why what was sent is no request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mistake {
    Unknown(String),
    TooLong,
}

/// Finds the request in what a caller has sent so far; `None` if it is not complete.
pub(super) fn parse(sent: &[u8]) -> Option<Result<Request, Mistake>> {
    let Some(end) = sent.iter().position(|&byte| byte == b'\n') else {
        return (sent.len() >= MAX_BYTES).then_some(Err(Mistake::TooLong));
    };
    let line = String::from_utf8_lossy(sent.get(..end).unwrap_or_default());
    Some(match line.trim() {
        STATUS => Ok(Request::Status),
        MEMORY => Ok(Request::Memory),
        other => Err(Mistake::Unknown(other.to_owned())),
    })
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown(request) => write!(
                f,
                "'{}' is no request; there are {MEMORY} and {STATUS}",
                request.escape_debug()
            ),
            Self::TooLong => write!(f, "a request has at most {MAX_BYTES} bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_line() {
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"stat"), None);
        assert_eq!(parse(b"status\n"), Some(Ok(Request::Status)));
        assert_eq!(parse(b"memory\r\nstatus\n"), Some(Ok(Request::Memory)));
        for (sent, request) in [
            (&b"\n"[..], ""),
            (b"STATUS\n", "STATUS"),
            (b"\xff\n", "\u{fffd}"),
        ] {
            let unknown = Mistake::Unknown(request.to_owned());
            assert_eq!(parse(sent), Some(Err(unknown)));
        }
    }

    #[test]
    fn a_line_that_does_not_end_is_too_long() {
        let sent = vec![b'x'; MAX_BYTES];
        assert_eq!(parse(&sent[1..]), None);
        assert_eq!(parse(&sent), Some(Err(Mistake::TooLong)));
    }

    #[test]
    fn what_a_caller_sent_cannot_disturb_a_terminal() {
        let mistake = Mistake::Unknown("\u{1b}[2J'\n".to_owned());
        let text = mistake.to_string();
        assert!(text.starts_with(r"'\u{1b}[2J\'\n' is no request"), "{text}");
    }
}
