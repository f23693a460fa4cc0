// SPDX-License-Identifier: MIT OR Apache-2.0
//! Streams as the commands `ivshmem send` and `ivshmem recv` carry them, on the side of a guest.
//!
//! Written from `docs/channels.md`, "Streams of `send` and `recv`", and nothing else, so that the commands are tried against
//! another program than themselves. Nothing is allocated, and no ring is too large: data is taken where it lies.
//!
//! | line | when |
//! | --- | --- |
//! | `@ accepted peer=NAME` | a stream begins |
//! | `@ stream peer=NAME bytes=N end=END` | it has ended: `complete`, `damaged` or `broken` |

mod message;
mod sink;
mod source;

pub use sink::Sink;
pub use source::{send, SEED};
