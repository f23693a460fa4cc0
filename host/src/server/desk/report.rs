// SPDX-License-Identifier: MIT OR Apache-2.0
//! The server's status, put together.

use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ivshmem::PeerId;

use super::super::client::Client;
use super::super::memory::posix_path;
use super::super::pending::Reading;
use super::super::{Backing, LimitSource};
use super::request::json;
use super::Subject;
use crate::admin::{Clients, Doorbells, Ids, Memory, Peer, Status, FORMAT};

/// The status in all its forms, each made once, for whoever asks first.
#[derive(Debug)]
pub(super) struct Documents {
    status: Status,
    json: Option<Arc<[u8]>>,
    metrics: Option<Arc<[u8]>>,
}

impl Documents {
    pub(super) fn new(status: Status) -> Self {
        Self {
            status,
            json: None,
            metrics: None,
        }
    }

    /// Returns the status as JSON.
    pub(super) fn status(&mut self) -> Arc<[u8]> {
        let json = self.json.get_or_insert_with(|| json(&self.status).into());
        Arc::clone(json)
    }

    /// Returns the metrics.
    pub(super) fn metrics(&mut self) -> Arc<[u8]> {
        let metrics = self
            .metrics
            .get_or_insert_with(|| self.status.to_prometheus().into_bytes().into());
        Arc::clone(metrics)
    }
}

/// Returns the status as it is now, with the doorbells as they were when last looked at.
pub(super) fn status(subject: &Subject<'_>) -> Status {
    let registry = &*subject.registry;
    let config = subject.config;
    let now = Instant::now();
    let peers: Vec<Peer> = registry
        .clients()
        .map(|(id, client)| peer(id, client, now))
        .collect();
    Status {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        started_unix_seconds: unix_seconds(subject.birth.at),
        uptime_seconds: now.duration_since(subject.birth.since).as_secs(),
        socket: text(&config.socket),
        memory: memory(&config.backing, config.size_bytes),
        vectors_per_client: config.vectors,
        clients: Clients {
            connected: peers.len(),
            limit: subject.client_limit.clients,
            limited_by: match subject.client_limit.source {
                LimitSource::Config => "config",
                LimitSource::Descriptors { .. } => "open_files",
                LimitSource::Program => "program",
            }
            .to_owned(),
            open_files_limit: match subject.client_limit.source {
                LimitSource::Descriptors { limit } => Some(limit),
                LimitSource::Config | LimitSource::Program => None,
            },
        },
        ids: Ids {
            next: registry.ids().next().map(|id| id.0),
            remaining: registry.ids().remaining(),
        },
        peers,
        counters: registry.counters(),
    }
}

fn memory(backing: &Backing, bytes: u64) -> Memory {
    let (kind, path) = match backing {
        Backing::Memfd => ("memfd", None),
        Backing::HugePages(_) => ("huge_pages", None),
        Backing::File(path) => ("file", Some(text(path))),
        Backing::Posix(name) => ("posix", Some(text(&posix_path(name)))),
        Backing::Unlinked(folder) => ("unlinked", Some(text(folder))),
    };
    Memory {
        bytes,
        backing: kind.to_owned(),
        path,
        description: backing.to_string(),
    }
}

fn peer(id: PeerId, client: &Client, now: Instant) -> Peer {
    Peer {
        id: id.0,
        vectors: u16::try_from(client.vectors.eventfds.len()).unwrap_or(u16::MAX),
        connected_unix_seconds: unix_seconds(client.connected_at),
        pid: client.process.pid,
        uid: client.process.uid,
        process: client.process.name.clone(),
        messages_queued: client.waiting.unwrap_or_else(|| client.queue.waiting()),
        messages_sent: client.queue.sent(),
        doorbells: client
            .reading
            .as_ref()
            .map(|reading| doorbells(reading, now)),
    }
}

fn doorbells(reading: &Reading, now: Instant) -> Doorbells {
    Doorbells {
        pending: reading.counters().fold(0, u64::saturating_add),
        vectors: reading.counters().collect(),
        untaken_seconds: reading
            .untaken_since()
            .map(|since| now.duration_since(since).as_secs()),
    }
}

/// Returns `path` as text, with substitutes for what is none.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
