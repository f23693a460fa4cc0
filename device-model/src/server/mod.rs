// SPDX-License-Identifier: MIT OR Apache-2.0
//! The device as a client of its server: bytes and descriptors in, peers and their vectors out.

mod client;
mod error;
mod wire;

pub(crate) use client::{Change, Client};
pub use error::ServerError;
