// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tasks that wait for their peers.

mod cancelled;
mod ended;
pub mod executor;
mod signals;
mod stream;
mod tokio;
