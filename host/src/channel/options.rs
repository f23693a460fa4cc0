// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a host process becomes a member: [`Options`].

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use ivshmem::channel::{Format, Introduction, Member, Name};

use super::channels::{Channels, Manner};
use super::error::JoinError;
use super::ground::Bell;
use super::hearing::Address;
use super::keeper::Keeper;
use super::pulse::Pulse;
use super::seat::{Clock, Seat};
use crate::deadline::Deadline;
use crate::peer::{ConnectError, EventError, Peer, Step, CONNECT_LIMIT};

/// Most vectors that are of use: QEMU's doorbell takes no more.
const MOST_VECTORS: usize = 256;

/// How often a member beats within its limit.
const BEATS: u32 = 8;

/// The longest time between two beats: with each a member looks who is there, and who pings shall not wait for long.
const LONGEST_BEAT: Duration = Duration::from_millis(250);

/// How to become a member of a region, and how to wait there.
#[derive(Clone, Debug)]
pub struct Options {
    name: Name,
    format: Option<Format>,
    limit: Duration,
    spin: Duration,
    longest: usize,
    pings: Pings,
}

/// What is done about members that want nothing but their messages back, as `ivshmem ping`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pings {
    /// They are answered, up to eight at a time, and neither [peers](Channels::peers) nor events tell of them.
    Answered,
    /// They are members like any other.
    Ignored,
}

impl Options {
    /// For how long to look before sleeping, unless told otherwise and if there is more than one processor: about as long as a sleep
    /// costs.
    pub const SPIN: Duration = Duration::from_micros(50);

    /// Introduces a member by its name, of which 32 bytes count. One that was there under this name and was killed is replaced.
    #[must_use]
    pub fn new(name: &str) -> Self {
        // With one processor, whoever looks all the time keeps the other from running.
        let alone = thread::available_parallelism().is_ok_and(|count| count.get() == 1);
        Self {
            name: Name::new(name),
            format: Some(Format::default()),
            limit: Duration::from_secs(2),
            spin: if alone { Duration::ZERO } else { Self::SPIN },
            longest: 64 << 20,
            pings: Pings::Answered,
        }
    }

    /// How to format the region if it is blank; `None` to leave that to others. By default 16 slots with rings as large as
    /// fit.
    #[must_use]
    pub fn format(self, format: Option<Format>) -> Self {
        Self { format, ..self }
    }

    /// For how long another's heartbeat may stand still before that one counts as dead; by default 2 s. This member itself
    /// beats eight times within it, or more often, so one whose limit is many times shorter takes it for dead: limits of one region are best
    /// alike.
    #[must_use]
    pub fn limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// For how long to look all the time before asking to be rung and going to sleep; by default [`Options::SPIN`], and 0 on a machine with
    /// one processor. With a long time everything is polled for, and nobody rings.
    #[must_use]
    pub fn spin(self, spin: Duration) -> Self {
        Self { spin, ..self }
    }

    /// The longest message that is accepted, in bytes; by default 64 MiB. A peer can make this process use so much memory
    /// for each connection.
    #[must_use]
    pub fn longest(self, longest: usize) -> Self {
        Self { longest, ..self }
    }

    /// Whether those who ping this member are answered, which they are by default. It takes the thread that keeps the member
    /// alive a microsecond or so for each ping.
    #[must_use]
    pub fn pings(self, pings: Pings) -> Self {
        Self { pings, ..self }
    }

    /// Joins the group of the server at the socket `path`, and the region in its memory. Waits for the server for at most
    /// [`CONNECT_LIMIT`], and for a slot for about as long as the [limit](Options::limit).
    ///
    /// # Errors
    ///
    /// - [`JoinError::Server`]: the server cannot be joined.
    /// - Those of [`Options::join_memory`].
    pub fn join_server(&self, path: impl AsRef<Path>) -> Result<Channels, JoinError> {
        let mut peer = Peer::connect(path).map_err(JoinError::Server)?;
        // The server sends all of its own vectors in one go; how many it does not say. One that never stops is not listened to.
        let deadline = Deadline::after(CONNECT_LIMIT);
        while !deadline.remaining().is_zero() {
            let event = peer.next_event(Duration::ZERO).map_err(|error| {
                JoinError::Server(match error {
                    EventError::Receive(error) => ConnectError::Receive(error),
                    EventError::Disconnected | EventError::NoServer => {
                        ConnectError::Closed(Step::OwnVector)
                    }
                })
            })?;
            if event.is_none() {
                break;
            }
        }
        self.join_peer(peer)
    }

