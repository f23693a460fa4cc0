// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest that does what the host says, for trials with several machines.
//!
//! | line | what the guest does | what it answers |
//! | --- | --- | --- |
//! | `ring PEER VECTOR TIMES` | rings | `@ rang` |
//! | `await VECTOR COUNT` | waits until the handler has run COUNT times since the start | `@ arrived count=N` |
//! | `count VECTOR` | | `@ count n=N` |
//! | `poke OFFSET VALUE` | stores a 32-bit word | `@ poked` |
//! | `peek OFFSET` | loads a 32-bit word | `@ peeked value=N` |
//! | `position` | reads the own ID | `@ position id=N` |
//! | `quit` | passes | |
//!
//! A device with an interrupt line has no vectors: whichever is asked for, the events that the line brought are counted.

use core::str::SplitWhitespace;
use core::sync::atomic::Ordering;

use ivshmem::{PeerId, VectorIndex};

use crate::{attach, device, ensure, Failure, Machine};

/// Vectors with a handler.
const VECTORS: u16 = 8;

/// Obeys the host until it says `quit`.
pub fn puppet<M: Machine>(machine: &mut M) -> Result<(), Failure> {
    let function = device(machine)?;
    let device = attach(machine, &function, VECTORS)?;
    let has_line = match device.intx() {
        Ok(intx) => {
            machine.take_line(&device, &function)?;
            intx.enable();
            true
        }
        Err(_) => false,
    };
    let count = |vector| {
        if has_line {
            machine.line(&device).taken
        } else {
            machine.interrupts(vector)
        }
    };
    machine.say(format_args!("@ ready id={}", device.position()?));
    loop {
        let mut buffer = [0; 128];
        let line = machine.hear(&mut buffer)?;
        let mut words = line.split_whitespace();
        match words.next().unwrap_or_default() {
            "ring" => {
                let peer = PeerId(number(&mut words)?);
                let vector = VectorIndex(number(&mut words)?);
                for _ in 0..number::<u32>(&mut words)? {
                    device.ring(peer, vector)?;
                }
                machine.say(format_args!("@ rang"));
            }
            "await" => {
                let vector = VectorIndex(number(&mut words)?);
                let awaited: u32 = number(&mut words)?;
                let arrived = machine.wait(&mut || count(vector) >= awaited);
                let n = count(vector);
                ensure(arrived, format_args!("{n} interrupts came, not {awaited}"))?;
                machine.say(format_args!("@ arrived count={n}"));
            }
            "count" => {
                let n = count(VectorIndex(number(&mut words)?));
                machine.say(format_args!("@ count n={n}"));
            }
            "poke" => {
                let word = device.memory().atomic_u32(number(&mut words)?)?;
                word.store(number::<u32>(&mut words)?.to_le(), Ordering::Release);
                machine.say(format_args!("@ poked"));
            }
            "peek" => {
                let word = device.memory().atomic_u32(number(&mut words)?)?;
                let value = u32::from_le(word.load(Ordering::Acquire));
                machine.say(format_args!("@ peeked value={value}"));
            }
            "position" => machine.say(format_args!("@ position id={}", device.position()?)),
            "quit" => return Ok(()),
            other => return Err(Failure::new(format_args!("no such order: `{other}`"))),
        }
    }
}

/// Returns the next word as a number.
fn number<T: core::str::FromStr>(words: &mut SplitWhitespace<'_>) -> Result<T, Failure> {
    words
        .next()
        .and_then(|word| word.parse().ok())
        .ok_or_else(|| Failure::from("an order lacks a number"))
}
