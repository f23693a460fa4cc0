// SPDX-License-Identifier: MIT OR Apache-2.0
//! `ivshmem-device proxy`: the loop that serves all devices.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use ivshmem_device::adapters::Protocol;
use ivshmem_device::proxy::{Remote, Report, Status};
use ivshmem_device::{Notice, Properties};
use rustix::event::{poll, PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{getrlimit, setrlimit, Resource};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

use crate::cli::ProxyArguments;
use crate::launch::Qemu;
use crate::log::{self, Limited};
use crate::{device, socket, FAILURE};

/// How much the log says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verbosity {
    /// What makes a device less than it was.
    Failures,
    /// All that happens.
    Everything,
}

type Reporter = Box<dyn FnMut(Report)>;

/// A device that QEMU has.
struct Lent {
    name: String,
    remote: Remote<Reporter>,
}

/// Serves until all devices are gone, or a signal comes; returns the exit code.
pub(crate) fn run(arguments: ProxyArguments) -> Result<u8, String> {
    let verbosity = if arguments.verbose {
        Verbosity::Everything
    } else {
        Verbosity::Failures
    };
    let generation = arguments.generation.into();
    let protocol = arguments.protocol.into();
    let devices = arguments
        .devices
        .iter()
        .map(|text| device::parse(generation, text))
        .collect::<Result<Vec<_>, _>>()?;
    // Caught before there is anything to clean up.
    let signals = signals().map_err(|error| format!("cannot catch signals: {error}"))?;

    let mut theirs = Vec::new();
    let ours = if arguments.command.is_empty() {
        inherited(&arguments.descriptors, devices.len())?
    } else {
        let mut ours = Vec::new();
        for _ in &devices {
            let (our_end, qemus_end) = socket::pair()?;
            ours.push(our_end);
            theirs.push(qemus_end);
        }
        ours
    };
    let lent = arguments
        .devices
        .iter()
        .zip(devices)
        .zip(ours)
        .map(|((name, properties), socket)| lend(name, &properties, protocol, socket, verbosity))
        .collect::<Result<Vec<_>, _>>()?;
    // Last, because it is what cannot be taken back.
    let qemu = if arguments.command.is_empty() {
        None
    } else {
        Some(Qemu::start(&arguments.command, theirs)?)
    };
    // After COMMAND, which keeps the limit that it was given.
    raise_descriptor_limit()?;
    serve(lent, qemu, signals, verbosity)
}

/// Raises the soft limit of open descriptors to the hard one: servers send one for each vector of each peer.
fn raise_descriptor_limit() -> Result<(), String> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)
        .map_err(|error| format!("cannot raise the limit of open descriptors: {error}"))
}

/// Returns the inherited sockets, one for each device.
fn inherited(numbers: &[i32], devices: usize) -> Result<Vec<OwnedFd>, String> {
    if numbers.is_empty() {
        return Err("no qemu to lend to; give --fd N for each device, or -- COMMAND".to_owned());
    }
    if numbers.len() != devices {
        return Err(format!(
            "{} --fd for {devices} --device; give one for each, in the same order",
            numbers.len()
        ));
    }
    for (index, number) in numbers.iter().enumerate() {
        if numbers.iter().skip(index + 1).any(|other| other == number) {
            return Err(format!(
                "--fd {number} is given twice; each device has its own"
            ));
        }
    }
    numbers.iter().copied().map(socket::inherited).collect()
}

fn lend(
    name: &str,
    properties: &Properties,
    protocol: Protocol,
    socket: OwnedFd,
    verbosity: Verbosity,
) -> Result<Lent, String> {
    let mut log = Limited::new(name.to_owned());
    let report = move |what: Report| {
        let is_failure = matches!(
            what,
            Report::ServerLost(_) | Report::Notice(Notice::Server(_) | Notice::ServerGone)
        );
        if is_failure || verbosity == Verbosity::Everything {
            log.line(what);
        }
    };
    let remote = Remote::open(properties, protocol, socket, Box::new(report) as Reporter)
        .map_err(|error| format!("--device {name}: {error}"))?;
    Ok(Lent {
        name: name.to_owned(),
        remote,
    })
}

/// Returns what becomes readable when a signal comes.
fn signals() -> std::io::Result<UnixStream> {
    let (reader, writer) = UnixStream::pair()?;
    reader.set_nonblocking(true)?;
    pipe::register(SIGTERM, writer.try_clone()?)?;
    pipe::register(SIGINT, writer)?;
    Ok(reader)
}

/// The loop.
fn serve(
    mut lent: Vec<Lent>,
    mut qemu: Option<Qemu>,
    mut signals: UnixStream,
    verbosity: Verbosity,
) -> Result<u8, String> {
    let mut code = 0;
    while qemu.is_some() || !lent.is_empty() {
        let ready = wait(&lent, qemu.as_ref(), &signals)?;
        if ready.signal {
            let Some(qemu) = &mut qemu else {
                return Ok(code);
            };
            // A byte for each.
            for _ in 0..signals.read(&mut [0; 64]).unwrap_or(0) {
                qemu.end();
            }
        }
        let mut is_ready = ready.devices.into_iter();
        lent.retain_mut(|Lent { name, remote }| {
            if !is_ready.next().unwrap_or(false) {
                return true;
            }
            match remote.handle() {
                Ok(Status::Plugged) => true,
                Ok(Status::Unplugged) => {
                    if verbosity == Verbosity::Everything {
                        log::line(format_args!("{name}: unplugged"));
                    }
                    false
                }
                Err(error) => {
                    log::line(format_args!("{name}: {error}; the device ends"));
                    code = FAILURE;
                    false
                }
            }
        });
        if ready.qemu {
            if let Some(code) = qemu.as_mut().map(Qemu::exit_code).transpose()?.flatten() {
                return Ok(code);
            }
        }
    }
    Ok(code)
}

/// What there is to do.
struct Ready {
    signal: bool,
    qemu: bool,
    /// For each device in turn.
    devices: Vec<bool>,
}

/// Waits until there is something to do.
fn wait(lent: &[Lent], qemu: Option<&Qemu>, signals: &UnixStream) -> Result<Ready, String> {
    let readable = PollFlags::IN;
    let mut polled = vec![PollFd::from_borrowed_fd(signals.as_fd(), readable)];
    polled.extend(lent.iter().map(|lent| PollFd::new(&lent.remote, readable)));
    polled.extend(qemu.map(|qemu| PollFd::new(qemu, readable)));
    match poll(&mut polled, None) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(format!("cannot wait: {error}")),
    }
    let mut ready = polled.iter().map(|polled| !polled.revents().is_empty());
    Ok(Ready {
        signal: ready.next().unwrap_or(false),
        devices: ready.by_ref().take(lent.len()).collect(),
        qemu: ready.next().unwrap_or(false),
    })
}
