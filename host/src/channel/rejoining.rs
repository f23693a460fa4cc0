// SPDX-License-Identifier: MIT OR Apache-2.0
//! Joining the next server when one is gone, beside keeping the member alive: [`Rejoining`].

use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::Duration;

use crate::deadline::Deadline;
use crate::peer::{ConnectError, Joined, Peer, ReconnectError, CONNECT_LIMIT};

/// The pause between two attempts, at first and at most. An attempt where nobody listens costs two system calls.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));

/// Attempts, for as long as the member lives.
///
/// The handshake waits for the server, and the heart must not, so it is done in a thread of its own. That one ends by itself
/// within [`CONNECT_LIMIT`], also when nobody wants its result any more.
#[derive(Debug)]
pub(super) struct Rejoining {
    pause: Duration,
    next: Deadline,
    attempt: Option<Receiver<Result<Joined, ConnectError>>>,
}

impl Rejoining {
    pub(super) fn new() -> Self {
        Self {
            pause: PAUSES.0,
            next: Deadline::after(Duration::ZERO),
            attempt: None,
        }
    }

    /// Returns for how long nothing is to be done for `peer`.
    pub(super) fn rest(&self, peer: &Peer) -> Duration {
        if !peer.is_orphaned() {
            Duration::MAX
        } else if self.attempt.is_some() {
            PAUSES.0
        } else {
            self.next.remaining()
        }
    }

    /// Goes on with what `peer` needs, if its server is gone, without waiting.
    ///
    /// # Errors
    ///
    /// - [`ReconnectError::OtherMemory`]: the next server has other memory.
    pub(super) fn pursue(&mut self, peer: &mut Peer) -> Result<(), ReconnectError> {
        if !peer.is_orphaned() {
            return Ok(());
        }
        let attempt = self.attempt.as_ref().map(Receiver::try_recv);
        match attempt {
            Some(Err(TryRecvError::Empty)) => return Ok(()),
            Some(Ok(Ok(joined))) => {
                self.attempt = None;
                peer.adopt(joined)?;
                self.pause = PAUSES.0;
            }
            Some(Ok(Err(_)) | Err(TryRecvError::Disconnected)) => {
                self.attempt = None;
                self.put_off();
            }
            None if self.next.remaining().is_zero() => self.begin(peer),
            None => {}
        }
        Ok(())
    }

    fn begin(&mut self, peer: &Peer) {
        let Some(path) = peer.server_path().map(ToOwned::to_owned) else {
            return;
        };
        let (sender, attempt) = mpsc::channel();
        let thread = thread::Builder::new().name("ivshmem-rejoin".to_owned());
        let started = thread.spawn(move || {
            // Whoever has gone does not want it; the connection is closed with it.
            let _ = sender.send(Joined::at(&path, Deadline::after(CONNECT_LIMIT)));
        });
        match started {
            Ok(_) => self.attempt = Some(attempt),
            Err(_) => self.put_off(),
        }
    }

    fn put_off(&mut self) {
        self.next = Deadline::after(self.pause);
        self.pause = (2 * self.pause).min(PAUSES.1);
    }
}
