// SPDX-License-Identifier: MIT OR Apache-2.0
//! What QEMU 7.2 writes where the model has an error.

use std::thread;
use std::time::{Duration, Instant};

use ivshmem_device::{Notice, ServerError};
use libtest_mimic::Failed;

use crate::lab::PATIENCE;
use crate::twin::Pair;

/// How often to look for what QEMU writes.
const POLL: Duration = Duration::from_millis(1);

/// Returns whether a line of QEMU's says what `error` says.
pub fn agrees(line: &str, error: &ServerError) -> bool {
    let words = match *error {
        ServerError::Version { found: 0 } => "server sent invalid version message".into(),
        ServerError::Version { found } => format!("server sent version {found}, expecting 0"),
        ServerError::OwnId { .. } => "server sent invalid ID message".into(),
        ServerError::NoMemory => "can't determine size of shared memory sent by server".into(),
        ServerError::NotMemory | ServerError::MemorySize { has: 0 } => {
            "must be equal to or larger than page size".into()
        }
        ServerError::MemorySize { has } => format!("backing store size {has:#x}"),
        ServerError::SecondMemory => "server sent unexpected shared memory message".into(),
        ServerError::Number { found } => format!("server sent invalid message {found}"),
        ServerError::TooManyEvents { vectors, .. } => {
            format!("Too many eventfd received, device has {vectors} vectors")
        }
        ServerError::Departure { peer } => format!("invalid peer {peer}"),
        _ => return false,
    };
    line.contains(&words)
}

/// Compares what QEMU has written since it had written `seen` lines with what the model has noticed. Returns the
/// number of lines.
pub fn compare(pair: &mut Pair, seen: usize) -> Result<usize, Failed> {
    let notices = pair.world.notices.drain(..);
    let errors: Vec<ServerError> = notices
        .filter_map(|notice| match notice {
            Notice::Server(error) => Some(error),
            _ => None,
        })
        .collect();
    let deadline = Instant::now() + PATIENCE;
    let lines = loop {
        // What QEMU has written is here soon, as a thread of ours reads it.
        let lines = pair.rig.vm.report().stderr;
        if lines.len() >= seen + errors.len() || Instant::now() > deadline {
            break lines;
        }
        thread::sleep(POLL);
    };
    let new: Vec<&str> = lines.iter().skip(seen).map(|line| &line.text[..]).collect();
    let agree = new.len() == errors.len()
        && new
            .iter()
            .zip(&errors)
            .all(|(line, error)| agrees(line, error));
    if agree {
        return Ok(lines.len());
    }
    Err(format!("QEMU says {new:#?}, the model {errors:#?}").into())
}
