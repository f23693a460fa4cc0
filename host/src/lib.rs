// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host's side of QEMU's inter-VM shared memory device (ivshmem): a server and a peer.
//!
//! - [`server::Server`] gives every client, QEMU or host process, an ID, the
//!   shared memory and one eventfd per interrupt vector, and tells the clients
//!   about each other. The command `ivshmem server` is a thin shell around it.
//! - [`peer::Peer`] joins such a server as a client: a host process then
//!   shares memory with the virtual machines, rings them and is rung by them.
//! - [`admin`] asks a running server how it is, and for its memory, without joining it.
//! - [`pci`] is the device of a Linux guest, for programs in it.
//! - [`channel`] carries messages between peers, guests and host processes alike, through
//!   that memory, with or without a server.
//! - [`protocol`] and [`session`] are the protocol between the two, free of
//!   input and output, for whoever brings their own event loop.
//!
//! ```
//! use ivshmem::PeerId;
//! use ivshmem_host::peer::Peer;
//! use ivshmem_host::server::{Config, Server};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("ivshmem.sock");
//! let server = Server::spawn(Config::new(&path, 1 << 20, 2))?;
//! let peer = Peer::connect(server.socket())?;
//! assert_eq!(peer.id(), Some(PeerId(0)));
//! peer.memory().write(0, b"hello")?;
//! # Ok(())
//! # }
//! ```
//!
//! # Trust
//!
//! Whoever may open the socket may read and write the shared memory and ring
//! every vector; owner, group and mode of the socket are the only access control. The admin socket beside
//! it has the same, and metrics over TCP, if asked for, tell who is connected to whoever reaches their address.
//! A client cannot hold up, mislead or end the server or the other clients'
//! connections. A peer treats what its server sends as untrusted input.
//!
//! Linux only: memfd, eventfd and `SCM_RIGHTS` are what the device is made of.
#![deny(unsafe_code)]

pub mod admin;
pub mod channel;
mod deadline;
mod dial;
mod eventfd;
pub mod mapping;
pub mod pci;
pub mod peer;
pub mod protocol;
#[cfg(feature = "tokio")]
mod readiness;
pub mod server;
pub mod session;
pub mod size;

/// The guide for programs in Linux guests, whose code compiles.
#[cfg(doctest)]
#[doc = include_str!("../../docs/linux-guests.md")]
struct LinuxGuestsGuide;
