// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a server knows of one that was killed before it.

use std::fmt;

/// A server that ended without a word at the same socket.
///
/// Its clients, if any live, keep their memory and each other's eventfds and go on. This server can neither reach nor count
/// them; it gives out no ID that they may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Predecessor {
    /// The process that it was; `None` if that is not known.
    pub pid: Option<u32>,
    /// The first ID of this server: the clients of the one before may know all below.
    pub first_id: u16,
    /// What of the memory.
    pub memory: Inheritance,
}

/// Whether a server has the memory of the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inheritance {
    /// It is the same file: clients of before and of now share it, but cannot ring each other, but for
    /// [host peers](crate::peer::Peer::reconnect) that have joined both.
    Same,
    /// It is another: clients of before and of now have nothing to do with each other.
    New,
}

impl fmt::Display for Predecessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server before")?;
        if let Some(pid) = self.pid {
            write!(f, " (process {pid})")?;
        }
        write!(
            f,
            " ended without a word; its clients, if any live, cannot be reached and are not known here; IDs start at {}, \
             until the lock file is removed when all of them have ended; ",
            self.first_id
        )?;
        f.write_str(match self.memory {
            Inheritance::Same => {
                "the memory is the same file as before: restart those virtual machines whose doorbells are to reach the new ones"
            }
            Inheritance::New => {
                "the memory is a new one: restart the virtual machines that are to share it, and another time keep it in a file"
            }
        })
    }
}
