// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages with others, each of them checked.

use std::time::{Duration, Instant};

use ivshmem_host::channel::{Channels, RecvError, SendError};
use ivshmem_scenarios::traffic::{compose, examine, seed, LONGEST};

use crate::Failure;

/// How long another may take for its part on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Exchanges messages with a member of a crowd called `name`.
pub fn exchange(channels: &Channels, name: &str, messages: u64) -> Result<(), Failure> {
    let mut connection = channels.connect(name, PATIENCE)?;
    let peers = channels.peers()?;
    let peer = peers.iter().find(|peer| peer.name.to_string() == name);
    let peer = peer.ok_or("the peer has left again")?;
    let (own, other) = (
        seed((channels.slot(), channels.incarnation())),
        seed((peer.slot, peer.incarnation)),
    );
    let mut buffer = [0; LONGEST];
    let start = Instant::now();
    for number in 0..messages {
        let message = compose(own, number, &mut buffer);
        loop {
            match connection.send(message, PATIENCE) {
                Ok(()) => break,
                // Machines that emulate each other on few processors may seem dead for a moment.
                Err(SendError::PeerDied) if start.elapsed() < 3 * PATIENCE => {}
                Err(error) => return Err(error.into()),
            }
        }
        loop {
            match connection.recv(PATIENCE) {
                Ok(Some(message)) => {
                    let examined = examine(other, number, message);
                    examined.map_err(|failure| failure.as_str().to_owned())?;
                    break;
                }
                Ok(None) => return Err(format!("{name} is silent after {number} messages").into()),
                Err(RecvError::PeerDied) if start.elapsed() < 3 * PATIENCE => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    let each = start.elapsed().as_micros() / u128::from(messages.max(1));
    println!("@ exchanged peer={name} messages={messages} us_each={each}");
    Ok(())
}
