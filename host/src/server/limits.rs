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

/// Returns how many clients with `vectors` vectors the limit of open file descriptors allows.
///
/// # Errors
///
/// - [`BindError::TooFewDescriptors`]: not even two, and one alone has nobody to talk to.
pub(super) fn client_limit(vectors: u16) -> Result<usize, BindError> {
    clients_within(getrlimit(Resource::Nofile).current, vectors)
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

/// The same as [`client_limit`] for a limit of `descriptors`, where `None` is no limit.
fn clients_within(descriptors: Option<u64>, vectors: u16) -> Result<usize, BindError> {
    let Some(limit) = descriptors else {
        return Ok(MAX_CLIENTS);
    };
    // A client takes its connection and one eventfd for each vector, and of the other
    // allowance, which is of the same size, what is under way to it.
    let each = (u64::from(vectors) + 1).max(MIN_IN_FLIGHT);
    let clients = limit.saturating_sub(RESERVED) / each;
    if clients < 2 {
        return Err(BindError::TooFewDescriptors {
            vectors,
            needed: RESERVED + 2 * each,
            limit,
        });
    }
    Ok(usize::try_from(clients).map_or(MAX_CLIENTS, |clients| clients.min(MAX_CLIENTS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_counts_what_is_open_and_what_is_under_way() {
        assert_eq!(clients_within(Some(1024), 1), Ok(126));
        assert_eq!(clients_within(Some(1024), 7), Ok(126));
        assert_eq!(clients_within(Some(1024), 8), Ok(112));
        assert_eq!(clients_within(Some(16 + 2 * 2049), 2048), Ok(2));
        assert_eq!(clients_within(Some(u64::MAX), 1), Ok(MAX_CLIENTS));
        assert_eq!(clients_within(None, 2048), Ok(MAX_CLIENTS));
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
                let Ok(clients) = clients_within(Some(limit), vectors) else {
                    continue;
                };
                assert!(clients as u64 * in_flight_within(Some(limit), clients) <= limit);
            }
        }
    }

    #[test]
    fn fewer_than_two_clients_are_refused() {
        assert_eq!(
            clients_within(Some(1024), 2048),
            Err(BindError::TooFewDescriptors {
                vectors: 2048,
                needed: 4114,
                limit: 1024
            })
        );
        assert!(clients_within(Some(0), 1).is_err());
        assert!(clients_within(Some(31), 1).is_err());
        assert_eq!(clients_within(Some(32), 1), Ok(2));
    }
}
