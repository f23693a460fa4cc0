// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a pair of devices comes into being.

use std::fs;

use ivshmem_device::Device;
use libtest_mimic::Failed;
use xtask::qemu::option_value;

use super::setup::{Doorbell, Setup, MEMORY_LEN};
use crate::files::Files;
use crate::lab::Lab;
use crate::model::{File, Ram, World};
use crate::twin::{tell_model, Booting, Pair, Send};

/// A peer that comes last, to see that QEMU has taken in all that came before. Not one that sequences ring.
const LAST: u16 = 4;

/// Starts a machine, and makes the model of its device.
pub fn start(lab: &Lab, setup: &Setup) -> Result<Pair, Failed> {
    match &setup.doorbell {
        None => start_plain(lab, setup),
        Some(doorbell) => start_doorbell(lab, setup, doorbell),
    }
}

fn start_plain(lab: &Lab, setup: &Setup) -> Result<Pair, Failed> {
    let mut files = Files::default();
    let mut world = World::default();
    let booting = Booting::alone(lab, setup.board, &setup.device(), |guest, folder| {
        let path = folder.path().join("memory");
        let file = fs::File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        file.set_len(MEMORY_LEN as u64)?;
        world.mapped = Some(files.add(file));
        let path = option_value(&path);
        Ok(guest.object(&format!(
            "memory-backend-file,id=memory,share=on,size={MEMORY_LEN},mem-path={path}"
        )))
    })?;
    let device = Device::with_memory(&setup.properties(), Ram::new(MEMORY_LEN))?;
    booting.pair(device, world, files)
}

fn start_doorbell(lab: &Lab, setup: &Setup, doorbell: &Doorbell) -> Result<Pair, Failed> {
    let mut files = Files::default();
    let booting = Booting::client(lab, setup.board, &setup.device())?;
    let memory = files.add_memory(MEMORY_LEN as u64)?;
    let sends = handshake(doorbell, memory, &mut files)?;
    let mut device = Device::new(&setup.properties())?;
    let mut world = World::default();
    for send in &sends {
        booting.tell(send, &files)?;
        tell_model(&mut device, &mut world, send)?;
    }
    let mut pair = booting.pair(device, world, files)?;
    let last = sends.last().and_then(|send| send.files.first());
    pair.wait_for(LAST, *last.ok_or("the last message has no eventfd")?)?;
    Ok(pair)
}

/// Returns what the server says.
fn handshake(doorbell: &Doorbell, memory: File, files: &mut Files) -> Result<Vec<Send>, Failed> {
    let say = |number: i64, file: Option<File>| Send {
        bytes: number.to_le_bytes().to_vec(),
        files: file.into_iter().collect(),
    };
    let mut sends = vec![
        say(0, None),
        say(doorbell.id.into(), None),
        say(-1, Some(memory)),
    ];
    let own = (doorbell.id, doorbell.own_events);
    for &(peer, count) in doorbell.peers.iter().chain([&own, &(LAST, 1)]) {
        for _ in 0..count {
            sends.push(say(peer.into(), Some(files.add_event()?)));
        }
    }
    Ok(sends)
}
