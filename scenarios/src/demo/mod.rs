// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the guests and the host process of the demo have in common.
//!
//! Three roles share one region: guests A and B and a process on the host.
//! Each ordered pair has a [`Mailbox`] that holds one message at a time. A
//! conversation has an asking side ([`ask`], [`round_trips`]) and a serving side ([`serve`]).
//!
//! This is a demonstration of memory and doorbells among friends. The numbers
//! of a hostile peer are bounded, but nobody here survives the death of another.

mod conversation;
mod figures;
mod mailbox;

pub use conversation::{ask, bye, round_trips, serve, Link, Side, Wait};
pub use figures::Figures;
pub use mailbox::{meet, Mailbox, Role, MAX_TEXT};
