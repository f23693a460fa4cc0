// SPDX-License-Identifier: MIT OR Apache-2.0
//! `ivshmem send`.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process;
use std::time::{Duration, Instant};

use clap::Args;
use ivshmem::channel::Broken;
use ivshmem_host::channel::{Channels, ConnectError, Connection, Options, RecvError, SendError};

use super::duration::seconds;
use super::interrupt::Interrupt;
use super::membership::{name, Membership};
use super::output::log;
use super::pipe::stream::{Hello, Reply, Seal, Word};
use super::pipe::{self, interrupted, Chunk, Gauge, Source, GLANCE};
use super::{Exit, Failure};

/// How much is read at once at most.
const MOST_READ: usize = 128 << 10;

/// How long a line that is longer than half a ring may take.
const LONG_LINE: Duration = Duration::from_secs(600);

const EXAMPLE: &str = "\
The receiver is the member named NAME: `ivshmem recv NAME`, or a guest that does the same (docs/channels.md,
\"Streams of send and recv\"). Either may be started first. It says in the end that all has come, by length and
checksum, and that it has written it.

Examples:
  ivshmem recv backup | tar x        and elsewhere   tar c . | ivshmem send backup
  ivshmem send guest-a --progress kernel.img
  echo status | ivshmem send guest-a --lines

Exit status: 0 if the receiver has all, 1 if nobody of that name came or it wanted no more, 2 if the stream broke
off or the command could not do its work.";

/// Send a stream, or lines, to a member.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Arguments {
    /// Name of the receiver.
    #[arg(value_parser = name)]
    name: String,

    /// What to send, one after the other; - is stdin, which it is also if there are none.
    files: Vec<PathBuf>,

    #[command(flatten)]
    membership: Membership,

    /// Own name [default: send- and the process ID].
    #[arg(long = "name", value_name = "NAME", value_parser = name)]
    own_name: Option<String>,

    /// How many seconds to wait for the receiver.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    wait: Duration,

    /// Send each line as one message, to any member, without start, end or checksum.
    #[arg(long)]
    lines: bool,

    /// Show on stderr how far it is.
    #[arg(long)]
    progress: bool,
}

/// Sends all there is.
pub(super) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let source = Source::open(&arguments.files)?;
    let interrupt = Interrupt::catch()?;
    let own_name = arguments.own_name.clone();
    let own_name = own_name.unwrap_or_else(|| format!("send-{}", process::id()));
    let channels = arguments.membership.join(Options::new(&own_name));
    let channels = channels.map_err(|error| arguments.membership.explain(error))?;
    let end = Instant::now().checked_add(arguments.wait);
    let hello = (!arguments.lines).then(|| Hello {
        size: source.size(),
    });
    let Some(connection) = connect(&channels, &arguments.name, hello, end, &interrupt)? else {
        if interrupt.came() {
            return Err(Failure::new("interrupted before anybody has come"));
        }
        log(format_args!(
            "nobody named {} came to receive within {} s; start it: ivshmem recv {0}",
            arguments.name,
            arguments.wait.as_secs_f64()
        ));
        return Ok(Exit::No);
    };
    let mut sending = Sending {
        connection,
        source,
        interrupt: &interrupt,
        gauge: Gauge::off(),
        seal: Seal::default(),
    };
    if arguments.progress {
        sending.gauge = Gauge::begin(sending.source.size());
    }
    if arguments.lines {
        sending.send_lines()?;
        return Ok(Exit::Success);
    }
    let reply = match sending.send_stream()? {
        Some(reply) => reply,
        None => sending.wait_for_reply()?,
    };
    drop(sending.gauge);
    match reply.word {
        Word::Complete => Ok(Exit::Success),
        Word::Stopped => {
            log(Ended(reply));
            Ok(Exit::No)
        }
        _ => Err(Failure::new(Ended(reply))),
    }
}

/// How a receiver says that a stream has ended.
struct Ended(Reply);

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "the receiver {}, after {} bytes",
            self.0.word, self.0.bytes
        )
    }
}

/// Waits until `end` for one who takes the stream, or for anybody of that name if it is none.
fn connect(
    channels: &Channels,
    name: &str,
    hello: Option<Hello>,
    end: Option<Instant>,
    interrupt: &Interrupt,
) -> Result<Option<Connection>, Failure> {
    let is_over = || interrupt.came() || end.is_some_and(|end| Instant::now() >= end);
    loop {
        match channels.connect(name, GLANCE) {
            Ok(mut connection) => {
                let Some(hello) = hello else {
                    return Ok(Some(connection));
                };
                // One that goes, or is busy with somebody else until it goes, is followed by another perhaps.
                let mut sent = connection.send(&hello.to_bytes(), GLANCE).is_ok();
                while sent && !is_over() {
                    match connection.recv(GLANCE) {
                        Ok(Some(reply)) => {
                            let reply = Reply::from_bytes(reply);
                            if reply.is_some_and(|reply| reply.word == Word::Accepted) {
                                return Ok(Some(connection));
                            }
                        }
                        Ok(None) | Err(RecvError::TooLong { .. }) => {}
                        Err(RecvError::PeerDied) => std::thread::sleep(GLANCE),
                        Err(_) => sent = false,
                    }
                }
            }
            Err(ConnectError::NobodyThere { .. }) => {}
            Err(error) => return Err(Failure::new(error)),
        }
        if is_over() {
            return Ok(None);
        }
    }
}

/// A stream on its way.
struct Sending<'s> {
    connection: Connection,
    source: Source,
    interrupt: &'s Interrupt,
    gauge: Gauge,
    seal: Seal,
}

