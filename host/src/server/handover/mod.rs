// SPDX-License-Identifier: MIT OR Apache-2.0
//! Handing a running server over to another process, of which no client notices anything.
//!
//! The new process asks at the admin socket of the running one (request `handover`), as the same user or as root. From then
//! on the running one does not serve; both have a few seconds. It gives:
//!
//! | what | answer |
//! | --- | --- |
//! | `IVSHMHO1`, the length of the state (64 bits, little-endian), the [`State`](state::State) as JSON | *next* |
//! | one byte with up to 253 descriptors, until all are there | *next*, for the last *taken* |
//! | the end of the connection | |
//!
//! An answer is one byte, and any [`Objection`] is one too. Batches are answered one by one, because the kernel limits how
//! many descriptors of a user may be under way.
//!
//! # Who serves
//!
//! Each client's connection is open in two processes, and exactly one may speak on it, whatever is killed or stopped
//! at whatever moment. Messages cannot decide that, since neither side knows whether its last one has arrived. So the first
//! descriptor is a *token*: an eventfd with the count 1. Who takes it, which only one can, serves.
//!
//! - The new process takes the token when it has everything, and finds that the old one has gone on if it is not there.
//! - The old process takes it when its time is over; if it is not there, it waits for the new one's word.
//! - A connection that ends means that the other process is dead or has given up. The old one goes on then, whoever has the
//!   token: the new one speaks to no client before the old one's end of the connection is closed, or it has said *serving*.
//! - If the old one dies before, the new one goes on, as soon as it has everything.

mod error;
mod give;
mod state;
mod take;
mod wire;

use std::time::Duration;

pub use error::{HandoverError, Objection, TakeOverError};
pub(super) use state::{SavedClient, SavedEntrance, SavedListener, SavedLock, SavedRegistry};

/// What the running server sends first.
const MAGIC: [u8; 8] = *b"IVSHMHO1";

/// How long a handover may take. The running server does not serve meanwhile.
const LIMIT: Duration = Duration::from_secs(5);

/// The longest state that is accepted, in bytes: far above that of as many clients as there can be.
const MAX_STATE_LEN: u64 = 256 << 20;

/// Answers of the new process; others are objections.
mod answer {
    /// It waits for more.
    pub(super) const NEXT: u8 = 0;
    /// It has the token.
    pub(super) const TAKEN: u8 = 1;
    /// It serves.
    pub(super) const SERVING: u8 = 2;
}
