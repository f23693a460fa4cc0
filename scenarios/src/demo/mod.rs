// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the guests and the host process of the demo have in common.
//!
//! Three roles are members of one region: guests A and B and a process on the host. A conversation has an asking
//! side ([`ask`], [`round_trips`], [`bye`]) and a serving side ([`serve`]). Then a file goes from A ([`deliver`]) through B
//! ([`pass_on`]) to the host ([`collect`]), and B is killed on the way.

mod conversation;
mod file;
mod porter;
mod relay;
mod role;

pub use conversation::{ask, bye, round_trips, serve, Link, MAX_TEXT};
pub use file::{Digest, CHUNK, PIECE, PIECES};
pub use porter::{Hop, Porter, Stop};
pub use relay::{collect, deliver, dismiss, pass_on, Collected, Hex};
pub use role::Role;
