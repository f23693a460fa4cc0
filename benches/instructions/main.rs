// SPDX-License-Identifier: MIT OR Apache-2.0
//! Operations of channels, for `cargo xtask instructions` to count what they cost.
//!
//! `instructions CASE` does what a case needs, then its operation [`TIMES`] times, in [`repeat`], and prints that
//! number. Only what is done in `repeat` is to be counted. Without arguments it names the cases.
//!
//! Nothing here may depend on the processor: copies are made in a way that is said, not found out.

mod operations;
mod setting;

use std::process::ExitCode;
use std::thread;

use ivshmem::CopyStrategy;
use operations::{
    arm, connect, join_and_leave, peek_and_release, poll_event, receive, receive_nothing,
    reserve_and_commit, send, send_and_receive, wake,
};

/// Operations of one run. Not more than there can be others to connect to, nor than go into one ring.
const TIMES: usize = 250;

const WORDS: CopyStrategy = CopyStrategy::WORDS;
/// For messages as short as these, registers of 16 bytes.
const SSE2: CopyStrategy = CopyStrategy::STRINGS;

/// A name, and what prepares and does the operation.
type Case = (&'static str, fn());

const CASES: [Case; 23] = [
    ("send-8-words", || send(WORDS, 8)),
    ("send-64-words", || send(WORDS, 64)),
    ("send-1024-words", || send(WORDS, 1024)),
    ("send-8-sse2", || send(SSE2, 8)),
    ("send-64-sse2", || send(SSE2, 64)),
    ("send-1024-sse2", || send(SSE2, 1024)),
    ("receive-8-words", || receive(WORDS, 8)),
    ("receive-64-words", || receive(WORDS, 64)),
    ("receive-1024-words", || receive(WORDS, 1024)),
    ("receive-8-sse2", || receive(SSE2, 8)),
    ("receive-64-sse2", || receive(SSE2, 64)),
    ("receive-1024-sse2", || receive(SSE2, 1024)),
    ("reserve-write-commit-64", reserve_and_commit),
    ("peek-copy-release-64", peek_and_release),
    ("send-receive-64-small-ring", send_and_receive),
    ("receive-from-empty", receive_nothing),
    ("arm-receiver", arm),
    ("arm-send-ring-receive-8", wake),
    ("poll-event-2-slots", || poll_event(2)),
    ("poll-event-16-slots", || poll_event(16)),
    ("connect", connect),
    ("join-leave-2-slots", || join_and_leave(2)),
    ("join-leave-16-slots", || join_and_leave(16)),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo bench` adds an argument of its own.
    let names: Vec<&String> = arguments.iter().filter(|word| *word != "--bench").collect();
    let [name] = names.as_slice() else {
        for (name, _) in CASES {
            println!("{name}");
        }
        return ExitCode::SUCCESS;
    };
    let Some((_, run)) = CASES.iter().find(|case| case.0 == *name) else {
        eprintln!("there is no case {name}; without arguments this names them all");
        return ExitCode::FAILURE;
    };
    // On a stack of its own, whose place does not depend on arguments and environment: how libc copies depends on
    // where.
    if thread::spawn(*run).join().is_err() {
        return ExitCode::FAILURE;
    }
    println!("{TIMES}");
    ExitCode::SUCCESS
}

/// Does what is counted.
#[inline(never)]
fn repeat(mut operation: impl FnMut(usize)) {
    for index in 0..TIMES {
        operation(index);
    }
}