impl Sending<'_> {
    /// Sends all data, the end and the seal; returns what the receiver says if it wants no more before.
    fn send_stream(&mut self) -> Result<Option<Reply>, Failure> {
        // One frame each: what has no room in time is not sent in part.
        let longest = self.connection.sender().inner().longest();
        let mut buffer = vec![0; longest.min(MOST_READ)];
        loop {
            if let Some(reply) = self.look_for_reply()? {
                return Ok(Some(reply));
            }
            let data = match self.read(&mut buffer)? {
                Chunk::Data(len) => buffer.get(..len).unwrap_or_default(),
                Chunk::Nothing => continue,
                Chunk::End => break,
            };
            if let Some(reply) = self.send(data)? {
                return Ok(Some(reply));
            }
            self.seal.add(data);
            self.gauge.set(self.seal.bytes());
        }
        let seal = self.seal.to_bytes();
        for last in [&[][..], &seal] {
            if let Some(reply) = self.send(last)? {
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }

    /// Sends each line.
    fn send_lines(&mut self) -> Result<(), Failure> {
        let mut buffer = vec![0; MOST_READ];
        let mut line = Vec::new();
        loop {
            let data = match self.read(&mut buffer)? {
                Chunk::Data(len) => buffer.get(..len).unwrap_or_default(),
                Chunk::Nothing => continue,
                Chunk::End => break,
            };
            for piece in data.split_inclusive(|&byte| byte == b'\n') {
                line.extend_from_slice(piece);
                if line.pop_if(|byte| *byte == b'\n').is_some() {
                    self.send_line(&line)?;
                    line.clear();
                }
            }
        }
        if !line.is_empty() {
            self.send_line(&line)?;
        }
        self.wait_until_read()
    }

    fn send_line(&mut self, line: &[u8]) -> Result<(), Failure> {
        let is_short = line.len() <= self.connection.sender().inner().longest();
        if is_short {
            while self.try_send(line)?.is_none() {}
        } else {
            let sent = self.connection.send(line, LONG_LINE);
            sent.map_err(|error| self.broken_off(error))?;
        }
        self.seal.add(line);
        self.gauge.set(self.seal.bytes());
        Ok(())
    }

    /// Waits until the receiver has taken all there is in the ring.
    fn wait_until_read(&mut self) -> Result<(), Failure> {
        loop {
            match self.connection.sender().inner().unread() {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(broken) => return Err(self.broken_off(broken)),
            }
            self.check()?;
            match self.connection.recv(Duration::from_millis(2)) {
                Err(RecvError::PeerDied) => return Err(self.broken_off(RecvError::PeerDied)),
                // Whatever it says is for nobody.
                _ => continue,
            }
        }
    }

    /// Reads, and wakes up if the receiver rings or Ctrl-C comes.
    fn read(&mut self, buffer: &mut [u8]) -> Result<Chunk, Failure> {
        self.check()?;
        // A receiver that has gone is found out by the next look for a reply.
        let armed = self.connection.receiver().arm();
        if let Err(error @ RecvError::PeerDied) = armed {
            return Err(self.broken_off(error));
        }
        let receiver = &*self.connection.receiver();
        let others = [self.interrupt.as_fd(), receiver.as_fd()];
        self.source.read(buffer, &others, GLANCE)
    }

    /// Sends one message, however long the receiver takes to make room; returns what it says if it wants no more.
    fn send(&mut self, data: &[u8]) -> Result<Option<Reply>, Failure> {
        loop {
            if self.try_send(data)?.is_some() {
                return Ok(None);
            }
            if let Some(reply) = self.look_for_reply()? {
                return Ok(Some(reply));
            }
        }
    }

    /// Tries to send a message of one frame for a moment; returns whether it was.
    fn try_send(&mut self, data: &[u8]) -> Result<Option<()>, Failure> {
        self.check()?;
        match self.connection.send(data, GLANCE) {
            Ok(()) => Ok(Some(())),
            Err(SendError::TimedOut) => Ok(None),
            // What it has said before it went says more.
            Err(error) => match self
                .connection
                .recv(Duration::ZERO)
                .map(|m| m.and_then(Reply::from_bytes))
            {
                Ok(Some(reply)) => Err(Failure::new(Ended(reply))),
                _ => Err(self.broken_off(error)),
            },
        }
    }

    fn look_for_reply(&mut self) -> Result<Option<Reply>, Failure> {
        let received = self.connection.receiver().try_recv();
        match received.map(|message| message.map(Reply::from_bytes)) {
            Ok(None) => Ok(None),
            Ok(Some(Some(reply))) => Ok(Some(reply)),
            Ok(Some(None)) => Err(Failure::new(
                "the receiver says what no receiver of streams does",
            )),
            Err(error) => Err(self.broken_off(error)),
        }
    }

    /// Waits for what the receiver says in the end, however slow its output is.
    fn wait_for_reply(&mut self) -> Result<Reply, Failure> {
        loop {
            self.check()?;
            if let Some(reply) = self.look_for_reply()? {
                return Ok(reply);
            }
            match self.connection.receiver().arm() {
                Ok(_) => {}
                Err(RecvError::Broken(Broken::PeerGone)) => continue,
                Err(error) => return Err(self.broken_off(error)),
            }
            // Only to sleep: the source has ended.
            let receiver = &*self.connection.receiver();
            pipe::sleep_for(&[self.interrupt.as_fd(), receiver.as_fd()], GLANCE);
        }
    }

    fn check(&self) -> Result<(), Failure> {
        if self.interrupt.came() {
            return Err(Failure::new(interrupted(self.seal.bytes(), "sent")));
        }
        Ok(())
    }

    fn broken_off(&self, error: impl std::fmt::Display) -> Failure {
        Failure::new(format!(
            "the stream broke off after {} bytes were sent: {error}",
            self.seal.bytes()
        ))
    }
}
