// SPDX-License-Identifier: MIT OR Apache-2.0
//! Streams to a device that runs. One machine takes many, each with peers of its own.

use ivshmem_device::Device;
use libtest_mimic::Failed;

use super::message::{Ids, Number, Stream, PEERS};
use super::{strategy, words, Shape};
use crate::files::Files;
use crate::lab::{search, Lab, Need};
use crate::model::World;
use crate::rig::Board;
use crate::twin::{tell_model, Booting, Send, Twin};

/// How many streams.
const STREAMS: u32 = 1000;
const SHAPE: Shape = Shape {
    vectors: 3,
    ioeventfd: true,
};
const OWN: u16 = 0;
/// IDs of each stream. The peers take theirs in another order than that of the numbers.
const STRIDE: u16 = 8;
const ORDER: [u16; PEERS as usize] = [3, 0, 5, 1, 4];
const LAST: u16 = 7;

pub fn trial() -> Need {
    Need::new("streams::running", |lab| {
        let mut running = None;
        let describe = |stream: &Stream| stream.to_string();
        let tried = search(
            "running",
            STREAMS,
            &strategy::running(),
            describe,
            |stream| {
                let mut pair = match running.take() {
                    Some(pair) => pair,
                    None => Running::start(lab)?,
                };
                // No ID may be used twice, so some day there are none left.
                if pair.compare(stream)? {
                    running = Some(pair);
                }
                Ok(())
            },
        )?;
        println!("running: {tried} streams, no difference");
        Ok(())
    })
}

/// A device that runs.
struct Running {
    twin: Twin,
    /// The first of the next IDs.
    next: u16,
    /// How many lines QEMU has written.
    lines: usize,
}

impl Running {
    fn start(lab: &Lab) -> Result<Self, Failed> {
        let mut files = Files::default();
        let mut device = Device::new(&SHAPE.properties())?;
        let mut world = World::default();
        let booting = Booting::client(lab, Board::Pc, &SHAPE.device())?;
        let memory = files.add_memory(4096)?;
        for send in [say(0), say(OWN.into()), carry(-1, memory)] {
            booting.tell(&send, &files)?;
            tell_model(&mut device, &mut world, &send)?;
        }
        Ok(Self {
            twin: Twin::new(booting.pair(device, world, files)?),
            next: STRIDE,
            lines: 0,
        })
    }

    /// Sends a stream to both, and compares what comes of it. Returns whether they can take another one.
    fn compare(&mut self, stream: &Stream) -> Result<bool, Failed> {
        let ids = Ids {
            own: OWN,
            peers: ORDER.map(|place| self.next + place),
            last: self.next + LAST,
        };
        let pair = &mut self.twin.pair;
        for send in stream.sends(&ids, &mut pair.files)? {
            pair.tell(&send)?;
        }
        let last = pair.files.add_event()?;
        pair.tell(&carry(ids.last.into(), last))?;
        pair.wait_for(ids.last, last)?;
        SHAPE.probe(&mut self.twin, &ids)?;
        self.lines = words::compare(&mut self.twin.pair, self.lines)?;
        self.forget(stream, &ids)?;
        let next = self.next.checked_add(2 * STRIDE).map(|end| end - STRIDE);
        self.next = next.unwrap_or(0);
        Ok(next.is_some())
    }

    /// Has all peers leave that have not, and closes the files of the stream.
    fn forget(&mut self, stream: &Stream, ids: &Ids) -> Result<(), Failed> {
        let pair = &mut self.twin.pair;
        for (peer, id) in (0..).zip(ids.peers) {
            let has_left = stream
                .messages
                .iter()
                .any(|message| message.number == Number::Peer(peer) && message.files.is_empty());
            if !has_left {
                pair.tell(&say(id.into()))?;
            }
        }
        pair.tell(&say(ids.last.into()))?;
        for number in pair.files.numbers() {
            let used = pair.world.own.contains(&number) || pair.world.mapped == Some(number);
            if !used {
                pair.files.close(number);
            }
        }
        Ok(())
    }
}

fn say(number: i64) -> Send {
    Send {
        bytes: number.to_le_bytes().to_vec(),
        files: Vec::new(),
    }
}

fn carry(number: i64, file: crate::model::File) -> Send {
    Send {
        files: vec![file],
        ..say(number)
    }
}
