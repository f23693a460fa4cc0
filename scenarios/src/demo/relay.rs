// SPDX-License-Identifier: MIT OR Apache-2.0
//! A file's way from A through B to the host, which survives the death of B.
//!
//! The host asks B for the file from a piece on, B asks A: `want N`. A piece is [`CHUNKS`] messages and its SHA-256;
//! behind the last one comes the SHA-256 of the whole file. B and the host check each piece. `bye` ends it.

use core::fmt::Write;
use core::ops::ControlFlow;

use arrayvec::ArrayString;

use super::file::{digest, fill, Digest, Hash, CHUNK, CHUNKS, PIECE, PIECES};
use super::porter::{Hop, Porter, Stop};
use super::role::Role;
use crate::party::Side;
use crate::{ensure, Failure};

/// The order that ends the relay.
const BYE: &[u8] = b"bye";

/// Delivers the file as A to each life of B, until one says bye.
///
/// # Errors
///
/// - B does not come back in time, or talks nonsense.
pub fn deliver<'m, S: Side>(
    porter: &mut Porter<'m, S>,
    mut hop: Hop<'m, S::Bell>,
) -> Result<(), Failure> {
    let whole = digest();
    porter.say(format_args!(
        "my file has {} MiB, SHA-256 {}",
        (PIECES * PIECE) >> 20,
        Hex(&whole)
    ));
    loop {
        match serve(porter, &mut hop, &whole) {
            Ok(()) => return Ok(()),
            Err(Stop::Lost(broken)) => {
                porter.say(format_args!("my connection has ended: {broken}"));
                hop = porter.meet_again(hop)?;
            }
            Err(Stop::Failed(failure)) => return Err(failure),
        }
    }
}

/// Sends what is asked for, until it is enough.
fn serve<'m, S: Side>(
    porter: &mut Porter<'m, S>,
    hop: &mut Hop<'m, S::Bell>,
    whole: &Digest,
) -> Result<(), Stop> {
    let mut chunk = [0; CHUNK];
    while let Some(first) = wanted(porter.receive(hop, &mut chunk)?)? {
        for piece in first..PIECES {
            let mut hash = Hash::new();
            for index in 0..CHUNKS {
                fill(piece * CHUNKS + index, &mut chunk);
                hash.take(&chunk);
                porter.send(hop, &chunk)?;
            }
            porter.send(hop, &hash.digest())?;
        }
        porter.send(hop, whole)?;
    }
    Ok(())
}

/// Passes the file on as B, until the host says bye.
///
/// # Errors
///
/// - A piece is not what A has sent.
/// - Somebody is gone, or talks nonsense.
pub fn pass_on<'m, S: Side>(
    porter: &mut Porter<'m, S>,
    from: &mut Hop<'m, S::Bell>,
    to: &mut Hop<'m, S::Bell>,
) -> Result<(), Failure> {
    let mut chunk = [0; CHUNK];
    loop {
        let order = porter.receive(to, &mut chunk)?;
        let first = wanted(order)?;
        porter.send(from, order)?;
        let Some(first) = first else {
            return Ok(());
        };
        for piece in first..PIECES {
            let mut hash = Hash::new();
            for _ in 0..CHUNKS {
                let bytes = porter.receive(from, &mut chunk)?;
                hash.take(bytes);
                porter.send(to, bytes)?;
            }
            let told = porter.receive(from, &mut chunk)?;
            check(Role::B, piece, told, &hash.digest())?;
            porter.send(to, told)?;
        }
        let whole = porter.receive(from, &mut chunk)?;
        porter.send(to, whole)?;
    }
}

/// What the host has of the file.
#[derive(Clone, Debug)]
pub struct Collected {
    pieces: usize,
    hash: Hash,
}

impl Collected {
    /// Nothing yet.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            pieces: 0,
            hash: Hash::new(),
        }
    }

    /// Returns how many pieces are there and checked.
    #[must_use]
    pub const fn pieces(&self) -> usize {
        self.pieces
    }
}

/// Collects what is missing as the host, and returns the SHA-256 of the whole file, which is what A says it is.
/// `each` is told before each message how many of this piece are here; on its word this stops, and returns nothing.
///
/// # Errors
///
/// - [`Stop::Lost`]: B is gone. The pieces so far are kept.
/// - [`Stop::Failed`]: a piece, or the whole, is not what A has sent.
pub fn collect<'m, S: Side>(
    porter: &mut Porter<'m, S>,
    hop: &mut Hop<'m, S::Bell>,
    collected: &mut Collected,
    mut each: impl FnMut(&Collected, usize) -> ControlFlow<()>,
) -> Result<Option<Digest>, Stop> {
    let mut chunk = [0; CHUNK];
    let mut order = ArrayString::<16>::new();
    // Two digits at most.
    let _ = write!(order, "want {}", collected.pieces);
    porter.send(hop, order.as_bytes())?;
    while collected.pieces < PIECES {
        let mut piece = Hash::new();
        let mut whole = collected.hash.clone();
        for index in 0..CHUNKS {
            if each(collected, index).is_break() {
                return Ok(None);
            }
            let bytes = porter.receive(hop, &mut chunk)?;
            piece.take(bytes);
            whole.take(bytes);
        }
        let told = porter.receive(hop, &mut chunk)?;
        check(Role::Host, collected.pieces, told, &piece.digest())?;
        collected.hash = whole;
        collected.pieces += 1;
    }
    let digest = collected.hash.clone().digest();
    let told = porter.receive(hop, &mut chunk)?;
    ensure(
        told == digest,
        format_args!("the file is not what A has sent"),
    )?;
    Ok(Some(digest))
}

/// Ends the relay as the host.
///
/// # Errors
///
/// - B is gone.
pub fn dismiss<'m, S: Side>(
    porter: &mut Porter<'m, S>,
    hop: &mut Hop<'m, S::Bell>,
) -> Result<(), Failure> {
    Ok(porter.send(hop, BYE)?)
}

/// Reads an order: the first piece that is wanted, or nothing for bye.
fn wanted(order: &[u8]) -> Result<Option<usize>, Failure> {
    if order == BYE {
        return Ok(None);
    }
    let number = order.strip_prefix(b"want ");
    let number = number.and_then(|number| core::str::from_utf8(number).ok());
    let number = number.and_then(|number| number.parse().ok());
    number
        .filter(|&first| first <= PIECES)
        .map(Some)
        .ok_or_else(|| Failure::from("an order that does not exist"))
}

fn check(role: Role, piece: usize, told: &[u8], found: &Digest) -> Result<(), Failure> {
    ensure(
        told == found,
        format_args!("{role}: piece {piece} is not what A has sent"),
    )
}

/// Shows a digest.
#[derive(Clone, Copy, Debug)]
pub struct Hex<'d>(pub &'d Digest);

impl core::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_and_nothing_else_is() {
        assert_eq!(wanted(b"want 0").ok(), Some(Some(0)));
        assert_eq!(wanted(b"want 16").ok(), Some(Some(16)));
        assert_eq!(wanted(b"bye").ok(), Some(None));
        for nonsense in [
            &b"want 17"[..],
            b"want",
            b"want -1",
            b"want \xff",
            b"",
            b"bye ",
        ] {
            assert!(wanted(nonsense).is_err(), "{nonsense:?}");
        }
    }

    #[test]
    fn digests_are_shown_in_hexadecimal() {
        let mut digest = [0xab; 32];
        digest[0] = 1;
        extern crate std;
        use std::string::ToString;
        let text = Hex(&digest).to_string();
        assert!(text.starts_with("01abab") && text.len() == 64);
    }
}
