// SPDX-License-Identifier: MIT OR Apache-2.0
//! A server under load: clients that join and leave at random, some that do not read, and a virtual machine.
//!
//! One thread joins and does nothing else, so that its times are the server's: each is stamped before it
//! connects and as soon as it has ID and memory, which is what QEMU waits for in its start-up. Then the client is
//! handed to one of a few threads that listen, check every message, and leave when told to.

mod client;
mod crowd;
pub mod priority;
mod process;
mod random;
pub mod records;
pub mod run;

use std::time::Duration;

use priority::Priority;

/// How long anything that should happen may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// The load.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Clients connected at a time, all kinds together.
    pub clients: usize,
    /// Vectors of each.
    pub vectors: u16,
    /// How long clients join and leave.
    pub duration: Duration,
    /// Clients that join each second, on average.
    pub rate: u32,
    /// Clients that do not read until the end.
    pub mute: usize,
    pub machine: Machine,
    /// Of the server and the thread that joins.
    pub priority: Priority,
    /// Start of the random numbers.
    pub seed: u64,
}

/// Whether there is a virtual machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    Qemu,
    None,
}
