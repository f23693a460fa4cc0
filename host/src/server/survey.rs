// SPDX-License-Identifier: MIT OR Apache-2.0
//! A look at everybody's doorbells, in pieces, so that nobody has to wait for all of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use ivshmem::PeerId;

use super::client::Client;
use super::pending::{counters, Reading};
use super::queue::Vectors;

/// Vectors looked at in one pass of the loop: about a millisecond if all of them are pending.
const VECTORS_EACH_PASS: usize = 128;

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
        let mut budget = VECTORS_EACH_PASS;
        while budget > 0 {
            if self.next > self.last {
                return Progress::Done;
            }
            let Some((&id, client)) = clients.range_mut(self.next..=self.last).next() else {
                return Progress::Done;
            };
            // Another client may have come to have this ID.
            let (of, mut counted) = self
                .partial
                .take()
                .filter(|(of, _)| Arc::ptr_eq(of, &client.vectors))
                .unwrap_or_else(|| (Arc::clone(&client.vectors), Vec::new()));
            let rest = of.eventfds.get(counted.len()..).unwrap_or_default();
            let piece = rest.get(..budget).unwrap_or(rest);
            // A client counts as one vector even if it has none.
            budget -= piece.len().max(1);
            let whole = piece.len() == rest.len();
            match counters(piece) {
                Some(more) => counted.extend(more),
                None => counted.clear(),
            }
            if counted.is_empty() {
                client.reading = None;
            } else if whole {
                let reading = Reading::new(&counted, client.reading.as_ref(), Instant::now());
                client.reading = Some(reading);
            } else {
                self.partial = Some((of, counted));
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
}
