// SPDX-License-Identifier: MIT OR Apache-2.0
//! A process as a peer: it shares the memory, rings the others and is rung by them.
//!
//! | made by | memory | ID | rings and is rung | events |
//! | --- | --- | --- | --- | --- |
//! | [`Peer::connect`] | the server's | yes | yes | yes |
//! | [`Peer::open_file`], [`Peer::open_memory`] | a file, or any shared memory | no | no | no |
//! | [`Peer::open_pci`], in a Linux guest | the device's | if it has | if it has one; is rung under VFIO only | no |
//!
//! Two things can be waited for, separately, because they come from different sides:
//! what the *server* says ([`Peer::next_event`]) and what the *peers* ring
//! ([`Peer::wait`], [`Peer::wait_any`]). For an event loop of one's own, poll
//! [`Peer::server_fd`] and [`Peer::vector_fd`], then call these with a time limit of zero. Tasks of tokio have `peer::tasks`
//! (feature `tokio`).
//!
//! The memory and the vectors keep working when the server is gone, and a peer can [join the next
//! one](Peer::reconnect).
//!
//! No waiting here outlasts its limit, with one exception: the counters and their flags are shared by
//! all peers, and another host process can fill one of them and make it block (`O_NONBLOCK` off), so that
//! ringing it waits. A virtual machine cannot.
//!
//! Rings carry no source and coalesce: being rung any number of times before looking counts
//! once. What happened must be found in the shared memory.

mod doorbells;
mod error;
mod former;
mod joining;
mod link;
mod reconnect;
#[cfg(feature = "tokio")]
pub mod tasks;
mod vectors;

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ivshmem::{PeerId, SharedMemory};

pub use doorbells::Doorbells;
pub(crate) use error::Unopened;
pub use error::{ConnectError, EventError, OpenError, ReceiveError, RingError, Step};
pub(crate) use joining::Joined;
pub use reconnect::ReconnectError;

pub use crate::session::Event;

use crate::deadline::Deadline;
use crate::mapping::Mapping;
use crate::pci::{self, Device};
use crate::session::{Outcome, Session};
use former::Former;
use link::{Link, Received};

/// How long [`Peer::connect`] waits for the server.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// One who shares the memory; dropping it leaves the server's group of peers, if it is in one.
#[derive(Debug)]
pub struct Peer {
    id: Option<PeerId>,
    mapping: Arc<Mapping>,
    session: Session<Arc<OwnedFd>>,
    former: Former,
    doorbells: Doorbells,
    server: Server,
    /// Of the server's socket.
    path: Option<PathBuf>,
    /// In a guest.
    device: Option<Arc<Device>>,
}

/// Who tells of other peers.
#[derive(Debug)]
enum Server {
    /// There is no server here.
    None,
    There(Link),
    /// The connection has ended.
    Gone,
}

impl Peer {
    /// Joins the server at the socket `path`, waiting for it for at most [`CONNECT_LIMIT`].
    ///
    /// # Errors
    ///
    /// Those of [`Peer::connect_within`].
    pub fn connect(path: impl AsRef<Path>) -> Result<Self, ConnectError> {
        Self::connect_within(path, CONNECT_LIMIT)
    }

    /// Joins the server at the socket `path`, waiting for it for at most `limit`.
    ///
    /// On return the ID, the memory, the first vector of its own and, from a server that keeps
    /// to the usual order, all who were there before are known. The protocol does not say
    /// how many vectors will come; use [`Peer::wait_until`] if more than one is needed.
    ///
    /// # Errors
    ///
    /// - [`ConnectError::Open`]: there is no server at `path`, or it may not be connected to.
    /// - [`ConnectError::Timeout`], [`ConnectError::Closed`]: the server stopped half-way.
    /// - [`ConnectError::Receive`]: the server broke the protocol, or has no room.
    /// - [`ConnectError::Memory`]: the shared memory is of a wrong size or cannot be mapped.
    pub fn connect_within(path: impl AsRef<Path>, limit: Duration) -> Result<Self, ConnectError> {
        let path = path.as_ref();
        let joined = Joined::at(path, Deadline::after(limit))?;
        let doorbells = Doorbells::default();
        doorbells.take_in(joined.id, &joined.session);
        Ok(Self {
            id: Some(joined.id),
            mapping: Arc::new(joined.mapping),
            session: joined.session,
            former: Former::default(),
            doorbells,
            server: Server::There(joined.link),
            path: Some(path.to_owned()),
            device: None,
        })
    }

