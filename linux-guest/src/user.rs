// SPDX-License-Identifier: MIT OR Apache-2.0
//! The part of a program that uses the device: being rung, channels, and how fast the memory is.

use std::time::Duration;

use ivshmem::{PeerId, VectorIndex};
use ivshmem_host::channel::Options;
use ivshmem_host::peer::Peer;

use crate::{speed, system, talk, Failure};

/// The word that has a process use the device.
pub const USES: &str = "uses";

/// The word that has a process open the device and wait for its end.
pub const HOLDS: &str = "holds";

/// What a process says that holds the device.
pub const HELD: &str = "held";

/// Who owns the device's group under VFIO.
pub const USER: u32 = 1000;

/// The name of this machine as a member.
const NAME: &str = "linux";

/// How long a ring may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Does what the word `role` says.
pub fn run(role: &str, address: &str) -> Result<(), Failure> {
    if role == HOLDS {
        let peer = Peer::open_pci(address)?;
        println!("{HELD}");
        while peer.wait_any(PATIENCE)?.is_empty() {}
        return Ok(());
    }
    let uid = rustix::process::getuid().as_raw();
    let peer = Peer::open_pci(address)?;
    let id = peer.id().map_or("none".to_owned(), |id| id.to_string());
    println!(
        "@ peer uid={uid} id={id} vectors={} bytes={}",
        peer.vectors(),
        peer.memory().len()
    );
    if let Some(own) = peer.id() {
        ring_all(&peer, own)?;
    }
    if peer.vectors() > 0 {
        // VFIO has given it to this process alone.
        let second = Peer::open_pci(address).map(|peer| peer.id());
        println!("@ second {}", second.err().ok_or("it was opened twice")?);
    }
    speed::show(peer, address)?;

    let messages = system::word("ivshmem.messages")?.parse()?;
    let channels = Options::new(NAME).spin(Duration::ZERO).join_pci(address)?;
    println!(
        "@ joined slot={} incarnation={}",
        channels.slot(),
        channels.incarnation()
    );
    for name in system::word("ivshmem.peers")?.split(',') {
        talk::exchange(&channels, name, messages)?;
    }
    Ok(())
}

/// Rings each vector: through the Doorbell register, QEMU, the interrupt and the kernel, to the eventfd and back here.
fn ring_all(peer: &Peer, own: PeerId) -> Result<(), Failure> {
    for vector in (0..u16::try_from(peer.vectors())?).map(VectorIndex) {
        for _ in 0..3 {
            peer.ring(own, vector)?;
            if !peer.wait(vector, PATIENCE)? {
                return Err(format!("vector {vector} does not ring").into());
            }
        }
        println!("@ rung vector={vector}");
    }
    Ok(())
}
