// SPDX-License-Identifier: MIT OR Apache-2.0
//! The time that a peer takes to join and to leave, with up to 1,000 others there.
//!
//! `cargo bench -p ivshmem-device --bench join` prints a table, once with counters in place of eventfds, which leaves
//! the model alone to be timed, and once with real ones. With `-- --gate` it fails if the last hundred peers take
//! more than [`BOUND`] times as long as the first, by counters.
//!
//! All hundreds are timed in turn, in many rounds, and a ratio is the median over the rounds: what slows the machine down
//! for longer than a round slows both of its sides.

use std::cell::Cell;
use std::error::Error;
use std::marker::PhantomData;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Instant;

use ivshmem_device::adapters::Fd;
use ivshmem_device::{
    Bar, Descriptor, Device, Host, HostError, Ioeventfd, Level, Memory, MsiMessage, Notice,
    Properties,
};
use rustix::event::{eventfd, EventfdFlags};
use rustix::fs::{ftruncate, memfd_create, MemfdFlags};
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};

const PEERS: usize = 1000;
const VECTORS: usize = 8;
const HUNDRED: usize = 100;
const HUNDREDS: usize = PEERS / HUNDRED;
/// The device's own ID, behind those of the peers.
const OWN_ID: i64 = PEERS as i64;
const MEMORY_BYTES: u64 = 4096;

const ROUNDS: usize = 31;
/// How much longer the last hundred may take. A table that is searched from its start would give 10 or more; that of
/// the model, a tree, gives 1 to 1.5. The rest is for a busy machine.
const BOUND: f64 = 3.0;
/// How often the gate tries again: interference passes, slowness does not.
const ATTEMPTS: usize = 3;
/// Descriptors that the program needs besides the eventfds of the peers.
const OTHER_DESCRIPTORS: u64 = 64;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let gate = std::env::args().any(|argument| argument == "--gate");
    let attempts = if gate { ATTEMPTS } else { 1 };
    let mut is_flat = false;
    for attempt in 1..=attempts {
        println!("with counters (attempt {attempt} of {attempts}):");
        is_flat = table(|| Ok(Counter::default()))? <= BOUND;
        if is_flat {
            break;
        }
    }
    let wanted = (PEERS * VECTORS) as u64 + OTHER_DESCRIPTORS;
    match raise_descriptor_limit(wanted) {
        Ok(()) => {
            println!("with eventfds:");
            table(|| Ok(Fd::new(eventfd(0, EventfdFlags::CLOEXEC)?)?))?;
        }
        Err(reason) => println!("without eventfds: {reason}"),
    }
    if gate && !is_flat {
        eprintln!("joining or leaving takes more than {BOUND} times as long with {PEERS} peers");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes room for `wanted` descriptors.
fn raise_descriptor_limit(wanted: u64) -> Result<(), String> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    if limit.maximum.is_some_and(|maximum| maximum < wanted) {
        return Err(format!(
            "{PEERS} peers with {VECTORS} vectors need {wanted} descriptors, and `ulimit -Hn` is lower"
        ));
    }
    let raised = Rlimit {
        current: Some(wanted),
        ..limit
    };
    setrlimit(Resource::Nofile, raised).map_err(|error| error.to_string())
}

/// Times of one round, in nanoseconds for each peer, by the peers that are there: up to 100, to 200 and so on.
#[derive(Default)]
struct Round {
    join: [f64; HUNDREDS],
    leave: [f64; HUNDREDS],
}

/// Prints medians over all rounds, and returns the larger of the two ratios.
fn table<D: Ring>(open: impl Fn() -> Result<D, Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        rounds.push(round(&open)?);
    }
    println!("  peers        ns/join   ns/leave");
    for hundred in 0..HUNDREDS {
        let join = median(rounds.iter().map(|round| round.join[hundred]));
        let leave = median(rounds.iter().map(|round| round.leave[hundred]));
        let (first, last) = (hundred * HUNDRED, (hundred + 1) * HUNDRED);
        println!("  {first:>4} to {last:<4} {join:>9.0}  {leave:>9.0}");
    }
    let ratio = |times: &[f64; HUNDREDS]| times[HUNDREDS - 1] / times[0];
    let join = median(rounds.iter().map(|round| ratio(&round.join)));
    let leave = median(rounds.iter().map(|round| ratio(&round.leave)));
    println!("  last/first   {join:>9.2}  {leave:>9.2}");
    Ok(join.max(leave))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Lets all peers join one device, rings each, and lets them leave in the opposite order.