    /// Joins the region in a file, for example one in `/dev/shm`, whose size is that of the region. Nobody rings there:
    /// whoever waits looks again and again.
    ///
    /// # Errors
    ///
    /// - [`JoinError::File`]: it cannot be opened for reading and writing.
    /// - Those of [`Options::join_memory`].
    pub fn join_file(&self, path: impl AsRef<Path>) -> Result<Channels, JoinError> {
        self.join_peer(Peer::open_file(path)?)
    }

    /// Joins the region in any shared memory, as in a file.
    ///
    /// # Errors
    ///
    /// - [`JoinError::Memory`]: it cannot be mapped.
    /// - [`JoinError::Region`]: it is no region, or cannot be made one.
    /// - [`JoinError::Member`], [`JoinError::TimedOut`]: there is no slot.
    /// - [`JoinError::System`]: the system has no descriptor or no thread left.
    pub fn join_memory(&self, memory: impl AsFd) -> Result<Channels, JoinError> {
        self.join_peer(Peer::open_memory(memory)?)
    }

    /// Joins the region in the memory of this machine's device at `address`, in a Linux guest; see
    /// [`Peer::open_pci`].
    ///
    /// # Errors
    ///
    /// - [`JoinError::Pci`]: the device cannot be opened.
    /// - Those of [`Options::join_memory`].
    pub fn join_pci(&self, address: &str) -> Result<Channels, JoinError> {
        self.join_peer(Peer::open_pci(address).map_err(JoinError::Pci)?)
    }

    /// Joins the region in the memory of a peer, which rings and is rung as far as it can.
    ///
    /// Vectors that a server sends later are used when they are there.
    ///
    /// # Errors
    ///
    /// As [`Options::join_memory`].
    pub fn join_peer(&self, peer: Peer) -> Result<Channels, JoinError> {
        let bell = Bell::of(&peer);
        let clock = Clock::start();
        let address = address(&peer);
        let member = self.member(&bell, address, clock)?;
        let seat = Arc::new(Seat::new(member, bell, address, clock, self.pings));
        let interval = (self.limit / BEATS).clamp(Duration::from_micros(100), LONGEST_BEAT);
        let failed = |error: io::Error| {
            seat.leave();
            JoinError::System(error.kind())
        };
        let pulse = Arc::new(Pulse::new(interval).map_err(|errno| failed(errno.into()))?);
        let keeper = Keeper::start(Arc::clone(&seat), peer, Arc::clone(&pulse)).map_err(failed)?;
        let manner = Manner {
            spin: self.spin,
            pulse,
            longest: self.longest,
        };
        Ok(Channels::new(seat, keeper, manner))
    }

    /// Takes a slot.
    fn member(
        &self,
        bell: &Bell,
        (device, vectors): Address,
        clock: Clock,
    ) -> Result<Member<'static>, JoinError> {
        let region = bell
            .region(self.format.as_ref())
            .map_err(JoinError::Region)?;
        let limit = u64::try_from(self.limit.as_micros()).unwrap_or(u64::MAX);
        let mut joining = region.join(Introduction {
            name: self.name,
            device,
            vectors,
            limit,
        });
        // It is decided when every slot has moved or stood still for the limit; but for others who are quicker.
        let deadline = Deadline::after(self.limit.saturating_mul(2).saturating_add(CONNECT_LIMIT));
        loop {
            match joining.poll(clock.now()) {
                Poll::Ready(member) => return member.map_err(JoinError::Member),
                Poll::Pending if deadline.remaining().is_zero() => return Err(JoinError::TimedOut),
                Poll::Pending => {
                    thread::sleep((self.limit / (4 * BEATS)).min(deadline.remaining()))
                }
            }
        }
    }
}

/// Returns where a peer is rung, and how many vectors it has.
pub(super) fn address(peer: &Peer) -> Address {
    (peer.id(), peer.vectors().min(MOST_VECTORS) as u16)
}
