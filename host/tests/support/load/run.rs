// SPDX-License-Identifier: MIT OR Apache-2.0
//! The course of a run: all join, they come and go, all know all, all leave.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::thread::{available_parallelism, sleep};
use std::time::{Duration, Instant};

use super::client::{Client, GREETING};
use super::crowd::Crowd;
use super::process::{serve, Process, Qemu};
use super::random::Random;
use super::records::{Delays, Records};
use super::{Load, Machine};

/// One of so many that connect leaves within its greeting.
const TURN_BACK: u64 = 16;
/// While they come and go, so many in a hundred are there at least.
const FEWEST_PERCENT: usize = 95;

/// What was measured.
#[derive(Debug)]
pub struct Outcome {
    /// How long all took to join, one after the other without a pause.
    pub fill: Duration,
    /// Times while all join.
    pub fill_delays: Delays,
    /// Times while clients come and go.
    pub delays: Delays,
    /// Processor time of the server while clients come and go.
    pub processor: Duration,
    /// Resident memory of the server in KiB when all have joined, in the middle and when all know all again.
    pub resident_kib: [u64; 3],
    /// Open file descriptors of the server, with as many clients as there are at the end.
    pub full: Level,
    /// The same when all but the virtual machine have left.
    pub empty: Level,
    /// Whether QEMU answers at the end; `None` without one.
    pub qemu_lives: Option<bool>,
}

/// A number of file descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    pub found: usize,
    pub expected: usize,
}

/// Puts `load` on a new server, started with `command` in an empty folder.
pub fn run(load: &Load, command: &Path, folder: &Path) -> Result<Outcome, Box<dyn Error>> {
    let socket = folder.join("ivshmem.sock");
    let command = load.priority.command(command);
    let server = serve(command, &socket, load.vectors)?;
    let base = server.descriptors()?;
    let records = Arc::new(Records::new());
    let mute = (0..load.mute).map(|_| Client::connect(&socket, load.vectors));
    let mute = mute.collect::<Result<Vec<_>, _>>()?;
    let mut qemu = match load.machine {
        Machine::Qemu => Some(Qemu::start(&socket, load.vectors)?),
        Machine::None => None,
    };
    let mut swarm = Swarm::new(load, &socket, Arc::clone(&records))?;
    let mut late = Crowd::start(Arc::new(Records::new()), Random::new(load.seed))?;
    let others = mute.len() + usize::from(qemu.is_some());
    // All that this thread starts has been started.
    load.priority.take();

    let start = (Instant::now(), records.now());
    while swarm.size() + others < load.clients {
        swarm.join()?;
    }
    swarm.settle(load.clients)?;
    let fill = start.0.elapsed();
    let full = server.resident_kib()?;

    let (from, processor) = (records.now(), server.processor_time()?);
    swarm.come_and_go(load, others, load.duration / 2)?;
    let middle = server.resident_kib()?;
    swarm.come_and_go(load, others, load.duration / 2)?;
    let (to, processor) = (records.now(), server.processor_time()? - processor);
    // At last those listen who did not before, and when they hear of whom is not recorded with the others' times.
    for client in mute {
        late.adopt(client)?;
    }
    let connected = swarm.size() + others;
    late.settle(connected)?;
    swarm.settle(connected)?;
    late.await_settled()?;
    let level = |connected| level(&server, base, connected, load.vectors);
    let resident_kib = [full, middle, server.resident_kib()?];
    let full = level(connected)?;
    let qemu_lives = qemu.as_mut().map(Qemu::is_alive);
    late.disperse()?;
    swarm.disperse()?;
    let empty = level(usize::from(qemu.is_some()))?;
    Ok(Outcome {
        fill,
        fill_delays: records.delays(start.1, from),
        delays: records.delays(from, to),
        processor,
        resident_kib,
        full,
        empty,
        qemu_lives,
    })
}

/// Compares the server's descriptors with those for `connected` clients.
fn level(
    server: &Process,
    base: usize,
    connected: usize,
    vectors: u16,
) -> Result<Level, Box<dyn Error>> {
    let expected = base + connected * (1 + usize::from(vectors));
    let found = server.await_descriptors(expected)?;
    Ok(Level { found, expected })
}

/// All clients that read.
struct Swarm<'a> {
    crowds: Vec<Crowd>,
    socket: &'a Path,
    vectors: u16,
    records: Arc<Records>,
    random: Random,
}

impl<'a> Swarm<'a> {
    fn new(load: &Load, socket: &'a Path, records: Arc<Records>) -> Result<Self, Box<dyn Error>> {
        let threads = available_parallelism().map_or(1, |threads| threads.get().min(4));
        let mut random = Random::new(load.seed);
        let crowds = (0..threads)
            .map(|_| Crowd::start(Arc::clone(&records), Random::new(random.below(1 << 31))))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            crowds,
            socket,
            vectors: load.vectors,
            records,
            random,
        })
    }

    fn size(&self) -> usize {
        self.crowds.iter().map(Crowd::size).sum()
    }

    /// Returns a random crowd that is not empty, if any is not.
    fn crowd(&mut self) -> &mut Crowd {
        let index = self.random.below(self.crowds.len() as u64) as usize;
        &mut self.crowds[index]
    }

    fn join(&mut self) -> Result<(), Box<dyn Error>> {
        let client = Client::join(self.socket, self.vectors, &self.records)?;
        self.crowd().adopt(client)
    }

    /// Lets clients come and go for `duration`, in pairs: as many leave as join.
    fn come_and_go(
        &mut self,
        load: &Load,
        others: usize,
        duration: Duration,
    ) -> Result<(), Box<dyn Error>> {
        let most = load.clients - others;
        let fewest = most * FEWEST_PERCENT / 100;
        let mean = Duration::from_secs(1) / (2 * load.rate);
        let (start, mut due) = (Instant::now(), Duration::ZERO);
        while due < duration {
            if let Some(pause) = due.checked_sub(start.elapsed()) {
                sleep(pause);
            }
            let is_full = self.size() >= most;
            if is_full || (self.size() > fewest && self.random.below(2) == 0) {
                let largest = self.crowds.iter_mut().max_by_key(|crowd| crowd.size());
                largest.ok_or("no crowd")?.leave()?;
            } else if self.random.below(TURN_BACK) == 0 {
                let mut client = Client::connect(self.socket, self.vectors)?;
                client.hear_next(self.random.below(GREETING + 1))?;
            } else {
                self.join()?;
            }
            due += self.random.pause(mean);
        }
        Ok(())
    }

    /// Waits until all know `clients` clients.
    fn settle(&self, clients: usize) -> Result<(), Box<dyn Error>> {
        for crowd in &self.crowds {
            crowd.settle(clients)?;
        }
        self.crowds.iter().try_for_each(Crowd::await_settled)
    }

    fn disperse(self) -> Result<(), Box<dyn Error>> {
        self.crowds.into_iter().try_for_each(Crowd::disperse)
    }
}
