// SPDX-License-Identifier: MIT OR Apache-2.0
//! How many clients the file descriptors of the process allow.

use std::fmt;

use rustix::process::{getrlimit, setrlimit, Resource};

use super::error::BindError;

/// The most clients of one server.
///
/// Each client holds every other's eventfds, so QEMU's own limit of usually
/// 1024 descriptors comes first; the bound keeps the memory for queues small.
pub const MAX_CLIENTS: usize = 1024;

/// Descriptors beside those of the clients: standard streams, listener, lock, memory, stop,
/// signals, a client being refused, and a few for the program around the server.
pub(super) const RESERVED: u64 = 16;

/// The most descriptors under way to one client, where the limit of descriptors is just enough.
///
/// The kernel lets one user have as many descriptors in sockets, sent and not yet received,
/// as a process may have open (unless privileged). If clients that do not read could use
/// them up, the others would get nothing; so they are reckoned with like open ones, and the
/// send buffer of a connection holds no more. The least that the kernel gives is for this many.
pub(super) const MIN_IN_FLIGHT: u64 = 8;

/// The same where the limit is plenty. A client that reads is woken, and wakes the server, less
/// often with a larger buffer: with this a message costs two thirds of what it does with the
/// least, and with ten times as much not measurably less (Linux 6.18).
pub(super) const MAX_IN_FLIGHT: u64 = 32;

/// The least that the kernel reckons a message of 8 bytes to take of a send buffer: the two
/// structures that it keeps for each. In Linux 6.18 it is 768.
const MESSAGE_FOOTPRINT: u64 = 576;

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

/// How many clients a server can have at once, and what decides it.
///
/// `Display` says both: "at most 1024 clients (the most that this program serves)".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientLimit {
    /// The most clients at once.
    pub clients: usize,
    /// What decides it.
    pub source: LimitSource,
}

/// What decides how many clients a server can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitSource {
    /// The configuration.
    Config,
    /// The limit of open file descriptors (`RLIMIT_NOFILE`).
    Descriptors {
        /// That limit.
        limit: u64,
    },
    /// [`MAX_CLIENTS`].
    Program,
}

impl ClientLimit {
    /// Returns the limit for clients with `vectors` vectors in this process, where at most
    /// `wanted` are asked for, and the server may need `others` descriptors for something else.
    ///
    /// # Errors
    ///
    /// - [`BindError::TooFewDescriptors`]: the descriptors do not suffice for `wanted`, or if that is
    ///   `None`, not even for two, and one alone has nobody to talk to.
    pub(super) fn of_process(
        vectors: u16,
        wanted: Option<usize>,
        others: u64,
    ) -> Result<Self, BindError> {
        Self::within(getrlimit(Resource::Nofile).current, vectors, wanted, others)
    }

    /// The same for a limit of `descriptors`, where `None` is no limit.
    fn within(
        descriptors: Option<u64>,
        vectors: u16,
        wanted: Option<usize>,
        others: u64,
    ) -> Result<Self, BindError> {
        let reserved = RESERVED + others;
        // A client takes its connection and one eventfd for each vector, and of the other
        // allowance, which is of the same size, what is under way to it.
        let each = (u64::from(vectors) + 1).max(MIN_IN_FLIGHT);
        let limit = descriptors.unwrap_or(u64::MAX);
        let allowed = usize::try_from(limit.saturating_sub(reserved) / each).unwrap_or(usize::MAX);
        let clients = wanted.unwrap_or(2);
        if allowed < clients {
            return Err(BindError::TooFewDescriptors {
                clients,
                vectors,
                needed: reserved + each * clients as u64,
                limit,
            });
        }
        Ok(match wanted {
            Some(clients) => Self {
                clients,
                source: LimitSource::Config,
            },
            None if allowed < MAX_CLIENTS => Self {
                clients: allowed,
                source: LimitSource::Descriptors { limit },
            },
            None => Self {
                clients: MAX_CLIENTS,
                source: LimitSource::Program,
            },
        })
    }
}

impl fmt::Display for ClientLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {} clients ({})", self.clients, self.source)
    }
}

