// SPDX-License-Identifier: MIT OR Apache-2.0
//! Conversations between two roles: greetings, round trips, and the side that answers.
//!
//! The asking side sends orders: `say TEXT` wants one answer; `doorbell` and `polling` want an empty answer to
//! each of the following empty messages until `end`, both waited for in that manner; `bye` ends the conversation.

use core::fmt::{self, Write};

use arrayvec::ArrayString;
use ivshmem::channel::Endpoint;

use super::porter::Hop;
use super::role::Role;
use crate::party::{Manner, Party, Side};
use crate::Failure;

/// Longest message in bytes.
pub const MAX_TEXT: usize = 240;

/// A conversation of `own` with `other`.
#[derive(Debug)]
pub struct Link<'p, 'm, S: Side> {
    party: &'p mut Party<'m, S>,
    endpoint: Endpoint<'m, S::Bell>,
    /// Own role.
    pub own: Role,
    /// The other side's role.
    pub other: Role,
}

type Buffer = [u8; MAX_TEXT];

impl<'p, 'm, S: Side> Link<'p, 'm, S> {
    /// Waits until `other` is there, and begins the conversation with it.
    ///
    /// # Errors
    ///
    /// It does not come in time.
    pub fn open(party: &'p mut Party<'m, S>, own: Role, other: Role) -> Result<Self, Failure> {
        let endpoint = party.meet(other.member())?;
        Ok(Self {
            party,
            endpoint,
            own,
            other,
        })
    }

    /// Returns the connection, for what comes after the conversation.
    pub fn into_hop(self) -> Hop<'m, S::Bell> {
        Hop {
            endpoint: self.endpoint,
            other: self.other,
        }
    }

    /// Returns the own side.
    pub const fn side(&self) -> &S {
        &self.party.side
    }

    fn send(&mut self, text: &[u8], manner: Manner) -> Result<(), Failure> {
        self.party.send(self.endpoint.sender(), text, manner)
    }

    fn receive<'b>(&mut self, buffer: &'b mut Buffer, manner: Manner) -> Result<&'b [u8], Failure> {
        let receiver = self.endpoint.receiver();
        let len = self.party.receive(receiver, buffer, manner)?;
        Ok(&buffer[..len])
    }

    /// Shows a text that came from the other side: hostile bytes do not reach the terminal.
    fn show_received(&mut self, text: &[u8]) {
        let mut shown = ArrayString::<{ 4 * MAX_TEXT }>::new();
        // Four characters a byte are enough for every escape.
        let _ = write!(shown, "{}", text.escape_ascii());
        let (own, other) = (self.own, self.other);
        self.party
            .side
            .show(format_args!("{other} -> {own}: {shown} (doorbell)"));
    }
}

/// Says `text` to the other side, and shows what it answers.
///
/// # Errors
///
/// No answer in time.
pub fn ask<S: Side>(link: &mut Link<'_, '_, S>, text: fmt::Arguments<'_>) -> Result<(), Failure> {
    let mut order = ArrayString::<MAX_TEXT>::new();
    // A text too long is cut: it is for show.
    let _ = write!(order, "say {text}");
    link.send(order.as_bytes(), Manner::Doorbell)?;
    let mut buffer = [0; MAX_TEXT];
    let answer = link.receive(&mut buffer, Manner::Doorbell)?;
    link.show_received(answer);
    Ok(())
}

/// Measures a round trip for each of `samples`, in nanoseconds, and returns how many doorbells this side heard.
///
/// # Errors
///
/// An answer did not come in time.
pub fn round_trips<S: Side>(
    link: &mut Link<'_, '_, S>,
    manner: Manner,
    samples: &mut [u32],
) -> Result<u64, Failure> {
    let mut buffer = [0; MAX_TEXT];
    link.send(manner.name().as_bytes(), Manner::Doorbell)?;
    link.receive(&mut buffer, Manner::Doorbell)?;
    let heard_before = link.party.side.doorbells();
    for sample in samples {
        let start = link.party.side.now_ns();
        link.send(b"", manner)?;
        link.receive(&mut buffer, manner)?;
        let elapsed = link.party.side.now_ns().saturating_sub(start);
        *sample = u32::try_from(elapsed).unwrap_or(u32::MAX);
    }
    let heard = link.party.side.doorbells() - heard_before;
    link.send(b"end", manner)?;
    Ok(heard)
}

/// Ends the conversation.
///
/// # Errors
///
/// The other side does not take the message in time.
pub fn bye<S: Side>(link: &mut Link<'_, '_, S>) -> Result<(), Failure> {
    link.send(b"bye", Manner::Doorbell)
}

/// Answers the other side until it says bye.
///
/// # Errors
///
/// No order in time, or one that does not exist.
pub fn serve<S: Side>(link: &mut Link<'_, '_, S>, greeting: &str) -> Result<(), Failure> {
    let mut buffer = [0; MAX_TEXT];
    let mut manner = Manner::Doorbell;
    loop {
        match link.receive(&mut buffer, manner)? {
            b"" => link.send(b"", manner)?,
            b"end" => manner = Manner::Doorbell,
            b"bye" => return Ok(()),
            order => {
                if let Some(text) = order.strip_prefix(b"say ") {
                    link.show_received(text);
                    link.send(greeting.as_bytes(), Manner::Doorbell)?;
                } else {
                    let name = core::str::from_utf8(order).ok();
                    manner = name
                        .and_then(Manner::from_name)
                        .ok_or("an order that does not exist")?;
                    link.send(b"", Manner::Doorbell)?;
                }
            }
        }
    }
}