    /// Opens the memory in a file, for example one in `/dev/shm` that guests have as `ivshmem-plain`. Nobody rings there.
    ///
    /// # Errors
    ///
    /// - [`OpenError::File`]: it cannot be opened for reading and writing.
    /// - [`OpenError::Memory`]: it is of a wrong size or cannot be mapped.
    pub fn open_file(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let file = File::options().read(true).write(true).open(path);
        let file = file.map_err(|error| OpenError::File {
            path: path.to_owned(),
            error: error.kind(),
        })?;
        Self::open_memory(file)
    }

    /// Opens any shared memory, as in a file.
    ///
    /// # Errors
    ///
    /// - [`OpenError::Memory`]: it is of a wrong size or cannot be mapped.
    pub fn open_memory(memory: impl AsFd) -> Result<Self, OpenError> {
        let mapping = Mapping::of(memory).map_err(OpenError::Memory)?;
        Ok(Self {
            id: None,
            mapping: Arc::new(mapping),
            session: Session::new(),
            former: Former::default(),
            doorbells: Doorbells::default(),
            server: Server::None,
            path: None,
            device: None,
        })
    }

    /// Opens the ivshmem device of this machine, a Linux guest, at an address such as `0000:00:05.0`; see [`pci`].
    ///
    /// Of a device that `vfio-pci` has each vector is listened to, and it takes no root. Of one that no driver has this
    /// peer has no vectors: it rings and is not rung.
    ///
    /// # Errors
    ///
    /// - [`pci::OpenError::Address`], [`NoFunction`](pci::OpenError::NoFunction),
    ///   [`OtherDevice`](pci::OpenError::OtherDevice), [`OtherDriver`](pci::OpenError::OtherDriver): there is none to be had.
    /// - [`pci::OpenError::File`], [`Vfio`](pci::OpenError::Vfio), [`Map`](pci::OpenError::Map): the system refuses.
    /// - [`pci::OpenError::NoMemory`], [`NotEnabled`](pci::OpenError::NotEnabled), [`Text`](pci::OpenError::Text),
    ///   [`Device`](pci::OpenError::Device): it does not work.
    pub fn open_pci(address: &str) -> Result<Self, pci::OpenError> {
        let device = Arc::new(pci::open(address.parse()?)?);
        Ok(Self {
            id: device.id(),
            mapping: Arc::clone(device.mapping()),
            session: Session::new(),
            former: Former::default(),
            doorbells: Doorbells::of_device(&device),
            server: Server::None,
            path: None,
            device: Some(device),
        })
    }

    /// Returns the ID that the server gave this peer, or this peer's machine; `None` where there is no server.
    #[must_use]
    pub const fn id(&self) -> Option<PeerId> {
        self.id
    }

