// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a caller may ask for, and in which words.

use std::fmt;

use serde::Serialize;

use super::http;
use crate::admin::{HANDOVER, MEMORY, METRICS, STATUS};

/// The longest request at the admin socket in bytes, with its newline.
const MAX_LINE_BYTES: usize = 256;

/// The longest request in bytes, whatever the dialect.
pub(super) const MAX_BYTES: usize = http::MAX_BYTES;

const _: () = assert!(MAX_LINE_BYTES <= MAX_BYTES);

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// What is put together from the status of the server.
    Report(Report),
    Memory,
    /// Not answered here: the connection is given to the server.
    Handover,
}

/// A form of the server's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    Status,
    Metrics,
}

/// How callers at a door speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// A line, and the answer.
    Line,
    Http,
}

impl Dialect {
    /// Finds the request in what a caller has sent so far; `None` if it is not complete.
    ///
    /// # Errors
    ///
    /// The answer to what is no request.
    pub(super) fn parse(self, sent: &[u8]) -> Option<Result<Request, Vec<u8>>> {
        Some(match self {
            Self::Line => line(sent)?.map_err(|mistake| {
                json(&Complaint {
                    error: mistake.to_string(),
                })
            }),
            Self::Http => http::parse(sent)?
                .map(|()| Request::Report(Report::Metrics))
                .map_err(http::Refusal::response),
        })
    }

    /// Returns the longest request in bytes.
    pub(super) const fn max_bytes(self) -> usize {
        match self {
            Self::Line => MAX_LINE_BYTES,
            Self::Http => http::MAX_BYTES,
        }
    }
}

/// Why a line is no request.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Mistake {
    Unknown(String),
    TooLong,
}

/// The answer to a wrong request.
#[derive(Serialize)]
struct Complaint {
    error: String,
}

fn line(sent: &[u8]) -> Option<Result<Request, Mistake>> {
    let Some(end) = sent.iter().position(|&byte| byte == b'\n') else {
        return (sent.len() >= MAX_LINE_BYTES).then_some(Err(Mistake::TooLong));
    };
    let line = String::from_utf8_lossy(sent.get(..end).unwrap_or_default());
    Some(match line.trim() {
        STATUS => Ok(Request::Report(Report::Status)),
        METRICS => Ok(Request::Report(Report::Metrics)),
        MEMORY => Ok(Request::Memory),
        HANDOVER => Ok(Request::Handover),
        other => Err(Mistake::Unknown(other.to_owned())),
    })
}

/// Renders `document` as a line of JSON.
pub(super) fn json(document: &impl Serialize) -> Vec<u8> {
    // What is rendered here has only text for keys, so it cannot fail; if it did, the caller would get an empty line.
    let mut bytes = serde_json::to_vec(document).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(request) => write!(
                f,
                "'{}' is no request; there are {HANDOVER}, {MEMORY}, {METRICS} and {STATUS}",
                request.escape_debug()
            ),
            Self::TooLong => write!(f, "a request has at most {MAX_LINE_BYTES} bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_line() {
        assert_eq!(line(b""), None);
        assert_eq!(line(b"stat"), None);
        let report = |report| Some(Ok(Request::Report(report)));
        assert_eq!(line(b"status\n"), report(Report::Status));
        assert_eq!(line(b" metrics \n"), report(Report::Metrics));
        assert_eq!(line(b"memory\r\nstatus\n"), Some(Ok(Request::Memory)));
        for (sent, request) in [
            (&b"\n"[..], ""),
            (b"STATUS\n", "STATUS"),
            (b"\xff\n", "\u{fffd}"),
        ] {
            let unknown = Mistake::Unknown(request.to_owned());
            assert_eq!(line(sent), Some(Err(unknown)));
        }
    }

    #[test]
    fn a_line_that_does_not_end_is_too_long() {
        let sent = vec![b'x'; MAX_LINE_BYTES];
        assert_eq!(line(&sent[1..]), None);
        assert_eq!(line(&sent), Some(Err(Mistake::TooLong)));
    }

    #[test]
    fn what_a_caller_sent_cannot_disturb_a_terminal() {
        let mistake = Mistake::Unknown("\u{1b}[2J'\n".to_owned());
        let text = mistake.to_string();
        assert!(text.starts_with(r"'\u{1b}[2J\'\n' is no request"), "{text}");
    }

    #[test]
    fn each_dialect_refuses_in_its_own_words() {
        let refused = |dialect: Dialect, sent: &[u8]| {
            let answer = dialect.parse(sent).unwrap().unwrap_err();
            String::from_utf8(answer).unwrap()
        };
        let line = refused(Dialect::Line, b"GET /metrics HTTP/1.1\r\n\r\n");
        assert!(line.starts_with("{\"error\":\"'GET /metrics"), "{line}");
        let response = refused(Dialect::Http, b"status\n");
        assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
    }
}
