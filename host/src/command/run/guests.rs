// SPDX-License-Identifier: MIT OR Apache-2.0
//! Guests that run: their words on our stdout, their end.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{kill_process, Pid, Signal};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::plan::Plan;
use crate::command::output::log;
use crate::command::{Exit, Failure};

/// How often it is looked whether a guest has ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// How long a guest that was asked to end may take.
const GRACE: Duration = Duration::from_secs(5);

/// Whether all is to end: somebody has pressed Ctrl-C, or nobody reads any more.
#[derive(Clone, Debug)]
pub(super) struct Signals(Arc<AtomicBool>);

impl Signals {
    /// Catches SIGINT and SIGTERM from now on.
    pub(super) fn catch() -> Result<Self, Failure> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&flag))
                .map_err(|error| Failure::new(format!("cannot catch signals: {error}")))?;
        }
        Ok(Self(flag))
    }

    fn raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Starts all guests and waits until each has ended.
pub(super) fn run(plan: &Plan, signals: Signals) -> Result<Exit, Failure> {
    let mut guests = Vec::new();
    for number in 1..=plan.guests {
        // Those that have been started end with `guests` if this one cannot be.
        guests.push(Guest::start(plan, number, &signals)?);
    }
    let mut deadline = None;
    loop {
        let mut running = false;
        for guest in &mut guests {
            running |= guest.look()?;
        }
        if !running {
            break;
        }
        match deadline {
            None if signals.raised() => {
                guests.iter().for_each(|guest| guest.signal(Signal::TERM));
                deadline = Some(Instant::now() + GRACE);
            }
            Some(end) if Instant::now() >= end => {
                guests.iter().for_each(|guest| guest.signal(Signal::KILL));
            }
            _ => {}
        }
        thread::sleep(LOOK_INTERVAL);
    }
    let worst = guests
        .iter()
        .filter_map(|guest| guest.status)
        .map(code)
        .max();
    guests.into_iter().for_each(Guest::drain);
    Ok(match worst.unwrap_or(0) {
        0 => Exit::Success,
        code => Exit::Guest(code),
    })
}

/// Returns the status that a shell would give.
fn code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok())
        .unwrap_or(u8::MAX)
}

/// A guest. Dropping it kills it.
#[derive(Debug)]
struct Guest {
    name: String,
    child: Child,
    status: Option<ExitStatus>,
    readers: Vec<JoinHandle<()>>,
}

impl Guest {
    fn start(plan: &Plan, number: u16, signals: &Signals) -> Result<Self, Failure> {
        let words = plan.words(number);
        let name = Plan::name(number);
        let failed = |error| {
            Failure::new(format!(
                "cannot start {}: {error}; install QEMU (Debian: qemu-system-x86) or set IVSHMEM_QEMU",
                plan.qemu.display()
            ))
        };
        let mut child = Command::new(&plan.qemu)
            .args(words.get(1..).unwrap_or_default())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for us; we end our guests in order.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let stdout = child.stdout.take();
        let stderr = child.stderr.take();
        let mut guest = Self {
            name,
            child,
            status: None,
            readers: Vec::new(),
        };
        let prefix = format!("{}| ", guest.name);
        let signals = signals.clone();
        guest.read(stdout, prefix.clone(), move |line| {
            let mut stdout = std::io::stdout().lock();
            let written = stdout.write_all(line).and_then(|()| stdout.flush());
            if written.is_err() {
                // Nobody reads any more, as `head` after its lines.
                signals.raise();
            }
        })?;
        guest.read(stderr, prefix, |line| {
            // A log that cannot be written must not end the guests.
            let _ = std::io::stderr().lock().write_all(line);
        })?;
        Ok(guest)
    }

    /// Passes on each line of `source` behind `prefix`, in a thread of its own.
    fn read(
        &mut self,
        source: Option<impl Read + Send + 'static>,
        prefix: String,
        write: impl Fn(&[u8]) + Send + 'static,
    ) -> Result<(), Failure> {
        let Some(source) = source else {
            return Ok(());
        };
        let reader = thread::Builder::new()
            .name(self.name.clone())
            .spawn(move || pass_on(BufReader::new(source), prefix.as_bytes(), write))
            .map_err(|error| Failure::new(format!("cannot start a thread: {error}")))?;
        self.readers.push(reader);
        Ok(())
    }

    /// Looks whether it has ended, and returns whether it still runs.
    fn look(&mut self) -> Result<bool, Failure> {
        if self.status.is_some() {
            return Ok(false);
        }
        self.status = self
            .child
            .try_wait()
            .map_err(|error| Failure::new(format!("cannot wait for {}: {error}", self.name)))?;
        if let Some(status) = self.status {
            log(format_args!("{} has ended: {status}", self.name));
        }
        Ok(self.status.is_none())
    }

    /// Sends it a signal, unless it has ended: then its number may be another's.
    fn signal(&self, signal: Signal) {
        if self.status.is_none() {
            // Fails only if it has ended this moment.
            let _ = kill_process(Pid::from_child(&self.child), signal);
        }
    }

    /// Waits until all that it has written is passed on.
    fn drain(mut self) {
        for reader in self.readers.drain(..) {
            // It has no reason to panic, and if it did, the rest is lost in any case.
            let _ = reader.join();
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if self.status.is_none() {
            // Both fail only if it has ended.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Passes on lines, also one without an end; a carriage return before the end is left out.
fn pass_on(mut source: impl BufRead, prefix: &[u8], write: impl Fn(&[u8])) {
    /// As much of a line without an end as is kept until it is passed on.
    const LONGEST: u64 = 1 << 16;
    loop {
        let mut line = prefix.to_vec();
        let read = (&mut source).take(LONGEST).read_until(b'\n', &mut line);
        if !read.is_ok_and(|length| length > 0) {
            return;
        }
        while matches!(line.last(), Some(b'\n' | b'\r')) {
            line.pop();
        }
        line.push(b'\n');
        write(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn lines_are_passed_on_with_the_name_in_front() {
        for (text, expected) in [
            (&b"one\ntwo\r\n"[..], &b"g| one\ng| two\n"[..]),
            (b"open", b"g| open\n"),
            (b"\n", b"g| \n"),
            (b"", b""),
            (b"\xff\n", b"g| \xff\n"),
        ] {
            let seen = RefCell::new(Vec::new());
            pass_on(text, b"g| ", |line| {
                seen.borrow_mut().extend_from_slice(line)
            });
            assert_eq!(seen.into_inner(), expected);
        }
    }

    #[test]
    fn a_status_is_that_of_a_shell() {
        assert_eq!(code(ExitStatus::from_raw(0)), 0);
        assert_eq!(code(ExitStatus::from_raw(33 << 8)), 33);
        assert_eq!(code(ExitStatus::from_raw(9)), 137);
    }
}
