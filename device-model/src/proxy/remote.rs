// SPDX-License-Identifier: MIT OR Apache-2.0
//! A device behind QEMU's proxy: [`Remote`].

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::Timespec;
use rustix::io::Errno;

use super::line::Line;
use super::link::{Link, Received};
use super::{check, LinkError, RemoteError, Reply, Request, Space};
use crate::adapters::{Attachment, ConnectionError, Fd, Protocol};
use crate::{Notice, Properties};

/// Requests answered in one go, so that one guest does not keep the others of a process waiting.
const MAX_REQUESTS: usize = 32;
/// The size of configuration space in bytes.
const CONFIG_LEN: u32 = 256;
/// What a read gives where nothing is.
const ALL_ONES: Reply = Reply::Value(u64::MAX);
const WRITTEN: Reply = Reply::Value(0);

/// What can be ready.
const DEVICE: u64 = 0;
const QEMU: u64 = 1;
const RESAMPLE: u64 = 2;
/// For `epoll`: only look.
const NOW: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// A device that is lent to a QEMU over a socket.
///
/// Poll [`AsFd::as_fd`] for reading and call [`Remote::handle`] when it is ready. Nothing in it waits, whatever QEMU, the
/// server and the peers do.
#[derive(Debug)]
pub struct Remote<R: FnMut(Report)> {
    attachment: Attachment<Line<R>>,
    link: Link,
    epoll: OwnedFd,
    /// Whether a reply waits for room, and requests for that.
    is_stuck: bool,
}

/// Whether QEMU has the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// It has.
    Plugged,
    /// The guest's machine has unplugged it, or ended.
    Unplugged,
}

/// What a lent device tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Report {
    /// What the device noticed. The server and the guest can cause some at any rate they like.
    Notice(Notice),
    /// The server is of no more use. The guest keeps the device.
    ServerLost(ConnectionError),
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Notice(notice) => notice.fmt(f),
            Self::ServerLost(error) => write!(f, "{error}; the guest keeps the device"),
        }
    }
}

impl<R: FnMut(Report)> Remote<R> {
    /// Lends a device to the QEMU at the other end of `socket`, a stream socket in whatever mode.
    ///
    /// The device is attached to its server or its memory at once, before QEMU asks for anything.
    ///
    /// # Errors
    ///
    /// - [`RemoteError::Unsuitable`]: QEMU's proxy cannot take such a device.
    /// - [`RemoteError::Open`]: the properties are wrong, or what they name cannot be had.
    /// - [`RemoteError::System`]: the system has no descriptor left.
    pub fn open(
        properties: &Properties,
        protocol: Protocol,
        socket: OwnedFd,
        report: R,
    ) -> Result<Self, RemoteError> {
        check(properties)?;
        let attachment = Attachment::open(properties, protocol, Line::new(report))?;
        let link = Link::new(socket);
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(RemoteError::System)?;
        watch(&epoll, &attachment, DEVICE).map_err(RemoteError::System)?;
        watch(&epoll, &link, QEMU).map_err(RemoteError::System)?;
        Ok(Self {
            attachment,
            link,
            epoll,
            is_stuck: false,
        })
    }

