// SPDX-License-Identifier: MIT OR Apache-2.0
//! What one server tells another of itself, apart from descriptors.

use std::path::PathBuf;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::super::config::Config;
use super::super::ids::Given;
use super::super::ledger::Record;
use super::super::named_file::FileName;
use super::super::process::Process;
use super::super::queue::SavedQueue;
use crate::admin::Counters;

/// The number of this format. It is raised when a server of another version could not go on with what it is told. A new
/// field that has a default is no reason.
pub(super) const FORMAT: u32 = 1;

/// The part of any format that tells which it is.
#[derive(Debug, Deserialize)]
pub(super) struct Header {
    /// See [`FORMAT`].
    pub(super) format: u32,
}

/// A server at a moment between two messages.
///
/// Behind it come the descriptors, in the order of its fields: [`State::FIRST`], those of the listeners, and for each client its
/// connection and its vectors.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) format: u32,
    pub(super) config: Config,
    /// The file of the memory, if it is to go with the server.
    pub(super) memory_file: Option<FileName>,
    pub(super) started: SystemTime,
    pub(super) listener: SavedListener,
    /// Where callers come in.
    pub(super) entrances: Vec<SavedEntrance>,
    pub(super) registry: SavedRegistry,
}

impl State {
    /// Token and memory.
    pub(super) const FIRST: usize = 2;

    /// Returns how many descriptors belong to it.
    pub(super) fn descriptors(&self) -> usize {
        let each = 1 + usize::from(self.config.vectors);
        let entrances = self.entrances.iter().map(SavedEntrance::descriptors);
        let listeners = self.listener.descriptors() + entrances.sum::<usize>();
        Self::FIRST + listeners + self.registry.clients.len() * each
    }
}

/// A listening socket, apart from its descriptor and that of its lock, if it has one.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(in super::super) struct SavedListener {
    /// The socket's file, if it goes with the server.
    pub(in super::super) file: Option<FileName>,
    pub(in super::super) lock: Option<SavedLock>,
}

impl SavedListener {
    pub(super) fn descriptors(&self) -> usize {
        1 + usize::from(self.lock.is_some())
    }
}

/// Where callers come in, apart from the descriptors.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(in super::super) enum SavedEntrance {
    Unix(SavedListener),
    Tcp,
}

impl SavedEntrance {
    pub(super) fn descriptors(&self) -> usize {
        match self {
            Self::Unix(listener) => listener.descriptors(),
            Self::Tcp => 1,
        }
    }
}

/// The lock of a socket path.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(in super::super) struct SavedLock {
    pub(in super::super) path: PathBuf,
    /// What a server that was killed has left there.
    pub(in super::super) found: Option<Record>,
}

/// Who is connected, and what has happened so far.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(in super::super) struct SavedRegistry {
    pub(in super::super) given: Given,
    /// What stands in the lock file.
    pub(in super::super) record: Record,
    pub(in super::super) counters: Counters,
    /// By ascending ID.
    pub(in super::super) clients: Vec<SavedClient>,
}

/// A client.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(in super::super) struct SavedClient {
    pub(in super::super) id: u16,
    pub(in super::super) process: Process,
    pub(in super::super) connected_at: SystemTime,
    pub(in super::super) queue: SavedQueue,
}
