// SPDX-License-Identifier: MIT OR Apache-2.0
//! Traffic for trials of channels: messages that can be checked, and members that exchange them.

mod checked;
mod flood;

pub use flood::{receive, send, Tally};
