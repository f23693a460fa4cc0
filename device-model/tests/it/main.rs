// SPDX-License-Identifier: MIT OR Apache-2.0
//! The adapters, the proxy and the command with real sockets, eventfds and mappings.

mod attachment;
mod command;
mod hostile;
mod parser;
mod remote;
mod support;
