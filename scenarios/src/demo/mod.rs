// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the guests and the host process of the demo have in common.
//!
//! Three roles are members of one region: guests A and B and a process on the host. A conversation has an asking
//! side ([`ask`], [`round_trips`], [`bye`]) and a serving side ([`serve`]).

mod conversation;
mod role;

pub use conversation::{ask, bye, round_trips, serve, Link, MAX_TEXT};
pub use role::Role;
