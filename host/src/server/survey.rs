// SPDX-License-Identifier: MIT OR Apache-2.0
//! A look at everybody's doorbells and queue, in pieces, so that nobody has to wait for all of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use ivshmem::PeerId;

use super::client::Client;
use super::pending::{counters, Reading};
use super::queue::Vectors;

/// What one pass of the loop may cost, where a vector that is pending costs 1: about a millisecond.
const COST_EACH_PASS: usize = 128;

/// So many vectors that are not pending, all seen in one `poll`, cost as much.
const QUIET_VECTORS: usize = 16;

/// So many entries of a queue as well.
const QUEUE_ENTRIES: usize = 64;

/// A look that is under way at the clients there were when it began.
#[derive(Debug)]
pub(super) struct Survey {
    /// The client to be looked at next, or the first after it.
    next: PeerId,
    last: PeerId,
    /// A client of which some vectors have been looked at, and their counters.
    partial: Option<(Arc<Vectors>, Vec<u64>)>,
}

/// How far a survey is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    UnderWay,
    Done,
}

impl Survey {
    /// Begins a look at `clients`.
    pub(super) fn of(clients: &BTreeMap<PeerId, Client>) -> Self {
        Self {
            next: PeerId(0),
            last: clients.last_key_value().map_or(PeerId(0), |(&id, _)| id),
            partial: None,
        }
    }

    /// Looks at a few vectors more.
    pub(super) fn step(&mut self, clients: &mut BTreeMap<PeerId, Client>) -> Progress {
        let mut budget = COST_EACH_PASS;
        while budget > 0 {
            if self.next > self.last {
                return Progress::Done;
            }
            let Some((&id, client)) = clients.range_mut(self.next..=self.last).next() else {
                return Progress::Done;
            };
            budget = budget.saturating_sub(self.look(client, budget));
            if self.partial.is_some() {
                self.next = id;
                continue;
            }
            match id.0.checked_add(1) {
                Some(next) => self.next = PeerId(next),
                None => return Progress::Done,
            }
        }
        Progress::UnderWay
    }

    /// Looks at what `budget` allows of `client`, and returns what it has cost. What is left to see is in `partial` then.
    fn look(&mut self, client: &mut Client, budget: usize) -> usize {
        // Another client may have come to have this ID.
        let (of, mut counted) = self
            .partial
            .take()
            .filter(|(of, _)| Arc::ptr_eq(of, &client.vectors))
            .unwrap_or_else(|| (Arc::clone(&client.vectors), Vec::new()));
        let rest = of.eventfds.get(counted.len()..).unwrap_or_default();
        let piece = rest.get(..budget).unwrap_or(rest);
        let Some(more) = counters(piece) else {
            client.reading = None;
            client.waiting = None;
            return 1;
        };
        let pending = more.iter().filter(|&&count| count > 0).count();
        let cost = 1 + pending + piece.len() / QUIET_VECTORS;
        counted.extend(more);
        if counted.len() < of.eventfds.len() {
            self.partial = Some((of, counted));
            return cost;
        }
        let reading = Reading::new(&counted, client.reading.as_ref(), Instant::now());
        client.reading = Some(reading);
        client.waiting = Some(client.queue.waiting());
        cost + client.queue.entries() / QUEUE_ENTRIES
    }
}
