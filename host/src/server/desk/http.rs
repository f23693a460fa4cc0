// SPDX-License-Identifier: MIT OR Apache-2.0
//! As much of HTTP as a scraper of metrics needs: `GET /metrics`.

use httparse::{Status, EMPTY_HEADER};

/// The longest request in bytes, up to the end of its headers.
pub(super) const MAX_BYTES: usize = 8192;

/// The most headers of a request.
const MAX_HEADERS: usize = 64;

/// The type of the metrics.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Why a request is answered with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is no HTTP, or too long.
    BadRequest,
    NotFound,
    /// Another method than `GET`.
    MethodNotAllowed,
}

/// Judges what a caller has sent so far; `None` if its request is not complete.
pub(super) fn parse(sent: &[u8]) -> Option<Result<(), Refusal>> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(sent) {
        Ok(Status::Partial) if sent.len() < MAX_BYTES => return None,
        Ok(Status::Complete(_)) => {}
        Ok(Status::Partial) | Err(_) => return Some(Err(Refusal::BadRequest)),
    }
    let path = request.path.unwrap_or_default();
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    Some(match (path, request.method) {
        ("/metrics", Some("GET")) => Ok(()),
        ("/metrics", _) => Err(Refusal::MethodNotAllowed),
        _ => Err(Refusal::NotFound),
    })
}

/// Returns the response with the metrics.
pub(super) fn metrics(text: &[u8]) -> Vec<u8> {
    response("200 OK", METRICS_TYPE, "", text)
}

impl Refusal {
    /// Returns the response that says so.
    pub(super) fn response(self) -> Vec<u8> {
        let (status, more, text) = match self {
            Self::BadRequest => ("400 Bad Request", "", "This is no HTTP request of 8 KiB.\n"),
            Self::NotFound => ("404 Not Found", "", "The metrics are at /metrics.\n"),
            Self::MethodNotAllowed => (
                "405 Method Not Allowed",
                "Allow: GET\r\n",
                "Only GET is known here.\n",
            ),
        };
        response(status, "text/plain; charset=utf-8", more, text.as_bytes())
    }
}

/// Returns a response after which the connection ends; `more` are headers, each with its end of line.
fn response(status: &str, kind: &str, more: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{more}Connection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_get_of_the_metrics_is_served() {
        for request in [
            "GET /metrics HTTP/1.1\r\nHost: localhost:9100\r\nAccept: */*\r\n\r\n",
            "GET /metrics HTTP/1.0\r\n\r\n",
            "GET /metrics?name=a&b HTTP/1.1\r\n\r\nmore",
        ] {
            assert_eq!(parse(request.as_bytes()), Some(Ok(())), "{request}");
        }
        for (request, refusal) in [
            ("GET / HTTP/1.1\r\n\r\n", Refusal::NotFound),
            ("GET /metrics/ HTTP/1.1\r\n\r\n", Refusal::NotFound),
            ("POST /other HTTP/1.1\r\n\r\n", Refusal::NotFound),
            ("POST /metrics HTTP/1.1\r\n\r\n", Refusal::MethodNotAllowed),
            ("HEAD /metrics HTTP/1.1\r\n\r\n", Refusal::MethodNotAllowed),
            ("get /metrics HTTP/1.1\r\n\r\n", Refusal::MethodNotAllowed),
            ("GET /metrics HTTP/2.0\r\n\r\n", Refusal::BadRequest),
            ("GET /metrics\r\n\r\n", Refusal::BadRequest),
            ("status\n", Refusal::BadRequest),
            ("\x16\x03\x01", Refusal::BadRequest),
        ] {
            assert_eq!(parse(request.as_bytes()), Some(Err(refusal)), "{request}");
        }
    }

    #[test]
    fn an_unfinished_request_is_waited_for_up_to_the_limit() {
        let whole = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
        for end in 0..whole.len() {
            assert_eq!(parse(&whole[..end]), None, "{end}");
        }
        let mut long = whole[..whole.len() - 2].to_vec();
        long.extend(b"X: ");
        long.resize(MAX_BYTES, b'x');
        assert_eq!(parse(&long[..MAX_BYTES - 1]), None);
        assert_eq!(parse(&long), Some(Err(Refusal::BadRequest)));
        let many = [
            b"GET /metrics HTTP/1.1\r\n".to_vec(),
            b"a: b\r\n".repeat(65),
        ]
        .concat();
        assert_eq!(parse(&many), Some(Err(Refusal::BadRequest)));
    }

    #[test]
    fn a_response_says_how_long_it_is_and_that_it_is_the_last() {
        let response = String::from_utf8(metrics(b"a 1\n")).unwrap();
        assert_eq!(
            response,
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
             Content-Length: 4\r\nConnection: close\r\n\r\na 1\n"
        );
        let refused = String::from_utf8(Refusal::MethodNotAllowed.response()).unwrap();
        assert!(refused.contains("\r\nAllow: GET\r\n"), "{refused}");
    }
}
