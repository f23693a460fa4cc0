// SPDX-License-Identifier: MIT OR Apache-2.0
//! The end of a server: everybody is told that everybody else has left.

use std::collections::BTreeSet;
use std::time::Duration;

use ivshmem::PeerId;
use rustix::event::epoll::EventFlags;
use rustix::event::{PollFd, PollFlags};

use super::Registry;
use crate::deadline::Deadline;
use crate::server::turns::RETRY_INTERVAL;

impl Registry {
    /// Tells every client that every other has left, for at most `limit`, and closes all connections.
    pub(in crate::server) fn dismiss(mut self, limit: Duration) {
        self.introduce();
        let everybody: BTreeSet<PeerId> = self.peers().collect();
        for (&peer, client) in &mut self.clients {
            let mut others = everybody.clone();
            others.remove(&peer);
            client.queue.withdraw_all(others);
            self.turns.line_up(peer, client);
        }
        self.clients.retain(|_, client| !client.queue.is_empty());
        let deadline = Deadline::after(limit);
        while !self.clients.is_empty() && !deadline.remaining().is_zero() {
            let Some(peer) = self.turns.next() else {
                if self.await_room(deadline).is_err() {
                    return;
                }
                continue;
            };
            let is_done = self.turn(peer).is_err();
            // From here on those who leave are no news.
            if is_done
                || self
                    .clients
                    .get(&peer)
                    .is_some_and(|client| client.queue.is_empty())
            {
                self.clients.remove(&peer);
            }
        }
    }

    /// Waits until somebody can be told of the end, or is gone.
    fn await_room(&mut self, deadline: Deadline) -> rustix::io::Result<()> {
        let limit = deadline.remaining().min(RETRY_INTERVAL);
        Deadline::after(limit).poll(&mut [PollFd::new(&self.turns, PollFlags::IN)])?;
        for (peer, events) in self.turns.events()? {
            let Some(client) = self.clients.get_mut(&peer) else {
                continue;
            };
            if client.notice(events).is_err() {
                self.clients.remove(&peer);
            } else if events.contains(EventFlags::OUT) {
                self.turns.resume(peer, client);
            }
        }
        self.retry();
        Ok(())
    }
}
