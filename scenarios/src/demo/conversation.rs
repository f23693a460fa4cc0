// SPDX-License-Identifier: MIT OR Apache-2.0
//! Conversations between two roles: greetings, round trips, and the side that answers.
//!
//! The asking side sends orders: `say TEXT` wants one answer; `bell` and `poll`
//! want an empty answer to each of the following empty messages until the next order,
//! announced by doorbells or found by polling; `bye` ends the conversation.

use core::fmt::{self, Write};

use arrayvec::ArrayString;

use super::mailbox::{Mailbox, Role, MAX_TEXT};
use crate::Failure;

/// How a side learns that a message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Asleep until a doorbell rings. The other side rings after each message. Doorbells are
    /// hints, and one to a peer that has only just joined may be lost, so a side also looks now and then.
    Doorbell,
    /// By looking again and again. Nobody rings.
    Polling,
}

impl Wait {
    /// Returns the name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Doorbell => "doorbell",
            Self::Polling => "polling",
        }
    }
}

/// What a conversation needs of the guest or process that it runs in.
pub trait Side {
    /// Waits until `condition` holds.
    ///
    /// # Errors
    ///
    /// It does not hold within the side's time limit.
    fn wait(&mut self, how: Wait, condition: &mut dyn FnMut() -> bool) -> Result<(), Failure>;

    /// Rings the other side of this conversation.
    ///
    /// # Errors
    ///
    /// The doorbell cannot be rung.
    fn ring(&mut self) -> Result<(), Failure>;

    /// Returns how many doorbells have been heard so far.
    fn doorbells(&mut self) -> u64;

    /// Returns the time in nanoseconds from some fixed point.
    fn now_ns(&mut self) -> u64;

    /// Shows a line to people.
    fn show(&mut self, line: fmt::Arguments<'_>);
}

/// A conversation of `own` with `other`.
#[derive(Debug)]
pub struct Link<'m, S> {
    /// The guest or process that it runs in.
    pub side: S,
    /// The mailboxes.
    pub mailbox: Mailbox<'m>,
    /// Own role.
    pub own: Role,
    /// The other side's role.
    pub other: Role,
}

type Buffer = [u8; MAX_TEXT];

impl<S: Side> Link<'_, S> {
    /// Sends `text` as soon as the last message has been taken, and rings if the other side sleeps.
    fn send(&mut self, text: &[u8], how: Wait) -> Result<(), Failure> {
        // Whoever takes a message answers it, so this wait is over before it begins but for orders in a row.
        let mailbox = &self.mailbox;
        if !mailbox.is_free() {
            self.side.wait(Wait::Polling, &mut || mailbox.is_free())?;
        }
        if !self.mailbox.try_send(text)? {
            return Err(Failure::from("the other side took back a message"));
        }
        match how {
            Wait::Doorbell => self.side.ring(),
            Wait::Polling => Ok(()),
        }
    }

    /// Waits for a message and takes it.
    fn receive<'b>(&mut self, buffer: &'b mut Buffer, how: Wait) -> Result<&'b [u8], Failure> {
        let mailbox = &self.mailbox;
        self.side.wait(how, &mut || mailbox.has_message())?;
        match self.mailbox.try_receive(buffer)? {
            Some(length) => Ok(&buffer[..length]),
            None => Err(Failure::from("the other side took back a message")),
        }
    }

    /// Shows a text that came from the other side: hostile bytes do not reach the terminal.
    fn show_received(&mut self, text: &[u8]) {
        let mut shown = ArrayString::<{ 4 * MAX_TEXT }>::new();
        // Four characters a byte are enough for every escape.
        let _ = write!(shown, "{}", text.escape_ascii());
        let (own, other) = (self.own, self.other);
        self.side
            .show(format_args!("{other} -> {own}: {shown} (doorbell)"));
    }
}

/// Says `text` to the other side, and shows what it answers.
///
/// # Errors
///
/// No answer in time.
pub fn ask<S: Side>(link: &mut Link<'_, S>, text: fmt::Arguments<'_>) -> Result<(), Failure> {
    let mut order = ArrayString::<MAX_TEXT>::new();
    // A text too long is cut: it is for show.
    let _ = write!(order, "say {text}");
    link.send(order.as_bytes(), Wait::Doorbell)?;
    let mut buffer = [0; MAX_TEXT];
    let answer = link.receive(&mut buffer, Wait::Doorbell)?;
    link.show_received(answer);
    Ok(())
}

/// Measures a round trip for each of `samples`, in nanoseconds, and returns how many doorbells this side heard.
///
/// # Errors
///
/// An answer did not come in time.
pub fn round_trips<S: Side>(
    link: &mut Link<'_, S>,
    how: Wait,
    samples: &mut [u32],
) -> Result<u64, Failure> {
    let order: &[u8] = match how {
        Wait::Doorbell => b"bell",
        Wait::Polling => b"poll",
    };
    let mut buffer = [0; MAX_TEXT];
    link.send(order, Wait::Doorbell)?;
    link.receive(&mut buffer, Wait::Doorbell)?;
    let heard_before = link.side.doorbells();
    for sample in samples {
        let start = link.side.now_ns();
        link.send(b"", how)?;
        link.receive(&mut buffer, how)?;
        let elapsed = link.side.now_ns().saturating_sub(start);
        *sample = u32::try_from(elapsed).unwrap_or(u32::MAX);
    }
    let heard = link.side.doorbells() - heard_before;
    // The serving side waits in the way of this series, so it is told in that way that the series is over.
    link.send(b"end", how)?;
    Ok(heard)
}

/// Ends the conversation.
///
/// # Errors
///
/// The other side does not take the message in time.
pub fn bye<S: Side>(link: &mut Link<'_, S>) -> Result<(), Failure> {
    link.send(b"bye", Wait::Doorbell)
}

/// Answers the other side until it says bye.
///
/// # Errors
///
/// No order in time, or one that does not exist.
pub fn serve<S: Side>(link: &mut Link<'_, S>, greeting: &str) -> Result<(), Failure> {
    let mut buffer = [0; MAX_TEXT];
    let mut how = Wait::Doorbell;
    loop {
        let order = link.receive(&mut buffer, how)?;
        match order {
            b"" => link.send(b"", how)?,
            b"bell" | b"poll" => {
                link.send(b"", Wait::Doorbell)?;
                if order == b"poll" {
                    how = Wait::Polling;
                }
            }
            b"end" => how = Wait::Doorbell,
            b"bye" => return Ok(()),
            order => {
                let text = order
                    .strip_prefix(b"say ")
                    .ok_or("an order that does not exist")?;
                link.show_received(text);
                link.send(greeting.as_bytes(), Wait::Doorbell)?;
            }
        }
    }
}
