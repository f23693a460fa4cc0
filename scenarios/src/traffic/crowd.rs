// SPDX-License-Identifier: MIT OR Apache-2.0
//! A member that exchanges checked messages with everybody there is: [`mingle`].
//!
//! | line | when |
//! | --- | --- |
//! | `@ refused REASON` | it cannot join; once for each reason |
//! | `@ joined slot=N incarnation=N` | it has joined |
//! | `@ event kind=KIND peer=NAME slot=N incarnation=N` | something has happened to another |
//! | `@ progress peer=NAME incarnation=N sent=N received=N` | messages came, now and then |
//! | `@ broken peer=NAME incarnation=N sent=N received=N error=ERROR` | a connection has come to its end |
//! | `@ forged peer=NAME incarnation=N sent=N received=N reason=REASON` | the same, by a message that was not the next one |
//! | `@ evicted` | it has lost its slot, and joins again |

use core::fmt::Write;
use core::ops::ControlFlow;

use arrayvec::ArrayString;
use ivshmem::channel::{Event, EventKind, Evicted, Format, Name, Region, SlotIndex, Wait};
use ivshmem::SharedMemory;

use super::link::{End, Link};
use crate::party::{Party, Side};
use crate::Failure;

/// Others that a crowd's member talks to, by slot.
const MAX_LINKS: usize = 8;

/// The time between two tellings of progress.
const TELL_NS: u64 = 100_000_000;

/// The time between two attempts to join.
const RETRY_NS: u64 = 20_000_000;

/// How many calls may pass until a connection tells that it is over.
const LAST_CALLS: u32 = 1000;

/// Joins under `name`, again and again if it is evicted, and talks with everybody, until `each` says that it is enough. `each`
/// is called between steps and attempts to join, with the party while there is one.
///
/// A region that is blank is formatted as `format` says.
///
/// # Errors
///
/// - What `each` returns, or the side wants to end.
pub fn mingle<'m, S: Side + Copy>(
    memory: SharedMemory<'m>,
    format: &Format,
    side: S,
    name: Name,
    mut each: impl FnMut(Option<&Party<'m, S>>) -> Result<ControlFlow<()>, Failure>,
) -> Result<(), Failure> {
    let mut told = ArrayString::<128>::new();
    while each(None)?.is_continue() {
        side.check()?;
        let region = Region::open_or_format(memory, format).map_err(Failure::from);
        match region.and_then(|region| Party::join(region, side, name)) {
            Ok(party) => {
                side.show(format_args!(
                    "@ joined slot={} incarnation={}",
                    party.member().slot(),
                    party.member().incarnation()
                ));
                told.clear();
                let mut crowd = Crowd::new(party);
                if crowd.stay(&mut each)?.is_break() {
                    crowd.party.leave();
                    return Ok(());
                }
                side.show(format_args!("@ evicted"));
            }
            Err(refusal) => {
                if told.as_str() != refusal.as_str() {
                    side.show(format_args!("@ refused {}", refusal.as_str()));
                    told.clear();
                    // Failures are shorter than this.
                    let _ = told.write_str(refusal.as_str());
                }
                side.sleep(side.doorbells(), side.now_ns() + RETRY_NS)?;
            }
        }
    }
    Ok(())
}

/// One stay in the region.
struct Crowd<'m, S: Side> {
    party: Party<'m, S>,
    links: [Option<Link<'m, S::Bell>>; MAX_LINKS],
    tell_ns: u64,
}

impl<'m, S: Side> Crowd<'m, S> {
    const fn new(party: Party<'m, S>) -> Self {
        Self {
            party,
            links: [const { None }; MAX_LINKS],
            tell_ns: 0,
        }
    }

