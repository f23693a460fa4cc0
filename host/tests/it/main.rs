// SPDX-License-Identifier: MIT OR Apache-2.0
//! Integration tests of the server, the peer and the command, over real sockets.

mod access;
mod bind;
mod command;
mod common;
mod descriptors;
mod doctor;
mod documentation;
mod hostile;
mod peer;
mod process;
mod server;
