// SPDX-License-Identifier: MIT OR Apache-2.0
//! A lent device at the end of QEMU's socket: any messages with real descriptors, and what it answers.

use std::fs;
use std::io::{IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use ivshmem_device::adapters::Protocol;
use ivshmem_device::proxy::{Remote, Report, Status, HEADER_LEN};
use ivshmem_device::{Generation, Properties};
use rustix::event::{eventfd, EventfdFlags};
use rustix::net::{sendmsg, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use crate::input::Input;
use crate::proxy_stream::message;

/// The command of an answer, and the size of one with a value.
const ANSWER: i32 = 1;
const VALUE_LEN: usize = 8;
/// Most descriptors that ride on one message here; the proxy takes 8.
const MAX_CARRIED: u8 = 10;

/// How far an input got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Answers that came.
    pub answers: usize,
    /// Whether the connection had to be given up.
    pub refused: bool,
}

/// Sends a lent device what `data` says.
///
/// # Panics
///
/// If a property does not hold.
pub fn run(data: &[u8]) -> Reached {
    let before = open_files();
    let reached = converse(&mut Input::new(data));
    assert_eq!(open_files(), before, "descriptors are left");
    reached
}

fn converse(input: &mut Input<'_>) -> Reached {
    let generation = match input.take::<u8>() % 2 {
        0 => Generation::V2_3,
        _ => Generation::V2_5,
    };
    let name = format!("/ivshmem-fuzz-{}", std::process::id());
    let text = format!("ivshmem,shm={name},size=1M,msi=off,use64=0");
    let properties = Properties::parse(generation, &text).unwrap();
    let (ours, mut qemus) = UnixStream::pair().unwrap();
    qemus.set_nonblocking(true).unwrap();
    let report = |report: Report| assert!(!report.to_string().is_empty());
    let remote = Remote::open(&properties, Protocol::Version0, ours.into(), report);
    let _ = rustix::shm::unlink(name.as_str());
    let mut remote = remote.unwrap();
    let mut answers = Vec::new();
    let mut reached = Reached::default();
    while !input.is_empty() && !reached.refused {
        let carried = match input.take::<u8>() {
            how if how.is_multiple_of(4) => how / 4 % MAX_CARRIED,
            _ => 0,
        };
        send(&qemus, &message(input), carried);
        reached.refused = serve(&mut remote);
        // All that the socket holds; the end, or nothing for now, comes as an error or as 0.
        let _ = qemus.read_to_end(&mut answers);
    }
    drop(remote);
    reached.answers = check(&answers);
    reached
}

/// Sends a message with `carried` eventfds, the first of which can be read.
fn send(socket: &UnixStream, bytes: &[u8], carried: u8) {
    let events: Vec<OwnedFd> = (0..carried)
        .map(|index| eventfd(u32::from(index == 0), EventfdFlags::CLOEXEC).unwrap())
        .collect();
    let borrowed: Vec<_> = events.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_CARRIED as usize))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    if !borrowed.is_empty() {
        assert!(rights.push(SendAncillaryMessage::ScmRights(&borrowed)));
    }
    // It is refused once the other end has given up.
    let _ = sendmsg(
        socket,
        &[IoSlice::new(bytes)],
        &mut rights,
        SendFlags::NOSIGNAL,
    );
}

/// Lets the device deal with all that was sent, and returns whether the connection has to be given up.
fn serve(remote: &mut Remote<impl FnMut(Report)>) -> bool {
    // More than any message takes: a header, a payload and the eventfds.
    for _ in 0..16 {
        match remote.handle() {
            Ok(Status::Plugged) => {}
            Ok(Status::Unplugged) => panic!("nobody has hung up"),
            Err(error) => {
                assert!(!error.to_string().is_empty());
                return true;
            }
        }
    }
    false
}

/// Checks that all answers are whole, and counts them.
fn check(mut answers: &[u8]) -> usize {
    let mut count = 0;
    while !answers.is_empty() {
        assert!(answers.len() >= HEADER_LEN, "an answer in pieces");
        assert_eq!(answers[..4], ANSWER.to_le_bytes());
        let len = usize::from(answers[8]);
        assert!(len == 0 || len == VALUE_LEN);
        assert_eq!(answers[9..HEADER_LEN], [0; 7]);
        assert!(answers.len() >= HEADER_LEN + len, "an answer in pieces");
        answers = &answers[HEADER_LEN + len..];
        count += 1;
    }
    count
}

/// Returns how many files the process has open.
fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}