impl fmt::Display for LimitSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config => f.write_str("as asked for"),
            Self::Descriptors { limit } => write!(f, "by the limit of {limit} open files"),
            Self::Program => f.write_str("the most that this program serves"),
        }
    }
}

/// Returns how many descriptors may be under way to each of `clients` clients.
pub(super) fn in_flight(clients: usize) -> u64 {
    in_flight_within(getrlimit(Resource::Nofile).current, clients)
}

/// The same for a limit of `descriptors`, where `None` is no limit.
fn in_flight_within(descriptors: Option<u64>, clients: usize) -> u64 {
    let each = descriptors.map_or(MAX_IN_FLIGHT, |limit| limit / clients.max(1) as u64);
    each.clamp(MIN_IN_FLIGHT, MAX_IN_FLIGHT)
}

/// Returns the bytes to ask for as a send buffer that holds at most `in_flight` messages.
pub(super) fn send_buffer(in_flight: u64) -> usize {
    // The kernel gives twice what it is asked for, and takes messages until it is full.
    usize::try_from(in_flight * MESSAGE_FOOTPRINT / 2).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the number of clients and what decides it, where it is not asked for.
    fn within(descriptors: Option<u64>, vectors: u16) -> (usize, LimitSource) {
        let limit = ClientLimit::within(descriptors, vectors, None, 0).unwrap();
        (limit.clients, limit.source)
    }

    #[test]
    fn the_limit_counts_what_is_open_and_what_is_under_way() {
        let by = |limit| LimitSource::Descriptors { limit };
        assert_eq!(within(Some(1024), 1), (126, by(1024)));
        assert_eq!(within(Some(1024), 7), (126, by(1024)));
        assert_eq!(within(Some(1024), 8), (112, by(1024)));
        assert_eq!(within(Some(16 + 2 * 2049), 2048), (2, by(4114)));
        assert_eq!(
            within(Some(u64::MAX), 1),
            (MAX_CLIENTS, LimitSource::Program)
        );
        assert_eq!(within(None, 2048), (MAX_CLIENTS, LimitSource::Program));
    }

    #[test]
    fn what_is_under_way_to_all_clients_stays_within_the_limit() {
        assert_eq!(in_flight_within(Some(1024), 112), 9);
        assert_eq!(in_flight_within(Some(1024), 126), MIN_IN_FLIGHT);
        assert_eq!(in_flight_within(Some(20_000), MAX_CLIENTS), 19);
        assert_eq!(in_flight_within(Some(u64::MAX), 2), MAX_IN_FLIGHT);
        assert_eq!(in_flight_within(None, MAX_CLIENTS), MAX_IN_FLIGHT);
        for limit in (32..5000).step_by(7) {
            for vectors in [1, 2, 8, 100] {
                let Ok(most) = ClientLimit::within(Some(limit), vectors, None, 0) else {
                    continue;
                };
                let each = in_flight_within(Some(limit), most.clients);
                assert!(most.clients as u64 * each <= limit);
            }
        }
    }

    #[test]
    fn fewer_than_two_clients_are_refused() {
        assert_eq!(
            ClientLimit::within(Some(1024), 2048, None, 10),
            Err(BindError::TooFewDescriptors {
                clients: 2,
                vectors: 2048,
                needed: 4124,
                limit: 1024
            })
        );
        assert!(ClientLimit::within(Some(0), 1, None, 0).is_err());
        assert!(ClientLimit::within(Some(31), 1, None, 0).is_err());
        assert_eq!(within(Some(32), 1).0, 2);
    }

    #[test]
    fn a_number_asked_for_is_given_or_refused_with_the_numbers() {
        for wanted in [1, 126] {
            assert_eq!(
                ClientLimit::within(Some(1024), 1, Some(wanted), 0),
                Ok(ClientLimit {
                    clients: wanted,
                    source: LimitSource::Config
                })
            );
        }
        assert_eq!(
            ClientLimit::within(Some(1024), 1, Some(127), 0),
            Err(BindError::TooFewDescriptors {
                clients: 127,
                vectors: 1,
                needed: 1032,
                limit: 1024
            })
        );
    }
}
