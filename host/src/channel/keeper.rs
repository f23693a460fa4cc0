// SPDX-License-Identifier: MIT OR Apache-2.0
//! The thread that keeps a member alive: [`Keeper`].

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{eventfd, EventfdFlags, PollFd, PollFlags};

use super::answering::Answering;
use super::options::address;
use super::pulse::Pulse;
use super::rejoining::Rejoining;
use super::seat::{Attachment, Seat};
use crate::deadline::Deadline;
use crate::eventfd as vector;
use crate::peer::Peer;

/// How many of the server's messages are taken in between two heartbeats at most.
const MESSAGES_PER_BEAT: usize = 64;

/// A thread that beats for a member and takes in what the server says. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Keeper {
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts the thread.
    pub(super) fn start(seat: Arc<Seat>, peer: Peer, pulse: Arc<Pulse>) -> io::Result<Self> {
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let told = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("ivshmem-member".to_owned())
            .spawn(move || {
                keep(&seat, peer, &told, &pulse);
                // The member has no slot any more, which all who are awake find out.
                pulse.wake();
            })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // The counter is this keeper's alone, and empty.
        let _ = vector::ring(&self.stop);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            debug_assert!(ended.is_ok(), "it does not panic");
        }
    }
}

/// Keeps the member alive until it is told to end or the member has lost its slot, and answers those who ping it.
fn keep(seat: &Seat, mut peer: Peer, stop: &OwnedFd, pulse: &Pulse) {
    let mut answering = Answering::new();
    let mut rejoining = Rejoining::new();
    let mut next_beat = Deadline::after(Duration::ZERO);
    loop {
        // However often pings wake it, the heart beats by the clock.
        if next_beat.remaining().is_zero() {
            if seat.look().is_err() {
                return;
            }
            pulse.beat();
            if peer.relieve() {
                // Somebody who is about to sleep may have counted on them.
                pulse.wake();
            }
            next_beat = Deadline::after(pulse.interval());
        }
        if rejoining.pursue(&mut peer).is_err() {
            seat.set_attachment(Attachment::Superseded);
            seat.leave();
            return;
        }
        follow(seat, &peer);
        let rest = next_beat.remaining().min(rejoining.rest(&peer));
        let rest = answering.answer(seat, rest);
        let server = peer.server_fd();
        let mut fds = vec![PollFd::new(stop, PollFlags::IN)];
        fds.extend(server.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        fds.extend(answering.fds());
        if Deadline::after(rest).poll(&mut fds).is_err() {
            // Without memory for it, say: the heart has to beat all the same.
            thread::sleep(pulse.interval());
        }
        if fds.first().is_some_and(|fd| !fd.revents().is_empty()) {
            return;
        }
        for _ in 0..MESSAGES_PER_BEAT {
            // An error ends the connection: from then on there is no descriptor, and memory and vectors go on.
            match peer.next_event(Duration::ZERO) {
                // Who joins the server joins the region next.
                Ok(Some(_)) => next_beat = Deadline::after(Duration::ZERO),
                _ => break,
            }
        }
    }
}

/// Takes in how it stands with the server, and where the peer is rung.
fn follow(seat: &Seat, peer: &Peer) {
    if peer.is_orphaned() {
        seat.set_attachment(Attachment::Orphaned);
    } else if let Some(id) = peer.id() {
        seat.move_to(address(peer));
        seat.set_attachment(Attachment::Joined(id));
    }
}
