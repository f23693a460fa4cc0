// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client that takes what comes, checks it, and keeps nothing.

use std::error::Error;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::super::receive::receive;
use super::super::witness::{Heard, Witness};
use super::records::Records;
use super::LIMIT;

/// The most messages that a client takes before the next has its turn.
const TURN: usize = 64;

/// Messages to ID and memory.
pub const GREETING: u64 = 3;

/// A connected client.
#[derive(Debug)]
pub struct Client {
    socket: UnixStream,
    witness: Witness,
    id: Option<u16>,
}

impl Client {
    /// Connects, without listening yet.
    pub fn connect(socket: &Path, vectors: u16) -> Result<Self, Box<dyn Error>> {
        let socket = UnixStream::connect(socket)?;
        socket.set_read_timeout(Some(LIMIT))?;
        Ok(Self {
            socket,
            witness: Witness::new(vectors),
            id: None,
        })
    }

    /// Joins as QEMU does: connects and waits for ID and memory. Notes how long that took.
    pub fn join(socket: &Path, vectors: u16, records: &Records) -> Result<Self, Box<dyn Error>> {
        let connecting = records.now();
        let mut client = Self::connect(socket, vectors)?;
        client.hear_next(GREETING)?;
        let id = client.id.ok_or("a greeting without an ID")?;
        records.admitted(id, connecting);
        Ok(client)
    }

    /// Waits for so many messages.
    pub fn hear_next(&mut self, messages: u64) -> Result<(), Box<dyn Error>> {
        for _ in 0..messages {
            if self.hear(RecvFlags::empty())?.is_none() {
                return Err(format!("client {:?}: no message in time", self.id).into());
            }
        }
        Ok(())
    }

    /// Takes the next message.
    fn hear(&mut self, flags: RecvFlags) -> Result<Option<Heard>, Box<dyn Error>> {
        match receive(&self.socket, flags) {
            Ok(Some((number, attached))) => {
                let heard = self.witness.hear(number, attached);
                let heard = heard.map_err(|breach| format!("client {:?}: {breach}", self.id))?;
                if let Heard::OwnId(id) = heard {
                    self.id = Some(id);
                }
                Ok(Some(heard))
            }
            Ok(None) => Err(format!("the server has left client {:?}", self.id).into()),
            Err(Errno::AGAIN) => Ok(None),
            Err(error) => Err(format!("client {:?}: {error}", self.id).into()),
        }
    }

    /// Takes what has come, up to a limit, and notes who is known from now on.
    pub fn listen(&mut self, records: &Records) -> Result<(), Box<dyn Error>> {
        for _ in 0..TURN {
            match (self.hear(RecvFlags::DONTWAIT)?, self.id) {
                (None, _) => break,
                (Some(Heard::Joined(peer)), Some(id)) => records.heard(id, peer),
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns whether it knows `clients` clients, itself included, and all about each.
    pub fn knows(&self, clients: usize) -> bool {
        self.witness.joined() == clients && self.witness.incomplete() == 0
    }

    /// Returns what it knows, for a message.
    pub fn knowledge(&self) -> String {
        let (joined, incomplete) = (self.witness.joined(), self.witness.incomplete());
        format!(
            "client {:?} knows {joined}, {incomplete} of them in part",
            self.id
        )
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
