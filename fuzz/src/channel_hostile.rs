// SPDX-License-Identifier: MIT OR Apache-2.0
//! One who writes anything anywhere, while two members talk to each other and two others, whom it leaves alone, as well.
//!
//! In one half of the inputs all of them take turns, so that a finding happens again; in the other each end and the hostile
//! one have threads of their own, which write at any moment of a call. The hostile one has its own mapping, as another machine
//! has. Whether the connection under attack lives or breaks does not matter, but every call comes to its end; the other
//! two lose nothing. Some inputs write over those too, and then only the former holds.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Barrier;
use std::task::Poll;
use std::thread;

use ivshmem::channel::{Doorbell, Format, Introduction, Member, Region};
use ivshmem::{PeerId, SharedMemory, VectorIndex};

use crate::channel::arena::{object, Window};
use crate::channel::attacked::{introduction, Attacked};
use crate::channel::layout::Layout;
use crate::channel::patch::Patch;
use crate::channel::undisturbed::Undisturbed;
use crate::input::Input;

/// Slots: of two under attack, of two who are left alone, and of the hostile one.
const SLOTS: u16 = 5;
const LEN: usize = 1 << 14;
/// How often each thread does its part, so that they meet.
const ROUNDS: usize = 2;

/// How far an input got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Words that were written by the hostile one.
    pub written: usize,
    /// Messages that those under attack have sent or received; with threads it is another number each time.
    pub exchanged: usize,
    /// Messages between those who were left alone.
    pub undisturbed: u64,
}

/// Counts.
#[derive(Debug, Default)]
struct Bell(AtomicU32);

impl Doorbell for Bell {
    fn ring(&self, _: PeerId, _: VectorIndex) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Where the hostile one writes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Aim {
    /// At the two, and whatever else belongs to none of the others.
    Theirs,
    Anywhere,
}

/// Lets all do what `data` says.
///
/// # Panics
///
/// If a property does not hold.
pub fn run(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let flags: u8 = input.take();
    let aim = if flags & 0x0e == 0x0e {
        Aim::Anywhere
    } else {
        Aim::Theirs
    };
    let object = object(LEN);
    let (ours, theirs) = (Window::of(&object, LEN), Window::of(&object, LEN));
    let format = Format {
        slots: SLOTS,
        ring_log2: None,
    };
    let region = Region::open_or_format(ours.memory(), &format).unwrap();
    let zones = zones(Layout::of(&region), aim);
    let introductions = [introduction("a", 1), introduction("b", 2)];
    let attacked = introductions.map(|introduction| join(region, introduction));
    let others = [introduction("c", 3), introduction("d", 4)];
    let undisturbed = Undisturbed::new(others.map(|introduction| join(region, introduction)));
    let [first, second] = [0, 1].map(|at: usize| (attacked[at].slot(), introductions[at].name));
    let bell = Bell::default();
    let [one, other] = attacked;
    let ends = [
        Attacked::new(region, introductions[0], one, second, &bell),
        Attacked::new(region, introductions[1], other, first, &bell),
    ];
    let scene = Scene {
        ends,
        undisturbed,
        hostile: theirs.memory(),
        zones,
    };
    if flags & 1 == 0 {
        scene.take_turns(input, aim)
    } else {
        scene.at_once(input, aim)
    }
}

fn join<'m>(region: Region<'m>, introduction: Introduction) -> Member<'m> {
    match region.join(introduction).poll(0) {
        Poll::Ready(Ok(member)) => member,
        other => panic!("{other:?}"),
    }
}

/// Returns where the hostile one writes: words that decide as often as all others.
fn zones(layout: Layout, aim: Aim) -> Vec<Range<usize>> {
    let rings = [(0, 1), (1, 0)];
    let mut zones: Vec<_> = rings
        .iter()
        .flat_map(|&(from, to)| [layout.control(from, to), layout.data(from, to)])
        .collect();
    zones.extend([0, 1, 4].map(|slot| layout.slot(slot)));
    // All rings but those of the other two.
    for from in 0..SLOTS {
        let others = (0..SLOTS).filter(|&to| to != from && [from, to] != [2, 3]);
        let others = others.filter(|&to| [from, to] != [3, 2]);
        zones.extend(others.map(|to| layout.ring(from, to)));
    }
    if aim == Aim::Anywhere {
        zones.extend([0..0x10, 0..layout.end(), layout.ring(2, 3), layout.slot(3)]);
    }
    zones
}

