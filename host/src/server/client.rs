// SPDX-License-Identifier: MIT OR Apache-2.0
//! One client's connection.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::SystemTime;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{recv, sockopt, RecvFlags};

use super::pending::Reading;
use super::process::Process;
use super::queue::{Queue, Vectors};
use super::sending::send;
use crate::protocol::MESSAGE_LEN;

/// What a client waits for before it can be sent more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    Nothing,
    /// Its send buffer is full: until the socket is writable.
    Room,
    /// The kernel is short of something else, of which no event tells: for a while.
    Kernel,
}

/// A connected client.
#[derive(Debug)]
pub(super) struct Client {
    socket: OwnedFd,
    pub(super) vectors: Arc<Vectors>,
    pub(super) queue: Queue,
    wait: Wait,
    /// Kept by `Turns`: whether it stands in the line.
    pub(super) in_line: bool,
    pub(super) process: Process,
    pub(super) connected_at: SystemTime,
    /// What its doorbells were when last looked at.
    pub(super) reading: Option<Reading>,
    /// How many messages waited for it then.
    pub(super) waiting: Option<usize>,
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Departure {
    /// The client has closed it or died.
    Left,
    /// The server closes it.
    CutOff(Fault),
}

/// Why the server cuts a client off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It sent something, which the protocol does not allow.
    Spoke,
    /// Its connection fails in another way than by being closed.
    Connection(Errno),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spoke => write!(f, "it sent data, but clients only listen"),
            Self::Connection(error) => write!(f, "its connection failed: {error}"),
        }
    }
}

impl Client {
    /// Makes `socket` the connection of a client that holds `send_buffer` bytes, see `limits`.
    pub(super) fn new(
        socket: OwnedFd,
        process: Process,
        send_buffer: usize,
        vectors: Arc<Vectors>,
        queue: Queue,
    ) -> Self {
        // Cannot fail on a socket; and if it did, clients that do not read would only cost more.
        let _ = sockopt::set_socket_send_buffer_size(&socket, send_buffer);
        Self {
            socket,
            vectors,
            queue,
            wait: Wait::Nothing,
            in_line: false,
            process,
            connected_at: SystemTime::now(),
            reading: None,
            waiting: None,
        }
    }

    /// Returns what the client waits for.
    pub(super) fn wait(&self) -> Wait {
        self.wait
    }

    /// Lets [`Client::flush`] try again.
    pub(super) fn end_wait(&mut self) {
        self.wait = Wait::Nothing;
    }

