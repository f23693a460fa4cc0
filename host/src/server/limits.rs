// SPDX-License-Identifier: MIT OR Apache-2.0
//! How many clients the file descriptors of the process allow.

use rustix::process::{getrlimit, setrlimit, Resource};

use super::error::BindError;

/// The most clients of one server.
///
/// Each client holds every other's eventfds, so QEMU's own limit of usually
/// 1024 descriptors comes first; the bound keeps the memory for queues small.
pub const MAX_CLIENTS: usize = 1024;

/// Descriptors beside those of the clients: standard streams, listener, lock, memory, stop,
/// signals, a client being refused, and a few for the program around the server.
const RESERVED: u64 = 16;

/// The most descriptors under way to one client.
///
/// The kernel lets one user have as many descriptors in sockets, sent and not yet received,
/// as a process may have open (unless privileged). If clients that do not read could use
/// them up, the others would get nothing; so they are reckoned with like open ones. The
/// smallest send buffer holds six messages in Linux 6.18.
pub(super) const IN_FLIGHT: u64 = 8;

/// Raises this process's soft limit of open file descriptors to the hard one.
///
/// For a program whose business is the server; it concerns the whole process, so
/// [`Server::bind`](super::Server::bind) does not do it by itself.
///
/// # Errors
///
/// The error of the system, if it refuses; the limit is then as before.
pub fn raise_descriptor_limit() -> std::io::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    Ok(())
}

/// How many clients there may be at once, and why not more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClientLimit {
    pub(super) clients: usize,
    pub(super) source: LimitSource,
}

/// What limits the number of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LimitSource {
    /// [`MAX_CLIENTS`].
    Program,
    /// The process may have so many files open (`RLIMIT_NOFILE`).
    OpenFiles(u64),
}

impl ClientLimit {
    const PROGRAM: Self = Self {
        clients: MAX_CLIENTS,
        source: LimitSource::Program,
    };
}

/// Returns how many clients with `vectors` vectors the limit of open file descriptors allows beside
/// `others`, which are descriptors that the server may need for something else.
///
/// # Errors
///
/// - [`BindError::TooFewDescriptors`]: not even two, and one alone has nobody to talk to.
pub(super) fn client_limit(vectors: u16, others: u64) -> Result<ClientLimit, BindError> {
    clients_within(getrlimit(Resource::Nofile).current, vectors, others)
}

/// The same for a limit of `descriptors`, where `None` is no limit.
fn clients_within(
    descriptors: Option<u64>,
    vectors: u16,
    others: u64,
) -> Result<ClientLimit, BindError> {
    let Some(limit) = descriptors else {
        return Ok(ClientLimit::PROGRAM);
    };
    let reserved = RESERVED + others;
    // A client takes its connection and one eventfd for each vector, and of the other
    // allowance, which is of the same size, what is under way to it.
    let each = (u64::from(vectors) + 1).max(IN_FLIGHT);
    let clients = limit.saturating_sub(reserved) / each;
    if clients < 2 {
        return Err(BindError::TooFewDescriptors {
            vectors,
            needed: reserved + 2 * each,
            limit,
        });
    }
    let clients = usize::try_from(clients).unwrap_or(MAX_CLIENTS);
    if clients >= MAX_CLIENTS {
        return Ok(ClientLimit::PROGRAM);
    }
    Ok(ClientLimit {
        clients,
        source: LimitSource::OpenFiles(limit),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_counts_what_is_open_and_what_is_under_way() {
        for (open_files, vectors, others, clients) in [
            (1024, 1, 0, 126),
            (1024, 7, 0, 126),
            (1024, 8, 0, 112),
            (1024, 8, 9, 111),
            (16 + 2 * 2049, 2048, 0, 2),
        ] {
            let limit = ClientLimit {
                clients,
                source: LimitSource::OpenFiles(open_files),
            };
            let found = clients_within(Some(open_files), vectors, others);
            assert_eq!(found, Ok(limit));
        }
        for no_limit in [None, Some(u64::MAX)] {
            assert_eq!(clients_within(no_limit, 2048, 9), Ok(ClientLimit::PROGRAM));
        }
    }

    #[test]
    fn fewer_than_two_clients_are_refused() {
        assert_eq!(
            clients_within(Some(1024), 2048, 10),
            Err(BindError::TooFewDescriptors {
                vectors: 2048,
                needed: 4124,
                limit: 1024
            })
        );
        let clients =
            |open_files| clients_within(Some(open_files), 1, 5).map(|limit| limit.clients);
        assert!(clients(0).is_err());
        assert!(clients(36).is_err());
        assert_eq!(clients(37), Ok(2));
    }
}