/// All who are at it.
struct Scene<'m, 'b> {
    ends: [Attacked<'m, &'b Bell>; 2],
    undisturbed: Undisturbed<'m>,
    hostile: SharedMemory<'m>,
    zones: Vec<Range<usize>>,
}

impl Scene<'_, '_> {
    /// Lets them do one thing after the other.
    fn take_turns(mut self, mut input: Input<'_>, aim: Aim) -> Reached {
        let mut reached = Reached::default();
        while !input.is_empty() {
            match input.take::<u8>() % 8 {
                0..=2 => {
                    self.write(&Patch::take(&mut input));
                    reached.written += 1;
                }
                turn @ 3..=6 => {
                    let mid_call = Patch::take(&mut input);
                    let (hostile, zones) = (self.hostile, &self.zones);
                    let meddle = || mid_call.apply(&hostile, mid_call.choose(zones));
                    let end = &mut self.ends[usize::from(turn) % 2];
                    reached.exchanged += usize::from(end.step(&mut input, meddle));
                }
                _ => {
                    let choice = input.take();
                    if aim == Aim::Theirs {
                        self.undisturbed.step(choice);
                    }
                }
            }
        }
        if aim == Aim::Theirs {
            reached.undisturbed = self.undisturbed.end();
        }
        reached
    }

    /// Lets each do its own part of the input, all at the same time.
    fn at_once(self, mut input: Input<'_>, aim: Aim) -> Reached {
        let part = input.len() / 4;
        let [script, first, second, rest] = [(); 4].map(|()| input.bytes(part));
        let script = patches(Input::new(&script));
        let written = script.len() * ROUNDS;
        let [one, other] = self.ends;
        let (hostile, zones) = (self.hostile, &self.zones);
        let start = &Barrier::new(4);
        let (exchanged, undisturbed) = thread::scope(|scope| {
            let writing = scope.spawn(move || {
                start.wait();
                for patch in (0..ROUNDS).flat_map(|_| &script) {
                    patch.apply(&hostile, patch.choose(zones));
                }
            });
            let ends = [(one, first), (other, second)].map(|(end, part)| {
                scope.spawn(move || {
                    start.wait();
                    act(end, &part)
                })
            });
            start.wait();
            let undisturbed = match aim {
                Aim::Theirs => exchange(self.undisturbed, &rest),
                Aim::Anywhere => 0,
            };
            let exchanged = ends.map(|end| end.join().unwrap());
            writing.join().unwrap();
            (exchanged.iter().sum(), undisturbed)
        });
        Reached {
            written,
            exchanged,
            undisturbed,
        }
    }

    fn write(&self, patch: &Patch) {
        patch.apply(&self.hostile, patch.choose(&self.zones));
    }
}

fn patches(mut script: Input<'_>) -> Vec<Patch> {
    let mut patches = Vec::new();
    while !script.is_empty() {
        patches.push(Patch::take(&mut script));
    }
    patches
}

/// Does a part of the input with an end under attack, and returns how many messages it has sent and received.
fn act(mut end: Attacked<'_, &Bell>, part: &[u8]) -> usize {
    let mut exchanged = 0;
    for _ in 0..ROUNDS {
        let mut input = Input::new(part);
        while !input.is_empty() {
            exchanged += usize::from(end.step(&mut input, || ()));
        }
    }
    exchanged
}

/// Does a part of the input with the two who are left alone, and returns how many messages there were.
fn exchange(mut undisturbed: Undisturbed<'_>, part: &[u8]) -> u64 {
    for &choice in (0..ROUNDS).flat_map(|_| part) {
        undisturbed.step(choice);
    }
    undisturbed.end()
}
