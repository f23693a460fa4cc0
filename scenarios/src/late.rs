// SPDX-License-Identifier: MIT OR Apache-2.0
//! The scenario of a device whose server answers after the guest has started, revision 0.

use core::task::Poll;

use ivshmem::{DeviceError, Flavour, PeerId, VectorIndex};

use crate::{device, ensure, ensure_eq, pattern, Failure, Machine};

/// The seeds of the words that the host leaves at the start of the memory, and the guest at its end.
const HOSTS_SEED: u64 = 0x1a7e;
const GUESTS_SEED: u64 = 0x1a7f;

/// Sees the device without ID, asks the host for its memory and ID by `@ early`, and waits for both.
///
/// The host has the server send them then, the memory with the pattern of seed 0x1a7e in its first word, and
/// says `sent`. It finds the pattern of seed 0x1a7f in the last word when the scenario has passed. `id=` is the ID.
pub fn late<M: Machine>(machine: &mut M) -> Result<(), Failure> {
    let function = device(machine)?;
    let device = machine.attach(&function, 0)?;
    ensure_eq("flavour", device.flavour(), Flavour::Legacy)?;
    // Were it to come by itself, it would come now.
    for _ in 0..3 {
        let position = device.position();
        ensure_eq("position, early", position, Err(DeviceError::NotReady))?;
        ensure_eq("ready, early", device.poll_ready(), Poll::Pending)?;
        // Nobody can be rung yet; trying is harmless.
        device.ring(PeerId(1), VectorIndex(0))?;
        machine.pause(10);
    }
    machine.say(format_args!("@ early"));
    let mut line = [0; 16];
    let answer = machine.hear(&mut line)?;
    ensure(
        answer == "sent",
        format_args!("the host said `{answer}`, not `sent`"),
    )?;
    machine.wait(&mut || device.poll_ready().is_ready());
    device.wait_ready(|| false)?;
    let own = device.position()?;
    let id = machine.argument("id").ok_or("the host did not say id=")?;
    ensure_eq("position, late", own, PeerId(id.parse()?))?;

    let memory = device.memory();
    let mut first = [0; pattern::WORD];
    memory.read(0, &mut first)?;
    ensure(
        first == pattern::word(HOSTS_SEED, 0).to_le_bytes(),
        format_args!("the first word is {first:x?}, not what the host wrote"),
    )?;
    let last = memory.len() - pattern::WORD;
    let word = pattern::word(GUESTS_SEED, last as u64);
    memory.write(last, &word.to_le_bytes())?;
    machine.say(format_args!("@ late id={own} len={}", memory.len()));
    Ok(())
}
