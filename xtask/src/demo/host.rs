// SPDX-License-Identifier: MIT OR Apache-2.0
//! This process as a party of the demo.

use std::fmt;
use std::hint;
use std::time::{Duration, Instant};

use ivshmem::{PeerId, VectorIndex};
use ivshmem_host::peer::Peer;
use ivshmem_scenarios::demo::{meet, Link, Mailbox, Role, Side, Wait};
use ivshmem_scenarios::Failure;

use super::interrupt::Interrupt;

/// How long a guest may take to answer.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// How often memory is looked at while asleep, and an interrupt noticed.
const GLANCE: Duration = Duration::from_millis(50);
/// Looks at the memory between two looks at the clock.
const SPINS: u32 = 1024;
/// The vector that announces messages.
const VECTOR: VectorIndex = VectorIndex(0);

/// The host process in a conversation with one guest.
pub struct HostSide<'p> {
    peer: &'p Peer,
    other: PeerId,
    interrupt: &'p Interrupt,
    start: Instant,
    doorbells: u64,
    /// Lines to be shown by [`HostSide::flush`].
    shown: Vec<String>,
}

impl<'p> HostSide<'p> {
    /// Waits until the guest in role `other` is there, and returns the conversation with it.
    pub fn connect(
        peer: &'p Peer,
        other: Role,
        interrupt: &'p Interrupt,
    ) -> Result<Link<'p, Self>, Failure> {
        let memory = peer.memory();
        let own = Role::Host;
        let mut present = meet(&memory, (own, peer.id()), other)?;
        let mut side = Self {
            peer,
            other: peer.id(),
            interrupt,
            start: Instant::now(),
            doorbells: 0,
            shown: Vec::new(),
        };
        let mut found = None;
        side.wait(Wait::Doorbell, &mut || {
            found = present();
            found.is_some()
        })?;
        side.other = found.ok_or("the guest left again")?;
        Ok(Link {
            side,
            mailbox: Mailbox::new(&memory, own, other)?,
            own,
            other,
        })
    }

    /// Prints what there is to show.
    pub fn flush(&mut self) {
        for line in self.shown.drain(..) {
            println!("{line}");
        }
    }

    fn check(&self, deadline: Instant) -> Result<(), Failure> {
        if self.interrupt.came() {
            return Err(Failure::from("interrupted"));
        }
        if Instant::now() >= deadline {
            return Err(Failure::from("the guest does not answer the host"));
        }
        Ok(())
    }
}

impl Side for HostSide<'_> {
    fn wait(&mut self, how: Wait, condition: &mut dyn FnMut() -> bool) -> Result<(), Failure> {
        let deadline = Instant::now() + TIME_LIMIT;
        while !condition() {
            self.check(deadline)?;
            match how {
                Wait::Doorbell => {
                    if self.peer.wait(VECTOR, GLANCE)? {
                        self.doorbells += 1;
                    }
                }
                Wait::Polling => {
                    for _ in 0..SPINS {
                        if condition() {
                            return Ok(());
                        }
                        hint::spin_loop();
                    }
                }
            }
        }
        Ok(())
    }

    fn ring(&mut self) -> Result<(), Failure> {
        Ok(self.peer.ring(self.other, VECTOR)?)
    }

    fn doorbells(&mut self) -> u64 {
        self.doorbells
    }

    fn now_ns(&mut self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn show(&mut self, line: fmt::Arguments<'_>) {
        self.shown.push(line.to_string());
    }
}
