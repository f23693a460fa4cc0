// SPDX-License-Identifier: MIT OR Apache-2.0
//! When what became of each client, by ID.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// The number of IDs that a server gives out.
const IDS: usize = 1 << 15;

/// Moments in nanoseconds; 0 is one that has not come.
#[derive(Debug, Default)]
struct Row {
    connecting: AtomicU64,
    admitted: AtomicU64,
    greeted: AtomicU64,
    told: AtomicU64,
}

/// The moments of all clients.
#[derive(Debug)]
pub struct Records {
    start: Instant,
    rows: Vec<Row>,
}

/// Times in nanoseconds, ascending.
#[derive(Debug, Default)]
pub struct Delays {
    /// From the attempt to connect to ID and memory.
    pub admit: Vec<u64>,
    /// To the last of the own vectors.
    pub greeting: Vec<u64>,
    /// Until all others that were there and read know the newcomer.
    pub told: Vec<u64>,
}

impl Records {
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            rows: (0..IDS).map(|_| Row::default()).collect(),
        }
    }

    /// Returns the present moment.
    pub fn now(&self) -> u64 {
        // Until 584 years after the start.
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX) + 1
    }

    /// Notes that `id` was admitted now, after it had tried to connect at `connecting`.
    pub fn admitted(&self, id: u16, connecting: u64) {
        if let Some(row) = self.rows.get(usize::from(id)) {
            row.admitted.store(self.now(), Ordering::Relaxed);
            row.connecting.store(connecting, Ordering::Relaxed);
        }
    }

    /// Notes that `listener` has heard of all vectors of `peer` now.
    pub fn heard(&self, listener: u16, peer: u16) {
        let Some(row) = self.rows.get(usize::from(peer)) else {
            return;
        };
        // Those who came later hear of those before, which is part of their own greeting.
        match listener.cmp(&peer) {
            std::cmp::Ordering::Less => row.told.fetch_max(self.now(), Ordering::Relaxed),
            std::cmp::Ordering::Equal => row.greeted.fetch_max(self.now(), Ordering::Relaxed),
            std::cmp::Ordering::Greater => 0,
        };
    }

    /// Returns the times of those who tried to connect between two moments.
    pub fn delays(&self, from: u64, to: u64) -> Delays {
        let mut delays = Delays::default();
        for row in &self.rows {
            let connecting = row.connecting.load(Ordering::Relaxed);
            if !(from..to).contains(&connecting) || connecting == 0 {
                continue;
            }
            let after = |moment: &AtomicU64| moment.load(Ordering::Relaxed).checked_sub(connecting);
            delays.admit.extend(after(&row.admitted));
            delays.greeting.extend(after(&row.greeted));
            delays.told.extend(after(&row.told));
        }
        delays.admit.sort_unstable();
        delays.greeting.sort_unstable();
        delays.told.sort_unstable();
        delays
    }
}
