// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two members in this process: [`Pair`].

use std::process;
use std::time::Duration;

use ivshmem::channel::Format;
use ivshmem_host::channel::{Channels, Options, Receiver, Sender};
use ivshmem_host::server::{AdminSocket, Config, RunningServer, Server};
use tempfile::TempDir;

use super::cpus::Cpus;
use super::measure::{one_way, ping_pong, Motion, Slice, Subject};
use super::RING_BYTES;
use crate::command::membership::Membership;
use crate::command::pinger::FOR_EVER;
use crate::command::Failure;

/// Longer than anything takes between two threads, on any machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes of the memory of a server within this process: that of two rings, and some.
const OWN_BYTES: u64 = 4 * RING_BYTES as u64;

/// Bytes of the messages that go once around a ring in each direction before anything is timed.
const FIRST: usize = 64 << 10;

/// Two members that are connected to each other.
#[derive(Debug)]
pub(super) struct Pair {
    cpus: Cpus,
    here: Side,
    there: Side,
    members: [Channels; 2],
    /// That they are members of, if it is their own.
    _server: Option<(RunningServer, TempDir)>,
}

/// What one of them sends and receives by.
#[derive(Debug)]
struct Side {
    sender: Sender,
    receiver: Receiver,
}

impl Pair {
    /// Makes two members of the memory of a server within this process.
    pub(super) fn apart(cpus: Cpus) -> Result<Self, Failure> {
        let directory = tempfile::tempdir().map_err(|error| {
            Failure::new(format!(
                "cannot make a directory for a socket: {error}; TMPDIR says where"
            ))
        })?;
        let config = Config {
            admin: AdminSocket::Off,
            ..Config::new(directory.path().join("ivshmem.sock"), OWN_BYTES, 1)
        };
        let server = Server::spawn(config).map_err(Failure::new)?;
        let format = Format {
            slots: 2,
            ring_log2: Some(RING_BYTES.trailing_zeros()),
        };
        let path = server.socket().to_owned();
        let join = |options: Options| {
            let options = options.format(Some(format)).limit(PATIENCE);
            options.join_server(&path).map_err(Failure::new)
        };
        Self::connect(cpus, join, Some((server, directory)))
    }

    /// Makes two members of a region that others may be in as well.
    pub(super) fn among_others(cpus: Cpus, membership: &Membership) -> Result<Self, Failure> {
        let join = |options| {
            let joined = membership.join(options);
            joined.map_err(|error| membership.explain(error))
        };
        Self::connect(cpus, join, None)
    }

    fn connect(
        cpus: Cpus,
        join: impl Fn(Options) -> Result<Channels, Failure>,
        server: Option<(RunningServer, TempDir)>,
    ) -> Result<Self, Failure> {
        let names = ["a", "b"].map(|end| format!("bench-{}-{end}", process::id()));
        let join = |name: &str| join(Options::new(name));
        let members = [join(&names[0])?, join(&names[1])?];
        let connect = |member: &Channels, name: &str| {
            let connection = member.connect(name, PATIENCE).map_err(Failure::new)?;
            let (sender, receiver) = connection.split();
            Ok::<_, Failure>(Side { sender, receiver })
        };
        let mut pair = Self {
            cpus,
            here: connect(&members[0], &names[1])?,
            there: connect(&members[1], &names[0])?,
            members,
            _server: server,
        };
        let around = (RING_BYTES / FIRST + 1) as u64;
        pair.run(Motion::Asleep, FIRST, around)?;
        Ok(pair)
    }

    /// Whether one rings the other, who otherwise wakes up by itself now and then.
    pub(super) fn is_rung(&mut self) -> bool {
        self.here.sender.inner().is_rung()
    }

    fn rung(&self) -> u64 {
        let rung = |member: &Channels| member.doorbells().rung();
        self.members.iter().map(rung).sum()
    }

    /// For how long each looks before it sleeps: in a stream as programs do if they do not say.
    const fn spin(&self, motion: Motion) -> Duration {
        match motion {
            Motion::Asleep => Duration::ZERO,
            Motion::Awake => FOR_EVER,
            Motion::Stream if self.cpus.has_two() => Options::SPIN,
            Motion::Stream => Duration::ZERO,
        }
    }
}

impl Subject for Pair {
    fn run(&mut self, motion: Motion, len: usize, count: u64) -> Result<Slice, Failure> {
        let (before, spin) = (self.rung(), self.spin(motion));
        let (here, there) = (&mut self.here, &mut self.there);
        for side in [&mut *here, &mut *there] {
            side.sender.set_spin(spin);
            side.receiver.set_spin(spin);
        }
        let message = vec![0x5a; len];
        let slice = match motion {
            Motion::Asleep | Motion::Awake => ping_pong(
                self.cpus,
                count,
                || {
                    send(&mut here.sender, &message)?;
                    receive(&mut here.receiver, len).map(drop)
                },
                || {
                    let asked = receive(&mut there.receiver, len)?;
                    send(&mut there.sender, asked)
                },
            ),
            Motion::Stream => one_way(
                self.cpus,
                count,
                || receive(&mut here.receiver, len).map(drop),
                || send(&mut there.sender, &message),
            ),
        };
        let rung = self.rung() - before;
        slice.map(|slice| Slice { rung, ..slice })
    }
}

fn send(sender: &mut Sender, message: &[u8]) -> Result<(), Failure> {
    sender.send(message, PATIENCE).map_err(Failure::new)
}

fn receive(receiver: &mut Receiver, len: usize) -> Result<&[u8], Failure> {
    match receiver.recv(PATIENCE) {
        Ok(Some(message)) if message.len() == len => Ok(message),
        Ok(Some(message)) => Err(Failure::new(format!(
            "a message of {} bytes came where one of {len} was sent: somebody else writes into this memory",
            message.len()
        ))),
        Ok(None) => Err(Failure::new(format!(
            "a message did not come within {} s: the machine is busy, or somebody else writes into this memory",
            PATIENCE.as_secs()
        ))),
        Err(error) => Err(Failure::new(error)),
    }
}
