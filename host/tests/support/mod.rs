// SPDX-License-Identifier: MIT OR Apache-2.0
//! What several tests and the benchmark of the server share.

pub mod load;
pub mod receive;
pub mod witness;