    /// Talks until it is enough, or this member is evicted.
    fn stay(
        &mut self,
        each: &mut impl FnMut(Option<&Party<'m, S>>) -> Result<ControlFlow<()>, Failure>,
    ) -> Result<ControlFlow<()>, Failure> {
        loop {
            self.party.side.check()?;
            let heard = self.party.side.doorbells();
            if self.party.side.now_ns() >= self.party.beat_ns() && self.greet().is_err() {
                return Ok(ControlFlow::Continue(()));
            }
            let moved = self.exchange();
            self.tell();
            if each(Some(&self.party))?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            let wait = match moved {
                0 => self.arm(),
                _ => Wait::Ready,
            };
            self.party.rest(wait, heard)?;
        }
    }

    /// Shows that this member lives, and takes in what has happened to others.
    fn greet(&mut self) -> Result<(), Evicted> {
        while let Some(event) = self.party.poll_event()? {
            self.party.side.show(format_args!(
                "@ event kind={:?} peer={} slot={} incarnation={}",
                event.kind, event.name, event.slot, event.incarnation
            ));
            match event.kind {
                EventKind::Joined | EventKind::Restarted => self.connect(&event),
                EventKind::Left => self.part(event.slot),
                // Until somebody takes its slot the connection is just silent, and it may come to life again.
                EventKind::Died => {}
            }
        }
        Ok(())
    }

    fn connect(&mut self, event: &Event) {
        let link = self.links.get(usize::from(event.slot.0));
        let link = link.and_then(Option::as_ref);
        if link.is_some_and(|link| link.incarnation() == event.incarnation) {
            return;
        }
        self.part(event.slot);
        match self.party.connect(event.slot) {
            Ok(endpoint) => {
                let member = self.party.member();
                let own = (member.slot(), member.incarnation());
                if let Some(place) = self.links.get_mut(usize::from(event.slot.0)) {
                    *place = Some(Link::new(own, event.slot, event.name, endpoint));
                }
            }
            Err(failure) => self.party.side.show(format_args!(
                "@ unconnected peer={} reason={}",
                event.name,
                failure.as_str()
            )),
        }
    }

    /// Receives what the other has left behind, and has the connection tell that it is over.
    fn part(&mut self, slot: SlotIndex) {
        let Some(place) = self.links.get_mut(usize::from(slot.0)) else {
            return;
        };
        if let Some(mut link) = place.take() {
            let end = (0..LAST_CALLS).find_map(|_| link.exchange().err());
            show_end(&self.party.side, &link, end);
        }
    }

    /// Exchanges messages with everybody, and returns how many.
    fn exchange(&mut self) -> u64 {
        let mut moved = 0;
        for place in &mut self.links {
            let Some(link) = place else { continue };
            match link.exchange() {
                Ok(messages) => moved += messages,
                Err(end) => {
                    show_end(&self.party.side, link, Some(end));
                    *place = None;
                }
            }
        }
        moved
    }

    /// Asks to be woken by anybody, and returns how long to wait.
    fn arm(&mut self) -> Wait {
        let links = self.links.iter_mut().flatten();
        // One that is broken says so at the next exchange.
        let waits = links.map(|link| link.arm().unwrap_or(Wait::Ready));
        waits.fold(Wait::UntilRung, Wait::sooner)
    }

    /// Tells of progress, if it is time to.
    fn tell(&mut self) {
        let now_ns = self.party.side.now_ns();
        if now_ns < self.tell_ns {
            return;
        }
        self.tell_ns = now_ns + TELL_NS;
        for link in self.links.iter_mut().flatten() {
            if link.has_news() {
                self.party.side.show(format_args!("@ progress {link}"));
            }
        }
    }
}

fn show_end<B, S: Side>(side: &S, link: &Link<'_, B>, end: Option<End>) {
    match end {
        Some(End::Broken(broken)) => side.show(format_args!("@ broken {link} error={broken:?}")),
        Some(End::Forged(failure)) => {
            side.show(format_args!("@ forged {link} reason={}", failure.as_str()));
        }
        None => side.show(format_args!("@ broken {link} error=none")),
    }
}
