// SPDX-License-Identifier: MIT OR Apache-2.0
//! The server behind a socket: whether it is one, what it says, and how it is.

use std::path::Path;
use std::time::Duration;

use ivshmem_host::peer::{ConnectError, Peer, ReceiveError};
use ivshmem_host::protocol::ProtocolError;
use ivshmem_host::size;

use super::finding::{Code, Finding};
use super::region::{self, LIFE_LIMIT};

/// How long a server may take to let somebody in.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// How long no further vector must have come for all to be there; the protocol does not say how many come.
const QUIET: Duration = Duration::from_millis(200);

/// What is known of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::command) struct ServerView {
    /// Vectors that it gives to each client.
    pub(in crate::command) vectors: Option<u16>,
    /// Size of its memory.
    pub(in crate::command) bytes: Option<u64>,
    /// The ID that the next client gets.
    pub(in crate::command) next_id: Option<u32>,
    /// How many clients it has.
    pub(in crate::command) clients: Option<usize>,
}

/// Joins the server at `path` as a client of no consequence, for want of an admin socket.
pub(super) fn join(path: &Path) -> Result<(Vec<Finding>, ServerView), ConnectError> {
    let mut peer = Peer::connect_within(path, ANSWER_LIMIT)?;
    while let Ok(Some(_)) = peer.next_event(QUIET) {}
    let bytes = peer.memory().len();
    let id = peer.id();
    let what = format!(
        "a server answers: {bytes} bytes, {} for each client, {} connected{}",
        plural(peer.vectors(), "vector"),
        plural(peer.peers().count(), "client"),
        id.map_or_else(String::new, |id| format!(" (this look was peer {id})")),
    );
    let mut findings = vec![Finding::fine(Code::SocketFine, path.display(), what)];
    findings.extend(check_memory(path, bytes as u64));
    findings.extend(region::check(path, &peer.memory(), LIFE_LIMIT));
    let view = ServerView {
        vectors: u16::try_from(peer.vectors()).ok(),
        bytes: Some(bytes as u64),
        next_id: id.map(|id| u32::from(id.0) + 1),
        clients: Some(peer.peers().count()),
    };
    Ok((findings, view))
}

/// Checks the size of a server's memory.
pub(super) fn check_memory(path: &Path, bytes: u64) -> Vec<Finding> {
    size::check(bytes)
        .err()
        .map(|error| {
            Finding::new(
                Code::ServerMemory,
                path.display(),
                format!("the server's memory cannot be a BAR: {error}; QEMU aborts"),
                "start the server with a power of two from 4096 on, such as ivshmem server --size 4M",
            )
        })
        .into_iter()
        .collect()
}

/// Returns what is wrong with a server that did not let us in.
pub(super) fn refusal(path: &Path, error: &ConnectError) -> Finding {
    let (code, what, cure) = match error {
        ConnectError::Receive(ReceiveError::Protocol(ProtocolError::Refused)) => (
            Code::ServerFull,
            error.to_string(),
            "end a client, or raise the server's limit of open files (LimitNOFILE=, ulimit -n)",
        ),
        ConnectError::Receive(ReceiveError::Protocol(ProtocolError::Version { found })) => {
            match text_of(*found) {
                Some(text) => (
                    Code::ServerForeign,
                    format!("who listens is no ivshmem server: it says '{text}...'"),
                    "name the socket of ivshmem server; this may be a monitor or another program's",
                ),
                None => (
                    Code::ServerVersion,
                    error.to_string(),
                    "use the server and the QEMU of today (2.6 or later); before, there was no version",
                ),
            }
        }
        ConnectError::Timeout(_) => (
            Code::ServerSilent,
            format!("who listens does not speak as a server does: {error}"),
            "if it is an ivshmem server, it hangs: end it and start it again; if not, name another socket",
        ),
        ConnectError::Closed(_) => (
            Code::ServerCloses,
            error.to_string(),
            "who listens may be no ivshmem server, or one at its end; QEMU would spin here for ever",
        ),
        ConnectError::Memory(_) => (
            Code::ServerMemory,
            error.to_string(),
            "start the server with a power of two from 4096 on, such as ivshmem server --size 4M",
        ),
        ConnectError::Open { .. } => (
            Code::ServerCloses,
            error.to_string(),
            "the server has gone meanwhile: look again",
        ),
        _ => (
            Code::ServerBreach,
            error.to_string(),
            "use ivshmem server; QEMU refuses or ends with such a one",
        ),
    };
    Finding::new(code, path.display(), what, cure)
}

/// Returns the eight bytes of a number if they are text, as of a program that greets in words.
fn text_of(number: i64) -> Option<String> {
    let bytes = number.to_le_bytes();
    let readable = |byte: u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    bytes
        .into_iter()
        .all(readable)
        .then(|| String::from_utf8_lossy(&bytes).trim().to_owned())
}

pub(super) fn plural(count: usize, thing: &str) -> String {
    match count {
        1 => format!("1 {thing}"),
        _ => format!("{count} {thing}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ivshmem_host::server::{Config, Server};
    use std::io::Write;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_server_is_known_after_a_look() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("socket");
        let _server = Server::spawn(Config::new(&path, 65536, 3)).unwrap();
        let (findings, view) = join(&path).unwrap();
        let codes: Vec<_> = findings.iter().map(|finding| finding.code).collect();
        assert_eq!(codes, [Code::SocketFine, Code::RegionBlank]);
        let expected = ServerView {
            vectors: Some(3),
            bytes: Some(65536),
            next_id: Some(1),
            clients: Some(0),
        };
        assert_eq!(view, expected);
    }

    /// What is found where somebody sends these bytes to whoever connects, and then ends.
    fn greeted_with(bytes: &'static [u8]) -> Code {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            stream.write_all(bytes).unwrap();
        });
        let error = join(&path).unwrap_err();
        server.join().unwrap();
        refusal(&path, &error).code
    }

    #[test]
    fn who_is_no_server_is_told_apart() {
        for (bytes, code) in [
            (&b"{\"QMP\": {\"version\""[..], Code::ServerForeign),
            (&[1, 0, 0, 0, 0, 0, 0, 0], Code::ServerVersion),
            (&[0xff; 8], Code::ServerFull),
            (&[], Code::ServerCloses),
            (&[0; 8], Code::ServerCloses),
            // An ID that is none.
            (
                &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
                Code::ServerBreach,
            ),
        ] {
            assert_eq!(greeted_with(bytes), code, "{bytes:?}");
        }
    }

    #[test]
    fn who_says_nothing_is_silent() {
        let error = ConnectError::Timeout(ivshmem_host::peer::Step::Identity);
        assert_eq!(refusal(Path::new("/s"), &error).code, Code::ServerSilent);
    }

    #[test]
    fn memory_that_is_no_bar_is_found() {
        assert_eq!(check_memory(Path::new("/s"), 1 << 20), []);
        let findings = check_memory(Path::new("/s"), 3 << 20);
        assert_eq!(findings[0].code, Code::ServerMemory);
    }
}
