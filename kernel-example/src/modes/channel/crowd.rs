// SPDX-License-Identifier: MIT OR Apache-2.0
//! `what=crowd`: a member that exchanges checked messages with everybody.

use core::ops::ControlFlow;

use ivshmem_scenarios::{traffic, Failure};

use super::{format, name};
use crate::{guest::Guest, serial};

/// Talks until the host says something.
pub fn run(guest: &Guest<'_>) -> Result<(), Failure> {
    traffic::mingle(
        guest.device.memory(),
        &format()?,
        guest,
        name("name")?,
        |_| {
            Ok(if serial::has_input() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        },
    )
}
