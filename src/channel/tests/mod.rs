// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests of regions and membership, operation by operation.

extern crate std;

mod crash;
mod guide;
mod hostile;
mod interleave;
mod islands;
mod orderings;
pub(super) mod stepped;

use core::task::Poll;
use std::vec::Vec;

use super::join::Candidate;
use super::member::Seat;
use super::region::{open_or_format, Format, Table};
use super::words::Words;
use super::{Event, EventKind, Introduction, JoinError, Name};
use stepped::LEN;

/// Ticks for which all members of these tests have patience.
const LIMIT: u64 = 100;
/// Ticks between two polls.
const STEP: u64 = 20;

fn introduction(name: &str) -> Introduction {
    Introduction {
        name: Name::new(name),
        device: None,
        vectors: 0,
        limit: LIMIT,
    }
}

const fn format(slots: u16) -> Format {
    Format {
        slots,
        ring_log2: None,
    }
}

/// Opens the region, which it formats if need be.
fn table<W: Words>(words: &W, slots: u16) -> Table<W> {
    let geometry = open_or_format(words, LEN, &format(slots)).expect("a region to open");
    Table {
        words: words.clone(),
        geometry,
    }
}

/// Joins at `now`, and returns when that was done.
fn join<W: Words>(table: &Table<W>, name: &str, mut now: u64) -> Result<(Seat, u64), JoinError> {
    let mut candidate = Candidate::new(introduction(name));
    let end = now + 3 * LIMIT;
    while now < end {
        match candidate.poll(table, now) {
            Poll::Ready(Ok(seat)) => return Ok((seat, now)),
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => now += STEP,
        }
    }
    panic!("{name} waits without end")
}

/// Takes all events of a round.
fn round<W: Words>(seat: &mut Seat, table: &Table<W>, now: u64) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(event) = seat
        .poll_event(table, now)
        .expect("an observer that is not evicted")
    {
        events.push(event);
    }
    events
}

/// Who is there, as told by events. Panics at one that does not fit the ones before.
#[derive(Debug, Default)]
struct Present(Vec<(u16, u32, Name)>);

impl Present {
    fn take(&mut self, events: Vec<Event>) {
        for event in events {
            let known = self.0.iter().position(|&(slot, ..)| slot == event.slot.0);
            let known = known.map(|at| self.0.swap_remove(at));
            match (event.kind, known) {
                (EventKind::Joined, None) => {}
                (EventKind::Restarted, before) => {
                    assert!(before.map_or(true, |(_, incarnation, name)| {
                        incarnation < event.incarnation && name == event.name
                    }));
                }
                (EventKind::Left | EventKind::Died, Some((_, incarnation, name))) => {
                    assert_eq!(incarnation, event.incarnation);
                    assert!(event.name == name || event.name == Name::UNKNOWN);
                    continue;
                }
                (_, known) => panic!("{event:?} of {known:?}"),
            }
            self.0.push((event.slot.0, event.incarnation, event.name));
        }
    }

    fn names(&self) -> Vec<Name> {
        let mut names: Vec<_> = self.0.iter().map(|&(.., name)| name).collect();
        names.sort_by_key(|name| name.0);
        names
    }
}

fn names<const N: usize>(names: [&str; N]) -> Vec<Name> {
    names.into_iter().map(Name::new).collect()
}
