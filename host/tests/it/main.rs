// SPDX-License-Identifier: MIT OR Apache-2.0
//! Integration tests of the server, the peer and the command, over real sockets.

mod access;
mod admin;
mod admin_command;
mod admin_hostile;
mod backing;
mod bench;
mod bind;
mod capture;
mod command;
mod common;
mod descriptors;
mod doctor;
mod documentation;
mod drop_in;
mod dump;
mod echo;
mod exposition;
mod handed_down;
mod handover;
mod handover_failures;
mod hostile;
mod hostile_admin;
mod hostile_clients;
mod killed;
mod lineage;
mod metrics;
mod peer;
mod peers;
mod pid_file;
mod ping;
mod pipe;
mod places;
mod process;
#[path = "../support/receive.rs"]
mod receive;
mod reconnect;
mod region;
mod rejoin;
mod run;
mod security_page;
mod server;
mod server_log;
mod service;
mod top;
#[path = "../support/witness.rs"]
mod witness;