fn round<D: Ring>(open: impl Fn() -> Result<D, Box<dyn Error>>) -> Result<Round, Box<dyn Error>> {
    let mut properties = Properties::doorbell("server");
    properties.vectors = VECTORS as u32;
    let mut connected = Connected {
        device: Device::new(&properties)?,
        host: Counting::default(),
    };
    connected.send(0, None)?;
    connected.send(OWN_ID, None)?;
    connected.send(-1, Some(D::memory()?))?;
    // Opening is the server's work, and is not timed.
    let mut events = Vec::with_capacity(PEERS * VECTORS);
    for _ in 0..PEERS * VECTORS {
        events.push(open()?);
    }
    let mut events = events.into_iter();
    let mut times = Round::default();
    for hundred in 0..HUNDREDS {
        let start = Instant::now();
        for peer in hundred * HUNDRED..(hundred + 1) * HUNDRED {
            for event in events.by_ref().take(VECTORS) {
                connected.send(peer as i64, Some(event))?;
            }
        }
        times.join[hundred] = nanoseconds(start);
    }
    connected.ring_all();
    for hundred in (0..HUNDREDS).rev() {
        let start = Instant::now();
        for peer in (hundred * HUNDRED..(hundred + 1) * HUNDRED).rev() {
            connected.send(peer as i64, None)?;
        }
        times.leave[hundred] = nanoseconds(start);
    }
    assert_eq!(connected.host.attached, 0, "ioeventfds are left");
    Ok(times)
}

/// Returns the time since `start` for each of a hundred.
fn nanoseconds(start: Instant) -> f64 {
    start.elapsed().as_nanos() as f64 / HUNDRED as f64
}

/// A device and what it does.
struct Connected<D: Ring> {
    device: Device<Counting<D>>,
    host: Counting<D>,
}

impl<D: Ring> Connected<D> {
    fn send(&mut self, number: i64, descriptor: Option<D>) -> Result<(), Box<dyn Error>> {
        let bytes = number.to_le_bytes();
        Ok(self.device.receive(&bytes, descriptor, &mut self.host)?)
    }

    /// Rings the last vector of each peer, by the write of a guest.
    fn ring_all(&mut self) {
        for peer in 0..PEERS {
            let value = (peer << 16 | (VECTORS - 1)) as u32;
            let (device, host) = (&mut self.device, &mut self.host);
            device.write_bar(Bar::Registers, 0x0c, &value.to_le_bytes(), host);
        }
        assert_eq!(self.host.rung, PEERS, "peers that were rung");
        assert_eq!(self.host.attached, PEERS * VECTORS, "ioeventfds");
    }
}

/// A descriptor that can be rung.
trait Ring: Descriptor + Sized {
    fn memory() -> Result<Self, Box<dyn Error>>;
    fn ring(&self);
}

/// An eventfd that is only a number.
#[derive(Clone, Debug, Default)]
struct Counter {
    len_bytes: Option<u64>,
    count: Rc<Cell<u64>>,
}

impl Descriptor for Counter {
    fn len_bytes(&self) -> Option<u64> {
        self.len_bytes
    }

    fn number(&self) -> i32 {
        3
    }
}

impl Ring for Counter {
    fn memory() -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            len_bytes: Some(MEMORY_BYTES),
            ..Self::default()
        })
    }

    fn ring(&self) {
        self.count.set(self.count.get() + 1);
    }
}

impl Ring for Fd {
    fn memory() -> Result<Self, Box<dyn Error>> {
        let file = memfd_create("join", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, MEMORY_BYTES)?;
        Ok(Self::new(file)?)
    }

    fn ring(&self) {
        Self::ring(self);
    }
}

/// Memory that nobody looks at.
#[derive(Debug)]
struct Unmapped(u64);

impl Memory for Unmapped {
    fn len_bytes(&self) -> u64 {
        self.0
    }

    fn read(&self, _: u64, _: &mut [u8]) {}

    fn write(&self, _: u64, _: &[u8]) {}
}

/// A host that counts.
struct Counting<D> {
    rung: usize,
    attached: usize,
    descriptor: PhantomData<D>,
}

impl<D> Default for Counting<D> {
    fn default() -> Self {
        Self {
            rung: 0,
            attached: 0,
            descriptor: PhantomData,
        }
    }
}

impl<D: Ring> Host for Counting<D> {
    type Descriptor = D;
    type Memory = Unmapped;

    fn map(&mut self, _: D, len_bytes: u64) -> Result<Unmapped, HostError> {
        Ok(Unmapped(len_bytes))
    }

    fn listen(&mut self, _: u16, _: &D) -> Result<(), HostError> {
        Ok(())
    }

    fn ring(&mut self, event: &D) {
        event.ring();
        self.rung += 1;
    }

    fn message(&mut self, _: MsiMessage) {}

    fn line(&mut self, _: Level) {}

    fn notice(&mut self, notice: Notice) {
        eprintln!("{notice}");
    }

    fn attach_ioeventfd(&mut self, _: Ioeventfd, _: &D) {
        self.attached += 1;
    }

    fn detach_ioeventfd(&mut self, _: Ioeventfd, _: &D) {
        self.attached -= 1;
    }
}
