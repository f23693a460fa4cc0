// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a server is: the document that it answers `status` with.
//!
//! The names of the fields are those in JSON. Fields may be added without a new [`FORMAT`]; what a
//! field means only changes with it. `null` (`None`) is what the kernel does not tell.

use serde::{Deserialize, Serialize};

/// The version of the document, its field `format`.
pub const FORMAT: u32 = 1;

/// How a server is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// Version of this document: [`FORMAT`].
    pub format: u32,
    /// Version of the server's program, such as "0.1.0".
    pub version: String,
    /// The server's process.
    pub pid: u32,
    /// When the server started, in seconds since 1970 (UTC).
    pub started_unix_seconds: u64,
    /// For how many seconds the server has been running.
    pub uptime_seconds: u64,
    /// Path of the socket that clients connect to, as it was given to the server.
    pub socket: String,
    /// The shared memory.
    pub memory: Memory,
    /// Interrupt vectors of each client.
    pub vectors_per_client: u16,
    /// The number of clients.
    pub clients: Clients,
    /// The IDs.
    pub ids: Ids,
    /// Everyone who is connected, by ascending ID.
    pub peers: Vec<Peer>,
    /// What has happened since the start.
    pub counters: Counters,
}

/// The shared memory of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Memory {
    /// Its size in bytes.
    pub bytes: u64,
    /// What holds it: `memfd`, an anonymous file; `huge_pages`, the same of huge pages; `file`, one with a path; `posix`, a
    /// POSIX shared memory object; `unlinked`, a file without a name. There may be others in time.
    pub backing: String,
    /// Path of the file or of the object (`/dev/shm/NAME`), or of the folder of a file without a name.
    pub path: Option<String>,
    /// The same for people, such as "a sealed memfd of huge pages of 2M".
    pub description: String,
}

/// The number of clients of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Clients {
    /// Connected now.
    pub connected: usize,
    /// The most that can be connected at once.
    pub limit: usize,
    /// What the limit comes from: `config`, it was asked for; `open_files`, the descriptors of the process; `program`, the
    /// most that it serves. There may be others in time.
    pub limited_by: String,
    /// How many files the server may have open (`RLIMIT_NOFILE`), if that limits the clients.
    pub open_files_limit: Option<u64>,
}

/// The IDs of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Ids {
    /// The ID of the next client; `None` once all have been used.
    pub next: Option<u16>,
    /// How many are left.
    pub remaining: u16,
}

/// One client of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Peer {
    /// Its ID.
    pub id: u16,
    /// Its interrupt vectors.
    pub vectors: u16,
    /// When it connected, in seconds since 1970 (UTC).
    pub connected_unix_seconds: u64,
    /// The process that connected; `None` if it is of another PID namespace.
    pub pid: Option<i32>,
    /// The user that the process was.
    pub uid: Option<u32>,
    /// The name of the process when it connected (`/proc/PID/comm`). It chose that itself: any text.
    pub process: Option<String>,
    /// Messages of the server that it has still to be sent. Above zero for long: it does not read.
    pub messages_queued: usize,
    /// Messages that the server has sent it.
    pub messages_sent: u64,
    /// Its doorbells; `None` where the kernel does not tell, or if it connected during the look.
    pub doorbells: Option<Doorbells>,
}

/// The doorbells of a client that have been rung and not been taken.
///
/// This is all of the doorbells that a server can see: rings go from peer to peer, and one that has been taken has left no
/// trace. So a client whose rings are taken at once shows none, however often it is rung. A ring that stays means that
/// the client does not take its interrupts: it hangs, is stopped, has the vector masked, or polls the memory
/// and does not need them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Doorbells {
    /// Rings that have not been taken, of all vectors.
    pub pending: u64,
    /// The same of each vector.
    pub vectors: Vec<u64>,
    /// For how many seconds some vector has been pending at each look, its counter never falling; `None` if nothing is
    /// pending. The server only looks when it is asked, for its status or its metrics.
    pub untaken_seconds: Option<u64>,
}

/// What has happened since a server started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Counters {
    /// Clients that joined.
    pub joined: u64,
    /// Clients that closed their connection or died.
    pub left: u64,
    /// Clients that the server cut off.
    pub cut_off: CutOff,
    /// Clients that were turned away.
    pub refused: Refused,
    /// Messages sent to clients.
    pub messages_sent: u64,
    /// Attempts to accept a connection that failed; the connection waits, and each further attempt counts.
    pub accept_failures: u64,
}

/// Clients that were cut off, by their fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CutOff {
    /// It sent something, which the protocol does not allow.
    pub spoke: u64,
    /// Its connection failed.
    pub connection: u64,
}

/// Clients that were turned away, by the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Refused {
    /// As many clients as the limit allows were connected.
    pub full: u64,
    /// Every ID had been used.
    pub no_id_left: u64,
    /// The system had no eventfd for it, or nothing to watch its connection with.
    pub system: u64,
}

impl CutOff {
    /// Returns how many were cut off.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.spoke.saturating_add(self.connection)
    }
}

impl Refused {
    /// Returns how many were turned away.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.full
            .saturating_add(self.no_id_left)
            .saturating_add(self.system)
    }
}