    /// Deals with what is ready, a bounded part of it.
    ///
    /// # Errors
    ///
    /// - [`LinkError`]: the connection to QEMU cannot be used any more. Drop the remote: for the guest, all its
    ///   registers then read as ones.
    pub fn handle(&mut self) -> Result<Status, LinkError> {
        let mut events = Vec::with_capacity(4);
        match epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(&mut events),
            Some(&NOW),
        ) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(LinkError::Poll(error)),
        }
        for event in events {
            match event.data.u64() {
                DEVICE => {
                    if let Err(error) = self.attachment.handle() {
                        let report = Report::ServerLost(error);
                        self.attachment.wiring_mut().report(report);
                    }
                }
                QEMU => {
                    if self.serve()? == Status::Unplugged {
                        return Ok(Status::Unplugged);
                    }
                }
                _ => {
                    let resampled = self.attachment.wiring().resample();
                    resampled.map_err(LinkError::Resample)?;
                }
            }
        }
        Ok(Status::Plugged)
    }

    /// Answers requests while there are any.
    fn serve(&mut self) -> Result<Status, LinkError> {
        for _ in 0..MAX_REQUESTS {
            if !self.link.flush()? {
                break;
            }
            match self.link.receive()? {
                Received::Nothing => break,
                Received::Part => {}
                Received::End => return Ok(Status::Unplugged),
                Received::Request(request) => {
                    if let Some(reply) = self.answer(request)? {
                        self.link.reply(reply)?;
                    }
                }
            }
        }
        self.wait_for_room()?;
        Ok(Status::Plugged)
    }

    /// Waits for room for a reply instead of for requests, or the other way round again.
    fn wait_for_room(&mut self) -> Result<(), LinkError> {
        let is_stuck = !self.link.flush()?;
        if is_stuck != self.is_stuck {
            let flags = if is_stuck {
                EventFlags::OUT
            } else {
                EventFlags::IN
            };
            epoll::modify(&self.epoll, &self.link, EventData::new_u64(QEMU), flags)
                .map_err(LinkError::Poll)?;
            self.is_stuck = is_stuck;
        }
        Ok(())
    }

    /// Does what QEMU wants. Accesses of a length or at a place that there is not read all ones and write nothing, as
    /// with a remote that QEMU is itself (7.2).
    fn answer(&mut self, request: Request<OwnedFd>) -> Result<Option<Reply>, LinkError> {
        let mut bytes = [0; 8];
        Ok(Some(match request {
            // The model needs no memory of the guest.
            Request::Memory => return Ok(None),
            Request::Interrupt { event, resample } => {
                self.connect_line(Fd::new(event)?, Fd::new(resample)?)?;
                return Ok(None);
            }
            Request::Reset => {
                self.attachment.reset();
                Reply::Done
            }
            Request::ReadConfig { offset, len } => {
                let Some((offset, part)) = config_range(offset, len, &mut bytes) else {
                    return Ok(Some(ALL_ONES));
                };
                self.attachment.read_config(offset, part);
                Reply::Value(u64::from_le_bytes(bytes))
            }
            Request::WriteConfig { offset, value, len } => {
                bytes = u64::from(value).to_le_bytes();
                if let Some((offset, part)) = config_range(offset, len, &mut bytes) {
                    self.attachment.write_config(offset, part);
                }
                WRITTEN
            }
            Request::ReadBar {
                address,
                len,
                space,
            } => {
                let Some(part) = bar_range(len, space, &mut bytes) else {
                    return Ok(Some(ALL_ONES));
                };
                let Some((bar, offset)) = self.attachment.device().decode(address) else {
                    return Ok(Some(ALL_ONES));
                };
                self.attachment.read_bar(bar, offset, part);
                Reply::Value(u64::from_le_bytes(bytes))
            }
            Request::WriteBar {
                address,
                value,
                len,
                space,
            } => {
                bytes = value.to_le_bytes();
                let decoded = self.attachment.device().decode(address);
                if let (Some((bar, offset)), Some(part)) =
                    (decoded, bar_range(len, space, &mut bytes))
                {
                    self.attachment.write_bar(bar, offset, part);
                }
                WRITTEN
            }
        }))
    }

    fn connect_line(&mut self, event: Fd, resample: Fd) -> Result<(), LinkError> {
        watch(&self.epoll, &resample, RESAMPLE).map_err(LinkError::Resample)?;
        if let Some(old) = self.attachment.wiring_mut().connect(event, resample) {
            // It is in the set, so this cannot fail.
            let _ = epoll::delete(&self.epoll, old);
        }
        Ok(())
    }
}

impl<R: FnMut(Report)> AsFd for Remote<R> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

fn watch(epoll: &OwnedFd, source: impl AsFd, data: u64) -> Result<(), Errno> {
    epoll::add(epoll, source, EventData::new_u64(data), EventFlags::IN)
}

/// Returns where an access to configuration space begins, and its bytes: 1, 2 or 4, all inside.
fn config_range(offset: u32, len: u32, bytes: &mut [u8; 8]) -> Option<(u16, &mut [u8])> {
    let inside = offset.checked_add(len)? <= CONFIG_LEN;
    if !inside || !matches!(len, 1 | 2 | 4) {
        return None;
    }
    Some((u16::try_from(offset).ok()?, bytes.get_mut(..len as usize)?))
}

/// Returns the bytes of an access to a BAR: 1, 2, 4 or 8. The device has no I/O BARs.
fn bar_range(len: u32, space: Space, bytes: &mut [u8; 8]) -> Option<&mut [u8]> {
    if space != Space::Memory || !matches!(len, 1 | 2 | 4 | 8) {
        return None;
    }
    bytes.get_mut(..len as usize)
}
