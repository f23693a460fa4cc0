// SPDX-License-Identifier: MIT OR Apache-2.0
//! A memory and all that can be made of it: regions, members and connections, each of whose calls writes what it may and no more.

use std::ops::Range;
use std::task::Poll;

use ivshmem::channel::{
    Event, Format, Introduction, JoinError, Joining, Member, Name, OpenError, Region,
};
use ivshmem::{PeerId, SharedMemory};

use super::connections::{add, pick, Connections};
use super::layout::{Layout, GEOMETRY, MAGIC};
use super::patch::{zones, Patch};
use super::shadow::Shadow;
use crate::device::shown;
use crate::input::Input;

/// How far an input got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Regions that were opened.
    pub opened: usize,
    /// Members that have joined.
    pub joined: usize,
    /// What they were told of others.
    pub events: usize,
    pub connected: usize,
    /// Calls by which something was sent.
    pub sent: usize,
    /// Messages.
    pub received: usize,
    /// Halves that are broken at the end.
    pub broken: usize,
}

/// A memory with its users.
pub struct World<'m> {
    memory: SharedMemory<'m>,
    shadow: Shadow<'m>,
    regions: Vec<Region<'m>>,
    joining: Vec<(Joining<'m>, Layout)>,
    members: Vec<(Member<'m>, Layout)>,
    connections: Connections<'m>,
    now: u64,
    reached: Reached,
}

impl<'m> World<'m> {
    pub fn new(memory: SharedMemory<'m>) -> Self {
        let shadow = Shadow::new(memory);
        let connections = Connections::new(memory, &shadow);
        Self {
            memory,
            shadow,
            regions: Vec::new(),
            joining: Vec::new(),
            members: Vec::new(),
            connections,
            now: 0,
            reached: Reached::default(),
        }
    }

    /// Returns how far it got.
    pub fn reached(mut self) -> Reached {
        self.reached.broken = self.connections.broken();
        self.reached
    }

    /// Does what the next bytes say.
    pub fn step(&mut self, input: &mut Input<'_>) {
        match input.take::<u8>() % 20 {
            0 => self.open(Region::open, &[MAGIC]),
            1 => {
                let format = format(input);
                let open = |memory| Region::open_or_format(memory, &format);
                self.open(open, &[MAGIC, GEOMETRY]);
            }
            2 => {
                let format = format(input);
                let open = |memory| Region::format_anew(memory, &format);
                self.open(open, &[MAGIC, GEOMETRY]);
            }
            3 => self.introduce(input),
            4 => self.join(input),
            5 => self.poll_event(input),
            6 => self.leave(input),
            7 | 8 => self.connect(input),
            9..=11 => {
                let sent = self.connections.send(input, &mut self.shadow);
                self.reached.sent += usize::from(sent);
            }
            12..=14 => {
                let received = self.connections.receive(input, &mut self.shadow);
                self.reached.received += usize::from(received);
            }
            15 => {
                let patch = Patch::take(input);
                let offset = self.aim(&patch);
                self.connections.trap(offset.map(|offset| (patch, offset)));
            }
            _ => {
                let patch = Patch::take(input);
                if let Some(offset) = self.aim(&patch) {
                    patch.apply(&self.memory, offset);
                }
            }
        }
    }

    /// Makes two members of a blank memory and lets them exchange messages.
    pub fn use_well(&mut self, format: Format) {
        let steps: [&[u8]; 13] = [
            // Two come, and hear of each other.
            &[3, 0, b'a', 1, 2, 100],
            &[4, 0, 0],
            &[3, 0, b'b', 2, 2, 100],
            &[4, 0, 0],
            &[5, 0, 0],
            &[5, 1, 0],
            // Each connects to the other, and they send to each other.
            &[7, 0, 1],
            &[7, 1, 0],
            &[9, 0, 0, 100],
            &[9, 1, 0, 8],
            &[9, 0, 0, 20],
            &[12, 1, 8, 0],
            &[12, 0, 8, 0],
        ];
        let open = |memory| Region::open_or_format(memory, &format);
        self.open(open, &[MAGIC, GEOMETRY]);
        for step in steps {
            self.step(&mut Input::new(step));
        }
    }

    /// Returns the offset of the word that a patch is for.
    fn aim(&self, patch: &Patch) -> Option<usize> {
        let words = self.memory.len() / 8 * 8;
        let is_odd = self.memory.atomic_u64(0).is_err();
        (words > 0 && !is_odd).then(|| match self.regions.last() {
            Some(region) => patch.choose(&zones(Layout::of(region))),
            None => patch.choose(&[0..words, 0..words.min(0x10), 0..words.min(0x400)]),
        })
    }

    fn open(
        &mut self,
        open: impl FnOnce(SharedMemory<'m>) -> Result<Region<'m>, OpenError>,
        may_write: &[Range<usize>],
    ) {
        self.shadow.begin();
        let opened = shown(open(self.memory));
        self.shadow.check(match opened {
            Ok(_) => may_write,
            // Only one that was blank and has been formatted by another is written to before an error.
            Err(_) => &[],
        });
        if let Ok(region) = opened {
            assert!(Layout::of(&region).end() <= self.memory.len());
            add(&mut self.regions, region);
            self.reached.opened += 1;
        }
    }

    fn introduce(&mut self, input: &mut Input<'_>) {
        let Some(region) = pick(&mut self.regions, input.take()) else {
            return;
        };
        let name = char::from(input.take::<u8>()).to_string();
        let joining = region.join(Introduction {
            name: Name::new(&name),
            device: input
                .take::<u8>()
                .checked_sub(1)
                .map(|id| PeerId(id.into())),
            vectors: input.take::<u8>().into(),
            limit: match input.take() {
                u8::MAX => u64::MAX,
                limit => limit.into(),
            },
        });
        let layout = Layout::of(region);
        add(&mut self.joining, (joining, layout));
    }

    fn join(&mut self, input: &mut Input<'_>) {
        let number: u8 = input.take();
        self.pass_time(input);
        let Some((joining, layout)) = pick(&mut self.joining, number) else {
            return;
        };
        self.shadow.begin();
        match joining.poll(self.now) {
            Poll::Ready(Ok(member)) => {
                self.shadow.check(&[layout.slot(member.slot().0)]);
                assert_ne!(member.incarnation(), 0);
                add(&mut self.members, (member, *layout));
                self.joining
                    .remove(usize::from(number) % self.joining.len());
                self.reached.joined += 1;
            }
            Poll::Ready(Err(error)) => {
                self.shadow.check(&[]);
                let full = JoinError::Full {
                    slots: layout.slots,
                };
                assert!(error == full || error == JoinError::Reformatted);
                let _ = shown(Err::<(), _>(error));
            }
            // Nobody else is at it, so nothing was claimed.
            Poll::Pending => self.shadow.check(&[]),
        }
    }

    /// Polls for all events of a round.
    fn poll_event(&mut self, input: &mut Input<'_>) {
        let number: u8 = input.take();
        self.pass_time(input);
        let Some((member, layout)) = pick(&mut self.members, number) else {
            return;
        };
        let own = member.slot();
        let may_write = [layout.signs_of_life(own.0)];
        let mut events: Vec<Event> = Vec::new();
        loop {
            self.shadow.begin();
            let polled = shown(member.poll_event(self.now));
            self.shadow.check(match polled {
                Ok(_) => &may_write,
                Err(_) => &[],
            });
            let Ok(Some(event)) = polled else {
                break;
            };
            // One of each slot at most, and so no more than that many.
            assert!(event.slot.0 < layout.slots && event.slot != own);
            assert!(events.iter().all(|before| before.slot != event.slot));
            events.push(event);
        }
        self.reached.events += events.len();
    }

    fn leave(&mut self, input: &mut Input<'_>) {
        let number = input.take::<u8>();
        // Now and then, so that there are members for something else.
        if number >= 0x40 || self.members.is_empty() {
            return;
        }
        let index = usize::from(number) % self.members.len();
        let (member, layout) = self.members.remove(index);
        let own = member.slot().0;
        self.shadow.begin();
        member.leave();
        self.shadow.check(&[layout.state(own)]);
    }

    fn connect(&mut self, input: &mut Input<'_>) {
        let Some((member, layout)) = pick(&mut self.members, input.take()) else {
            return;
        };
        // Of slots with somebody in them, mostly; the last ones are none.
        let peer = match input.take::<u8>() {
            number @ 0xf0.. => u16::from(number) << 4,
            number => u16::from(number) % (layout.slots + 1),
        };
        let connected = self
            .connections
            .connect(member, *layout, peer, &mut self.shadow);
        self.reached.connected += usize::from(connected);
    }

    /// Lets the clock go on, or anywhere.
    fn pass_time(&mut self, input: &mut Input<'_>) {
        self.now = match input.take::<u8>() {
            u8::MAX => input.take(),
            step => self.now.wrapping_add(step.into()),
        };
    }
}

/// Takes a way to divide a region; mostly one that fits.
fn format(input: &mut Input<'_>) -> Format {
    let (slots, ring): (u8, u8) = (input.take(), input.take());
    Format {
        slots: match slots {
            0xff => 256,
            few @ 0..0x80 => u16::from(few % 4) + 2,
            any => any.into(),
        },
        ring_log2: match ring % 8 {
            0 => None,
            few @ 1..=4 => Some(u32::from(few) + 7),
            _ => Some(ring.into()),
        },
    }
}
