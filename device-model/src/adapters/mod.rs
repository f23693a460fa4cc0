// SPDX-License-Identifier: MIT OR Apache-2.0
//! The device's surroundings on Linux: sockets, eventfds, mappings and files, for VMM authors and for the proxy.
//!
//! The model itself does no input or output. [`Attachment`] ties a [`Device`](crate::Device) to a server's socket or to a
//! file, to its own eventfds and to the mapped memory. What is left to the program is [`Wiring`]: where interrupts go.
//!
//! | type | is |
//! | --- | --- |
//! | [`Attachment`] | a device with its connection and its eventfds behind one descriptor to poll |
//! | [`Wiring`] | what the program does with interrupts and notices; KVM's short cuts |
//! | [`Fd`] | an open file: shared memory, or an eventfd |
//! | [`Mapping`] | shared memory mapped into this process |
//! | [`Connection`], [`Protocol`] | the client's side of a server's socket |
//! | [`open_shm`], [`open_memory_file`] | shared memory by its name |
//! | [`FdHost`] | the host of all this, also for a [`Flat`](crate::Flat), which has no adapter: see there |
//!
//! # What a server or a peer can do
//!
//! Nothing here waits: sockets are read without blocking, and so are eventfds, whoever else holds them and whatever
//! mode they have set. Of what is ready, a bounded part is dealt with in each call of [`Attachment::handle`]. A
//! server can make the process hold nearly as many descriptors as its limit (`RLIMIT_NOFILE`) permits; 64 before the limit, or a
//! quarter of a small one, the connection is given up, so that the rest of the process goes on. The device
//! goes on, too, and keeps what it has; until it is gone no server of this process can tell of more peers.
//!
//! Three things are left. A peer that empties, fills and changes the mode of its own eventfd in a loop can, with luck, do
//! so between the test for room and the write of one doorbell; the write then waits for that peer. Where this
//! matters give KVM the doorbells ([`Wiring::attach_ioeventfd`]), which never wait. Whoever cuts a shared memory
//! short that is not sealed against that ends the process: see [`Mapping`]. And a server decides where the memory
//! comes from: a file of a file system of its own (FUSE) answers as late as it likes.

// Its example is compiled by this.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}

mod attachment;
mod connection;
mod events;
mod fd;
mod greeting;
mod mapping;
mod memory;
mod socket;
mod wiring;

pub use attachment::{Attachment, OpenError};
pub use connection::{ConnectError, Connection, ConnectionError, Protocol};
pub use events::FdHost;
pub use fd::{Fd, FdError};
pub use mapping::{MapError, Mapping};
pub use memory::{open_memory_file, open_shm, MemoryError};
pub use socket::ReceiveError;
pub use wiring::{Delivery, Wiring};

pub(crate) use socket::{receive, Incoming};
