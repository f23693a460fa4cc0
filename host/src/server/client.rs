// SPDX-License-Identifier: MIT OR Apache-2.0
//! One client's connection.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::SystemTime;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{recv, sockopt, RecvFlags};

use super::pending::Reading;
use super::process::Process;
use super::queue::{Queue, Vectors};
use super::sending::send;
use crate::protocol::MESSAGE_LEN;

/// Bytes asked for as the send buffer of a connection: the least there is, to which the kernel
/// raises it. Six messages fill it (Linux 6.18), twice the greeting; see `limits` for why so few.
const SEND_BUFFER: usize = 0;

/// When a client can be sent more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    Now,
    /// Its send buffer is full: when the socket is writable.
    Writable,
    /// The kernel is short of something else, of which no event tells: after a while.
    Later,
}

/// A connected client.
#[derive(Debug)]
pub(super) struct Client {
    socket: OwnedFd,
    pub(super) vectors: Arc<Vectors>,
    pub(super) queue: Queue,
    pace: Pace,
    pub(super) process: Process,
    pub(super) connected_at: SystemTime,
    /// What its doorbells were when last looked at.
    pub(super) reading: Option<Reading>,
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
    pub(super) fn new(
        socket: OwnedFd,
        process: Process,
        vectors: Arc<Vectors>,
        queue: Queue,
    ) -> Self {
        // Cannot fail on a socket; and if it did, clients that do not read would only cost more.
        let _ = sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER);
        Self {
            socket,
            vectors,
            queue,
            pace: Pace::Now,
            process,
            connected_at: SystemTime::now(),
            reading: None,
        }
    }

    /// Returns the socket, and the events to poll it for.
    pub(super) fn interest(&self) -> (BorrowedFd<'_>, PollFlags) {
        let events = match self.pace {
            Pace::Writable => PollFlags::IN | PollFlags::OUT,
            Pace::Now | Pace::Later => PollFlags::IN,
        };
        (self.socket.as_fd(), events)
    }

    /// Returns whether [`Client::retry`] should be called after a while.
    pub(super) fn wants_retry(&self) -> bool {
        self.pace == Pace::Later
    }

    /// Lets [`Client::flush`] try again after a shortage.
    pub(super) fn retry(&mut self) {
        if self.pace == Pace::Later {
            self.pace = Pace::Now;
        }
    }

    /// Takes note of the events that a poll has found.
    ///
    /// # Errors
    ///
    /// The departure, if they mean that.
    pub(super) fn notice(&mut self, events: PollFlags) -> Result<(), Departure> {
        if events.contains(PollFlags::OUT) {
            self.pace = Pace::Now;
        }
        if !events.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
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
            Err(Errno::AGAIN) if events.contains(PollFlags::HUP) => Err(Departure::Left),
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(error) => Err(Departure::CutOff(Fault::Connection(error))),
        }
    }

    /// Sends what can be sent without waiting.
    ///
    /// # Errors
    ///
    /// The departure, if it turns out that the client is gone.
    pub(super) fn flush(&mut self) -> Result<(), Departure> {
        while self.pace == Pace::Now {
            let Some((number, descriptor)) = self.queue.front() else {
                break;
            };
            match send(self.socket.as_fd(), &number.to_le_bytes(), descriptor) {
                Ok(MESSAGE_LEN) => self.queue.advance(),
                // The kernel takes 8 bytes whole or not at all; half a message cannot be mended.
                Ok(_) => return Err(Departure::CutOff(Fault::Connection(Errno::MSGSIZE))),
                Err(error) => self.pace = pace_after(error)?,
            }
        }
        Ok(())
    }
}

/// Decides what an error of sending means.
fn pace_after(error: Errno) -> Result<Pace, Departure> {
    match error {
        Errno::AGAIN => Ok(Pace::Writable),
        Errno::INTR => Ok(Pace::Now),
        // TOOMANYREFS: more descriptors of this user are in sockets than RLIMIT_NOFILE allows.
        Errno::TOOMANYREFS | Errno::NOBUFS | Errno::NOMEM => Ok(Pace::Later),
        Errno::PIPE | Errno::CONNRESET => Err(Departure::Left),
        error => Err(Departure::CutOff(Fault::Connection(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ivshmem::PeerId;
    use rustix::event::{eventfd, EventfdFlags};

    #[test]
    fn shortages_are_waited_out_and_only_real_errors_end_a_connection() {
        assert_eq!(pace_after(Errno::AGAIN), Ok(Pace::Writable));
        for shortage in [Errno::TOOMANYREFS, Errno::NOBUFS, Errno::NOMEM] {
            assert_eq!(pace_after(shortage), Ok(Pace::Later));
        }
        for gone in [Errno::PIPE, Errno::CONNRESET] {
            assert_eq!(pace_after(gone), Err(Departure::Left));
        }
        assert_eq!(
            pace_after(Errno::BADF),
            Err(Departure::CutOff(Fault::Connection(Errno::BADF)))
        );
    }

    #[test]
    fn what_is_under_way_holds_the_greeting_and_stays_within_the_reckoning() {
        use crate::server::limits::IN_FLIGHT;
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
        let mut client = Client::new(ours, Process::default(), vectors, queue);
        client.flush().unwrap();
        assert_eq!(client.pace, Pace::Writable);
        assert!(client.notice(PollFlags::empty()).is_ok());
        // The greeting ends here and the descriptors begin; from now on each message has one.
        let mut bytes = [0; MESSAGE_LEN];
        for _ in 0..3 {
            recv(&theirs, &mut bytes[..], RecvFlags::empty()).unwrap();
        }
        let mut received = 0;
        loop {
            client.pace = Pace::Now;
            client.flush().unwrap();
            let mut under_way = 0;
            while recv(&theirs, &mut bytes[..], RecvFlags::empty()).is_ok() {
                under_way += 1;
            }
            assert!(under_way <= IN_FLIGHT, "{under_way} descriptors");
            received += under_way;
            if under_way == 0 {
                break;
            }
        }
        assert_eq!(received, 100);
    }
}
