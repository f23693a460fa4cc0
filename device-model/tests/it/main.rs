// SPDX-License-Identifier: MIT OR Apache-2.0
//! The adapters, the proxy and the command with real sockets, eventfds and mappings.

mod attachment;
mod command;
mod flat;
mod hostile;
mod limits;
mod parser;
mod remote;
mod support;
mod wiring;
