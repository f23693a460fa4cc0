// SPDX-License-Identifier: MIT OR Apache-2.0
//! Traffic for trials of channels: messages that can be checked, and members that exchange them.

mod checked;
mod crowd;
mod flood;
mod link;
mod scribble;

pub use checked::{compose, examine, LONGEST};
pub use crowd::mingle;
pub use flood::{receive, send, Tally};
pub use link::{seed, Seat};
pub use scribble::Scribbler;