    /// Looks whether the events that were found at the connection mean its end.
    ///
    /// # Errors
    ///
    /// The departure, if so.
    pub(super) fn notice(&self, events: EventFlags) -> Result<(), Departure> {
        if !events.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            return Ok(());
        }
        match recv(
            &self.socket,
            &mut [0_u8; MESSAGE_LEN][..],
            RecvFlags::DONTWAIT,
        ) {
            Ok((0, _)) | Err(Errno::CONNRESET) => Err(Departure::Left),
            Ok(_) => Err(Departure::CutOff(Fault::Spoke)),
            // Nothing to read, and the hang-up will not go away.
            Err(Errno::AGAIN) if events.contains(EventFlags::HUP) => Err(Departure::Left),
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(error) => Err(Departure::CutOff(Fault::Connection(error))),
        }
    }

    /// Sends what can be sent without waiting, at most `limit` messages, and returns how many.
    ///
    /// # Errors
    ///
    /// The departure, if it turns out that the client is gone.
    pub(super) fn flush(&mut self, limit: usize) -> Result<usize, Departure> {
        let mut sent = 0;
        while self.wait == Wait::Nothing && sent < limit {
            let Some((number, descriptor)) = self.queue.front() else {
                break;
            };
            match send(self.socket.as_fd(), &number.to_le_bytes(), descriptor) {
                Ok(MESSAGE_LEN) => {
                    self.queue.advance();
                    sent += 1;
                }
                // The kernel takes 8 bytes whole or not at all; half a message cannot be mended.
                Ok(_) => return Err(Departure::CutOff(Fault::Connection(Errno::MSGSIZE))),
                Err(error) => self.wait = wait_after(error)?,
            }
        }
        Ok(sent)
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Decides what an error of sending means.
fn wait_after(error: Errno) -> Result<Wait, Departure> {
    match error {
        Errno::AGAIN => Ok(Wait::Room),
        Errno::INTR => Ok(Wait::Nothing),
        // TOOMANYREFS: more descriptors of this user are in sockets than RLIMIT_NOFILE allows.
        Errno::TOOMANYREFS | Errno::NOBUFS | Errno::NOMEM => Ok(Wait::Kernel),
        Errno::PIPE | Errno::CONNRESET => Err(Departure::Left),
        error => Err(Departure::CutOff(Fault::Connection(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::limits::{send_buffer, MAX_IN_FLIGHT, MIN_IN_FLIGHT};
    use ivshmem::PeerId;
    use rustix::event::{eventfd, EventfdFlags};

    #[test]
    fn shortages_are_waited_out_and_only_real_errors_end_a_connection() {
        assert_eq!(wait_after(Errno::AGAIN), Ok(Wait::Room));
        for shortage in [Errno::TOOMANYREFS, Errno::NOBUFS, Errno::NOMEM] {
            assert_eq!(wait_after(shortage), Ok(Wait::Kernel));
        }
        for gone in [Errno::PIPE, Errno::CONNRESET] {
            assert_eq!(wait_after(gone), Err(Departure::Left));
        }
        assert_eq!(
            wait_after(Errno::BADF),
            Err(Departure::CutOff(Fault::Connection(Errno::BADF)))
        );
    }

    /// Returns how many descriptors are under way to a client that has been sent all that goes, again and again.
    fn most_under_way(in_flight: u64) -> u64 {
        use rustix::net::{socketpair, AddressFamily, SocketFlags, SocketType};

        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        let event = || eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        let vectors = Arc::new(Vectors {
            id: PeerId(0),
            eventfds: (0..100).map(|_| event()).collect(),
        });
        let mut queue = Queue::greeting(PeerId(0), Arc::new(event()));
        queue.announce(&vectors);
        let process = Process::default();
        let mut client = Client::new(ours, process, send_buffer(in_flight), vectors, queue);
        assert!(client.flush(usize::MAX).unwrap() > 3, "the greeting fits");
        assert_eq!(client.wait(), Wait::Room);
        assert!(client.notice(EventFlags::empty()).is_ok());
        // The greeting ends here and the descriptors begin; from now on each message has one.
        let mut bytes = [0; MESSAGE_LEN];
        for _ in 0..3 {
            recv(&theirs, &mut bytes[..], RecvFlags::empty()).unwrap();
        }
        let (mut received, mut most) = (0, 0);
        loop {
            client.end_wait();
            client.flush(usize::MAX).unwrap();
            let mut under_way = 0;
            while recv(&theirs, &mut bytes[..], RecvFlags::empty()).is_ok() {
                under_way += 1;
            }
            most = most.max(under_way);
            received += under_way;
            if under_way == 0 {
                break;
            }
        }
        assert_eq!(received, 100);
        most
    }

    #[test]
    fn what_is_under_way_stays_within_the_reckoning_and_makes_use_of_it() {
        for in_flight in [MIN_IN_FLIGHT, 9, 19, MAX_IN_FLIGHT] {
            let most = most_under_way(in_flight);
            assert!(most <= in_flight, "{most} of {in_flight}");
            assert!(most > in_flight / 2, "{most} of {in_flight}");
        }
    }

    #[test]
    fn no_more_is_sent_than_was_asked_for() {
        use rustix::net::{socketpair, AddressFamily, SocketFlags, SocketType};

        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (ours, _theirs) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        let memory = Arc::new(eventfd(0, EventfdFlags::CLOEXEC).unwrap());
        let vectors = Arc::new(Vectors {
            id: PeerId(0),
            eventfds: Vec::new(),
        });
        let queue = Queue::greeting(PeerId(0), memory);
        let mut client = Client::new(
            ours,
            Process::default(),
            send_buffer(MIN_IN_FLIGHT),
            vectors,
            queue,
        );
        assert_eq!(client.flush(2), Ok(2));
        assert_eq!(client.flush(2), Ok(1));
        assert_eq!(client.flush(2), Ok(0));
        assert_eq!(client.wait(), Wait::Nothing);
    }
}
