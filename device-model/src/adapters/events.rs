// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host of a device as far as Linux is one: eventfds, mappings, and what is ready.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::Timespec;
use rustix::io::Errno;

use super::{Delivery, Fd, Mapping, Wiring};
use crate::{Host, HostError, Ioeventfd, Level, MsiMessage, Notice};

/// Most descriptors dealt with in one go.
const MAX_READY: usize = 16;
/// For `epoll`: only look.
const NOW: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};
/// What stands for the server's connection among the vectors.
const SERVER: u64 = u64::MAX;

/// The [`Host`] of an [`Attachment`](super::Attachment).
///
/// A [`Flat`](crate::Flat) has no adapter of its own. It can be embedded with this as its host: receive at most
/// [`Flat::wanted`](crate::Flat::wanted) bytes of the server's socket, with the descriptors beside them as [`Fd`]s, and pass
/// them to [`Flat::receive`](crate::Flat::receive). Let [`Wiring::take_over`] keep the eventfd and answer
/// [`Delivery::Program`]; when that can be read, pass it on by [`Fd::take`] and [`Flat::event`](crate::Flat::event).
#[derive(Debug)]
pub struct FdHost<W> {
    wiring: W,
    readers: Readers,
    has_memory: bool,
    epoll: OwnedFd,
    /// The eventfds of the own vectors that are watched.
    own: BTreeMap<u16, Fd>,
}

/// Who may read the own vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readers {
    /// The device or the program, as [`Wiring::take_over`] says.
    Any,
    /// Only the device.
    Device,
}

/// What can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    Server,
    Vector(u16),
}

impl<W> FdHost<W> {
    /// Creates a host that knows no vectors yet.
    ///
    /// # Errors
    ///
    /// - The system has no descriptor left.
    pub fn new(wiring: W) -> Result<Self, Errno> {
        Ok(Self {
            wiring,
            readers: Readers::Any,
            has_memory: false,
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            own: BTreeMap::new(),
        })
    }

    pub(super) fn set_readers(&mut self, readers: Readers) {
        self.readers = readers;
    }

    pub(super) fn watch_server(&self, connection: impl AsFd) -> Result<(), Errno> {
        epoll::add(
            &self.epoll,
            connection,
            EventData::new_u64(SERVER),
            EventFlags::IN,
        )
    }

    pub(super) fn forget_server(&self, connection: impl AsFd) {
        // It is closed right after this; no failure could matter.
        let _ = epoll::delete(&self.epoll, connection);
    }

    /// Returns what can be read now, at most 16 of all.
    pub(super) fn ready(&self) -> Result<Vec<Ready>, Errno> {
        let mut events = Vec::with_capacity(MAX_READY);
        match epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(&mut events),
            Some(&NOW),
        ) {
            Err(Errno::INTR) | Ok(_) => {}
            Err(error) => return Err(error),
        }
        Ok(events
            .iter()
            .map(|event| u16::try_from(event.data.u64()).map_or(Ready::Server, Ready::Vector))
            .collect())
    }

    /// Takes the counter of an own vector, if it was rung. What cannot be read is not watched any more.
    pub(super) fn take(&mut self, vector: u16) -> Result<Option<u64>, HostError> {
        let Some(event) = self.own.get(&vector) else {
            return Ok(None);
        };
        let taken = event.take();
        if taken.is_err() {
            self.forget(vector);
        }
        taken.map_err(host_error)
    }

    /// Stops to watch an own vector.
    fn forget(&mut self, vector: u16) {
        if let Some(event) = self.own.remove(&vector) {
            // It is in the set, so this cannot fail.
            let _ = epoll::delete(&self.epoll, event);
        }
    }

    /// Returns the wiring.
    pub const fn wiring(&self) -> &W {
        &self.wiring
    }

    /// Returns the wiring, to change it.
    pub fn wiring_mut(&mut self) -> &mut W {
        &mut self.wiring
    }

    pub(super) fn into_wiring(self) -> W {
        self.wiring
    }
}

impl<W: Wiring> FdHost<W> {
    /// Tells the wiring of the memory that the device gets, or that it has none any more.
    pub(super) fn show_memory(&mut self, mapping: Option<&Mapping>) {
        if std::mem::replace(&mut self.has_memory, mapping.is_some()) {
            self.wiring.memory(None);
        }
        if mapping.is_some() {
            self.wiring.memory(mapping);
        }
    }
}

impl<W> AsFd for FdHost<W> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl<W: Wiring> Host for FdHost<W> {
    type Descriptor = Fd;
    type Memory = Mapping;

    fn map(&mut self, descriptor: Fd, len_bytes: u64) -> Result<Mapping, HostError> {
        let mapping = Mapping::of(&descriptor, len_bytes)?;
        // The device drops the one it has after this.
        self.show_memory(Some(&mapping));
        Ok(mapping)
    }

    fn listen(&mut self, vector: u16, event: &Fd) -> Result<(), HostError> {
        // The historic devices let a server announce their own vectors anew.
        self.forget(vector);
        if self.readers == Readers::Any && self.wiring.take_over(vector, event) == Delivery::Program
        {
            return Ok(());
        }
        epoll::add(
            &self.epoll,
            event,
            EventData::new_u64(vector.into()),
            EventFlags::IN,
        )
        .map_err(host_error)?;
        self.own.insert(vector, event.clone());
        Ok(())
    }

    fn ring(&mut self, event: &Fd) {
        event.ring();
    }

    fn message(&mut self, message: MsiMessage) {
        self.wiring.message(message);
    }

    fn line(&mut self, level: Level) {
        self.wiring.line(level);
    }

    fn notice(&mut self, notice: Notice) {
        self.wiring.notice(notice);
    }

    fn attach_ioeventfd(&mut self, ioeventfd: Ioeventfd, event: &Fd) {
        self.wiring.attach_ioeventfd(ioeventfd, event);
    }

    fn detach_ioeventfd(&mut self, ioeventfd: Ioeventfd, event: &Fd) {
        self.wiring.detach_ioeventfd(ioeventfd, event);
    }

    fn route(&mut self, vector: u16, message: Option<MsiMessage>) {
        self.wiring.route(vector, message);
    }
}

fn host_error(error: Errno) -> HostError {
    HostError {
        errno: error.raw_os_error(),
    }
}