    /// Returns the shared memory, all of it.
    #[must_use]
    pub fn memory(&self) -> SharedMemory<'_> {
        self.mapping.memory()
    }

    /// Returns the mapping of the shared memory, which may outlive this peer.
    pub(crate) const fn mapping(&self) -> &Arc<Mapping> {
        &self.mapping
    }

    /// Returns the doorbells of all peers, as far as the server's messages are taken in now or later: for channels
    /// that live on other threads than this peer.
    #[must_use]
    pub fn doorbells(&self) -> Doorbells {
        self.doorbells.clone()
    }

    /// Returns the IDs of the other peers, ascending, as far as the server's messages have been taken in.
    pub fn peers(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.session.peers().map(|(id, _)| id)
    }

    /// Returns how many vectors this peer has.
    #[must_use]
    pub fn vectors(&self) -> usize {
        self.own().len()
    }

    /// Returns how many vectors of `peer` can be rung; `None` if it is not there, or nobody tells.
    #[must_use]
    pub fn vectors_of(&self, peer: PeerId) -> Option<usize> {
        self.eventfds(peer).map(<[_]>::len)
    }

    /// Returns the descriptor that is readable when [`Peer::next_event`] has something to take in;
    /// `None` once the connection has ended, and without a server.
    #[must_use]
    pub fn server_fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.server {
            Server::There(link) => Some(link.as_fd()),
            Server::None | Server::Gone => None,
        }
    }

    /// Returns the next change that the server reports, waiting for at most `limit`; `None` if there is none.
    ///
    /// After an error, and after [`Event::ServerGone`], the connection is closed: the peers stay
    /// as they were, and memory and vectors stay usable. [`Peer::reconnect`] joins again.
    ///
    /// # Errors
    ///
    /// - [`EventError::Receive`]: the connection broke or the server broke the protocol.
    /// - [`EventError::Disconnected`]: the connection had ended before.
    /// - [`EventError::NoServer`]: there is no server that could tell.
    pub fn next_event(&mut self, limit: Duration) -> Result<Option<Event>, EventError> {
        let deadline = Deadline::after(limit);
        loop {
            match self.take_message(deadline)? {
                Taken::Event(event) => return Ok(Some(event)),
                Taken::Nothing => return Ok(None),
                Taken::NoChange if deadline.remaining().is_zero() => return Ok(None),
                Taken::NoChange => {}
            }
        }
    }

    /// Takes in one message of the server, waiting for it until `deadline`.
    fn take_message(&mut self, deadline: Deadline) -> Result<Taken, EventError> {
        let link = match &mut self.server {
            Server::There(link) => link,
            Server::Gone => return Err(EventError::Disconnected),
            Server::None => return Err(EventError::NoServer),
        };
        let outcome = link.receive(deadline).and_then(|received| match received {
            Received::Message(message) => Ok(match self.session.take(message)? {
                Outcome::Change(event) => Taken::Event(event),
                _ => Taken::NoChange,
            }),
            Received::Nothing => Ok(Taken::Nothing),
            Received::End => Ok(Taken::Event(Event::ServerGone)),
        });
        match outcome {
            Ok(Taken::Event(event)) => {
                self.doorbells.follow(&self.session, event);
                match event {
                    Event::Joined(peer) => self.former.forget(peer),
                    Event::ServerGone => self.server = Server::Gone,
                    _ => {}
                }
            }
            Ok(Taken::NoChange | Taken::Nothing) => {}
            Err(_) => self.server = Server::Gone,
        }
        outcome.map_err(EventError::Receive)
    }

    /// Takes in changes for at most `limit` until `condition` holds, and returns whether it does.
    ///
    /// The changes are not reported again: afterwards look at [`Peer::peers`] and
    /// [`Peer::vectors_of`], as `condition` would.
    ///
    /// # Errors
    ///
    /// Those of [`Peer::next_event`].
    pub fn wait_until(
        &mut self,
        limit: Duration,
        mut condition: impl FnMut(&Self) -> bool,
    ) -> Result<bool, EventError> {
        let deadline = Deadline::after(limit);
        while !condition(self) {
            if self.next_event(deadline.remaining())?.is_none() {
                return Ok(false);
            }
            if deadline.remaining().is_zero() {
                return Ok(condition(self));
            }
        }
        Ok(true)
    }

    /// Returns the vectors of `peer`, which may be one that a server before has announced.
    fn eventfds(&self, peer: PeerId) -> Option<&[Arc<OwnedFd>]> {
        let announced = self.session.vectors(peer);
        announced.or_else(|| self.former.vectors(peer))
    }

    /// Returns the eventfds of this peer's own vectors.
    fn own(&self) -> &[Arc<OwnedFd>] {
        match &self.device {
            Some(device) => device.vectors(),
            None => self.session.own(),
        }
    }
}

/// What taking in a message has brought.
#[derive(Clone, Copy, Debug)]
enum Taken {
    Event(Event),
    /// A message that changes nothing.
    NoChange,
    /// No message.
    Nothing,
}
