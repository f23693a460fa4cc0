// SPDX-License-Identifier: MIT OR Apache-2.0
//! `ivshmem recv`.

mod lobby;
mod target;

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use ivshmem::channel::{Broken, Name};
use ivshmem_host::channel::{Connection, Options, RecvError};

use super::duration::seconds;
use super::interrupt::Interrupt;
use super::membership::{name, Membership};
use super::output::log;
use super::pipe::stream::{Hello, Reply, Seal, Word};
use super::pipe::{interrupted, Gauge, GLANCE};
use super::{Exit, Failure};
use lobby::Lobby;
use target::Target;

/// How long to look again where nobody rings.
const NAP: Duration = Duration::from_millis(2);

/// How long the sender may take to see how it ended.
const FAREWELL: Duration = Duration::from_secs(2);

const EXAMPLE: &str = "\
It is the member named NAME, and takes the first stream that anybody sends to it, as `ivshmem send NAME` does, or a
guest (docs/channels.md, \"Streams of send and recv\"). Either may be started first.

Examples:
  ivshmem recv backup | tar x        and elsewhere   tar c . | ivshmem send backup
  ivshmem recv -o core --from guest-a --progress
  ivshmem recv console --from guest-a --lines

Exit status: 0 if all has come, by length and checksum, or nobody reads stdout any more; 1 if nobody has sent
anything; 2 if the stream broke off or the command could not do its work.";

/// Receive a stream, or messages as lines, from a member.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Arguments {
    /// Own name, which the sender has to know.
    #[arg(default_value = "recv", value_parser = name)]
    name: String,

    #[command(flatten)]
    membership: Membership,

    /// Write to this file instead of stdout. It is created, or emptied when somebody sends.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Name of the sender [default: whoever sends first].
    #[arg(long, value_name = "NAME", value_parser = name)]
    from: Option<String>,

    /// How many seconds to wait for a sender [default: for ever].
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    wait: Option<Duration>,

    /// Write each message of any member as a line, until that member leaves.
    #[arg(long)]
    lines: bool,

    /// End after so many lines [default: when the sender leaves].
    #[arg(long, value_name = "N", requires = "lines", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Show on stderr how far it is.
    #[arg(long)]
    progress: bool,
}

/// Receives until the end.
pub(super) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let interrupt = Interrupt::catch()?;
    let target = Target::open(arguments.output.clone())?;
    let channels = arguments.membership.join(Options::new(&arguments.name));
    let channels = channels.map_err(|error| arguments.membership.explain(error))?;
    let mut lobby = Lobby::new(&channels, arguments.from.as_deref().map(Name::new));
    let now = Instant::now();
    let end = arguments.wait.and_then(|wait| now.checked_add(wait));
    let first = lobby.wait(end, &interrupt, |message| {
        arguments.lines || Hello::from_bytes(message).is_some()
    })?;
    let Some((connection, message)) = first else {
        if interrupt.came() {
            return Err(Failure::new("interrupted before anybody has sent anything"));
        }
        log(format_args!(
            "nobody has sent anything to {} in time; send it something: ivshmem send {0}",
            arguments.name
        ));
        return Ok(Exit::No);
    };
    target.begin()?;
    let hello = Hello::from_bytes(&message);
    let gauge = if arguments.progress {
        Gauge::begin(hello.and_then(|hello| hello.size))
    } else {
        Gauge::off()
    };
    let mut receiving = Receiving {
        connection,
        target,
        interrupt: &interrupt,
        gauge,
        seal: Seal::default(),
    };
    if arguments.lines {
        receiving.receive_lines(message, arguments.count)
    } else {
        receiving.receive_stream()
    }
}

/// A stream that arrives.
struct Receiving<'s> {
    connection: Connection,
    target: Target,
    interrupt: &'s Interrupt,
    gauge: Gauge,
    seal: Seal,
}

/// What has become of one message.
enum Taken {
    Data,
    /// The end of the data.
    End,
    /// Nobody reads the output any more.
    Stopped,
}

