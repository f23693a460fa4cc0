// SPDX-License-Identifier: MIT OR Apache-2.0
//! The sending side: [`send`].

use ivshmem::channel::Name;

use super::message::{hello, verdict, Seal, ACCEPTED, COMPLETE, SHORT_LEN};
use crate::party::{Manner, Party, Side};
use crate::{ensure_eq, pattern, Failure};

/// Bytes of each message; all rings but the smallest have room for two.
const PIECE: usize = 256;

/// The seed of the [`pattern`] that is sent.
pub const SEED: u64 = 0x91_9e00;

/// Sends a stream of the first `bytes` bytes of the [`pattern`] to the member called `name`, when it is there.
///
/// # Errors
///
/// - The receiver does not come, does nothing in time, or says something else than that all is well.
pub fn send<S: Side>(party: &mut Party<'_, S>, name: Name, bytes: usize) -> Result<(), Failure> {
    let mut endpoint = party.meet(name)?;
    let (sender, receiver) = endpoint.halves();
    let mut answer = [0; SHORT_LEN];
    let total = bytes as u64;
    party.send(sender, &hello(total), Manner::Doorbell)?;
    party.receive(receiver, &mut answer, Manner::Doorbell)?;
    ensure_eq("the first answer", answer, verdict(ACCEPTED, 0))?;
    party.side.show(format_args!("@ accepted peer={name}"));
    let mut seal = Seal::default();
    let mut piece = [0; PIECE];
    for offset in (0..bytes).step_by(PIECE) {
        pattern::fill(SEED, offset, &mut piece);
        let data = &piece[..PIECE.min(bytes - offset)];
        party.send(sender, data, Manner::Doorbell)?;
        seal.add(data);
    }
    party.send(sender, &[], Manner::Doorbell)?;
    party.send(sender, &seal.message(), Manner::Doorbell)?;
    party.receive(receiver, &mut answer, Manner::Doorbell)?;
    ensure_eq("the last answer", answer, verdict(COMPLETE, total))
}
