// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host that leads a guest through scenario `puppet`, with a peer of its own to be rung and to ring.

use ivshmem_device::Memory as _;
use ivshmem_scenarios::{ensure_eq, Failure};

use crate::machine::ModelMachine;
use crate::setup::FIRST;
use crate::table::{own, value};

/// A word of the memory that nothing else uses.
const PLACE: u64 = 0x100;
/// What the guest stores there, and what the host does.
const GUESTS: u32 = 77;
const HOSTS: u32 = 0x8000_0001;
/// The vector that the guest is rung by, and one that it is not.
const RUNG: u16 = 2;
const SILENT: u16 = 1;
/// The vector of the peer that the guest rings, and how often.
const PEERS: u16 = 3;
const TIMES: u64 = 3;

/// Checks what the guest has answered, and gives the next order.
pub fn order(machine: &ModelMachine, said: &[&str]) -> Result<String, Failure> {
    let own = own(machine)?;
    let peer = own + 1;
    Ok(match said[..] {
        ["@", "ready", id] => {
            ensure_eq("ready as", value(id, "id=")?, own.into())?;
            // By now the device has been told of the peer.
            machine.board.settle();
            format!("ring {peer} {PEERS} {TIMES}")
        }
        ["@", "rang"] => {
            let event = machine.hub.event(peer, PEERS).ok_or("no peer")?;
            ensure_eq("doorbells at the peer", event.take(), TIMES)?;
            machine.hub.ring(own, RUNG);
            // On a way that loses the first of two, the second arrives.
            machine.board.settle();
            machine.hub.ring(own, RUNG);
            format!("await {RUNG} 1")
        }
        ["@", "arrived", _] => format!("count {SILENT}"),
        ["@", "count", n] => {
            // A line has one count for all vectors.
            if machine
                .board
                .with(FIRST, |slot| slot.device.properties().msi)
                == Some(true)
            {
                ensure_eq("interrupts of another vector", value(n, "n=")?, 0)?;
            }
            format!("poke {PLACE} {GUESTS}")
        }
        ["@", "poked"] => {
            let mut word = [0; 4];
            machine.memory.read(PLACE, &mut word);
            ensure_eq("the guest's word", u32::from_le_bytes(word), GUESTS)?;
            machine.memory.write(PLACE, &HOSTS.to_le_bytes());
            format!("peek {PLACE}")
        }
        ["@", "peeked", seen] => {
            ensure_eq("the host's word", value(seen, "value=")?, HOSTS.into())?;
            "position".into()
        }
        ["@", "position", id] => {
            ensure_eq("position", value(id, "id=")?, own.into())?;
            "quit".into()
        }
        _ => return Err(Failure::from("the host has no answer to this")),
    })
}