impl Receiving<'_> {
    fn receive_stream(&mut self) -> Result<Exit, Failure> {
        self.reply(Word::Accepted);
        loop {
            match self.take(b"")? {
                Taken::Data => {}
                Taken::Stopped => return Ok(Exit::Success),
                Taken::End => break,
            }
        }
        let expected = self.seal.to_bytes();
        let is_whole = self.next(|_, _, message| message == expected)?;
        self.gauge = Gauge::off();
        if is_whole {
            self.end(Word::Complete);
            return Ok(Exit::Success);
        }
        self.end(Word::Damaged);
        Err(Failure::new(format!(
            "the stream is damaged: {} bytes arrived, which length or checksum of the sender do not fit",
            self.seal.bytes()
        )))
    }

    /// Writes messages as lines, `message` first.
    fn receive_lines(&mut self, mut message: Vec<u8>, count: Option<u64>) -> Result<Exit, Failure> {
        message.push(b'\n');
        if let Err(error) = self.target.file.write_all(&message) {
            return self.fail(&error).map(|()| Exit::Success);
        }
        let mut lines = 1;
        while count.is_none_or(|count| lines < count) {
            match self.take(b"\n") {
                Ok(Taken::Data | Taken::End) => lines += 1,
                Ok(Taken::Stopped) => break,
                // It has said all it had to.
                Err(_) if self.has_left() => break,
                Err(failure) => return Err(failure),
            }
        }
        Ok(Exit::Success)
    }

    fn has_left(&mut self) -> bool {
        let last = self.connection.receiver().try_recv();
        last.is_err_and(|error| error == RecvError::Broken(Broken::PeerGone))
    }

    /// Receives the next message, and writes it with `end` behind it.
    fn take(&mut self, end: &[u8]) -> Result<Taken, Failure> {
        let taken = self.next(|target, seal, data| {
            if data.is_empty() && end.is_empty() {
                return Ok(Taken::End);
            }
            target.write_all(data)?;
            target.write_all(end)?;
            seal.add(data);
            Ok(Taken::Data)
        })?;
        self.gauge.set(self.seal.bytes());
        taken.or_else(|error: io::Error| self.fail(&error).map(|()| Taken::Stopped))
    }

    /// Waits for the next message, and has something done with it.
    fn next<R>(
        &mut self,
        act: impl FnOnce(&mut File, &mut Seal, &[u8]) -> R,
    ) -> Result<R, Failure> {
        loop {
            if self.interrupt.came() {
                self.reply(Word::Interrupted);
                return Err(Failure::new(interrupted(self.seal.bytes(), "received")));
            }
            match self.connection.recv(GLANCE) {
                Ok(Some(message)) => {
                    return Ok(act(&mut self.target.file, &mut self.seal, message));
                }
                Ok(None) => {}
                Err(error) => {
                    return Err(Failure::new(format!(
                        "the stream broke off after {} bytes had arrived: {error}",
                        self.seal.bytes()
                    )));
                }
            }
        }
    }

    /// Tells the sender that the output cannot be written, and returns that as a failure unless it is because nobody
    /// reads it.
    fn fail(&mut self, error: &io::Error) -> Result<(), Failure> {
        self.gauge = Gauge::off();
        if error.kind() == ErrorKind::BrokenPipe {
            self.end(Word::Stopped);
            return Ok(());
        }
        self.end(Word::Failed);
        Err(Failure::new(format!(
            "cannot write to {}: {error}; {} bytes were written before",
            self.target.name,
            self.seal.bytes()
        )))
    }

    /// Says something to the sender, which knows how it ended if it does not hear it.
    fn reply(&mut self, word: Word) {
        let bytes = self.seal.bytes();
        let reply = Reply { word, bytes };
        let _ = self.connection.send(&reply.to_bytes(), GLANCE);
    }

    /// Says how it ended, and waits until the sender has heard it.
    fn end(&mut self, word: Word) {
        self.reply(word);
        let start = Instant::now();
        while start.elapsed() < FAREWELL {
            // What the sender still sends has to go somewhere, or it would wait for room.
            let has_gone = self.connection.receiver().try_recv().is_err();
            let unread = self.connection.sender().inner().unread();
            if has_gone || !matches!(unread, Ok(1..)) {
                return;
            }
            std::thread::sleep(NAP);
        }
    }
}
