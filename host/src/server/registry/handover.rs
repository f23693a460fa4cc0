// SPDX-License-Identifier: MIT OR Apache-2.0
//! The clients on their way from one server to another.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use ivshmem::PeerId;

use super::Registry;
use crate::server::client::Client;
use crate::server::handover::{SavedClient, SavedRegistry};
use crate::server::ids::Ids;
use crate::server::ledger::Ledger;
use crate::server::queue::{Queue, Vectors};
use crate::server::turns::Turns;

impl Registry {
    /// Describes it. Everybody is told of everybody afterwards, if only in the queues.
    pub(in crate::server) fn save(&mut self) -> SavedRegistry {
        self.introduce();
        SavedRegistry {
            given: self.ids.given(),
            record: self.ids.ledger().record().clone(),
            counters: self.counters,
            clients: self.clients.values().map(save).collect(),
        }
    }

    /// Returns the descriptors of the clients, each of whose connection comes first, in the order of their IDs.
    pub(in crate::server) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.clients.values().flat_map(|client| {
            let vectors = client.vectors.eventfds.iter().map(AsFd::as_fd);
            std::iter::once(client.as_fd()).chain(vectors)
        })
    }

    /// Makes one of what another server has saved. It writes nothing down until [`Registry::record_in`]. Returns nothing if
    /// the parts do not fit each other.
    pub(in crate::server) fn restore(
        turns: Turns,
        memory: Arc<OwnedFd>,
        vectors: u16,
        limit: usize,
        saved: SavedRegistry,
        mut descriptors: impl Iterator<Item = OwnedFd>,
    ) -> Option<Self> {
        let ids = Ids::new(saved.given, Ledger::going_on(saved.record));
        let mut registry = Self::new(turns, memory, vectors, limit, ids);
        registry.counters = saved.counters;
        let mut sockets = Vec::with_capacity(saved.clients.len());
        let mut everybody = BTreeMap::new();
        for client in &saved.clients {
            let id = PeerId(client.id);
            sockets.push(descriptors.next()?);
            let eventfds = (0..vectors).map(|_| descriptors.next());
            let eventfds = eventfds.collect::<Option<Vec<_>>>()?;
            let twice = everybody.insert(id, Arc::new(Vectors { id, eventfds }));
            if twice.is_some() {
                return None;
            }
        }
        for (saved, socket) in saved.clients.into_iter().zip(sockets) {
            registry.restore_client(saved, socket, &everybody)?;
        }
        Some(registry)
    }

    fn restore_client(
        &mut self,
        saved: SavedClient,
        socket: OwnedFd,
        everybody: &BTreeMap<PeerId, Arc<Vectors>>,
    ) -> Option<()> {
        let id = PeerId(saved.id);
        let vectors = Arc::clone(everybody.get(&id)?);
        let queue = Queue::restore(saved.queue, &self.memory, everybody)?;
        self.turns.enter(id, &socket).ok()?;
        let mut client = Client::new(socket, saved.process, self.send_buffer, vectors, queue);
        client.connected_at = saved.connected_at;
        // Whether there is room for what it has to hear is found out by sending.
        self.turns.line_up(id, &mut client);
        self.clients.insert(id, client);
        Some(())
    }

    /// Has the IDs that are given out written down in `lock` from now on.
    pub(in crate::server) fn record_in(&mut self, lock: Option<Arc<OwnedFd>>) {
        self.ids.ledger_mut().record_in(lock);
    }
}

fn save(client: &Client) -> SavedClient {
    SavedClient {
        id: client.vectors.id.0,
        process: client.process.clone(),
        connected_at: client.connected_at,
        queue: client.queue.save(),
    }
}
