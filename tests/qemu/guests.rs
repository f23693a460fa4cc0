// SPDX-License-Identifier: MIT OR Apache-2.0
//! Machines with an ivshmem device, shared with the other binaries of trials.

pub use xtask::guests::{plain, plain_on, Place, TestServer};
