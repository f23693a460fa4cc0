// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages between host processes and guests that come, go, die and return.
//!
//! These are the channels of the guest crate ([`ivshmem::channel`]) for programs that have threads, a clock and system
//! calls to wait in:
//!
//! | type | is |
//! | --- | --- |
//! | [`Options`] | how to become a member: of the region in a server's memory, or in a file |
//! | [`Channels`] | the member: who else is there, what happens to them, connections to them |
//! | [`Connection`] | a [`Sender`] and a [`Receiver`], which may live on two threads |
//!
//! ```
//! use std::time::Duration;
//! use ivshmem_host::channel::Options;
//! use ivshmem_host::server::{Config, Server};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("ivshmem.sock");
//! let server = Server::spawn(Config::new(&path, 1 << 20, 1))?;
//! let second = Duration::from_secs(1);
//!
//! let alice = Options::new("alice").join_server(server.socket())?;
//! # let server = server.socket().to_owned();
//! let other = std::thread::spawn(move || -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//!     let bob = Options::new("bob").join_server(server)?;
//!     let mut to_alice = bob.connect("alice", second)?;
//!     to_alice.send(b"hello", second)?;
//!     // She answers before he leaves.
//!     assert_eq!(to_alice.recv(10 * second)?, Some(&b"welcome"[..]));
//!     Ok(())
//! });
//!
//! let mut to_bob = alice.connect("bob", 10 * second)?;
//! assert_eq!(to_bob.recv(10 * second)?, Some(&b"hello"[..]));
//! to_bob.send(b"welcome", second)?;
//! # other.join().unwrap().map_err(|error| error.to_string())?;
//! # Ok(())
//! # }
//! ```
//!
//! # Who keeps the member alive
//!
//! A thread of its own, from joining until [`Channels`] is dropped: it beats, follows the others and takes in what the
//! server says. So a program may wait for an hour in one call, or not call anything, and is not taken for dead. One that
//! is stopped (SIGSTOP, a suspended machine) for longer than the others' limit is, and finds itself
//! [evicted](ivshmem::channel::Broken::Evicted): it joins again.
//!
//! The same thread answers those who ping this member ([`Echo`](ivshmem::channel::Echo)), of whom the program sees nothing;
//! see [`Options::pings`].
//!
//! When the server is ended or killed, channels go on: the memory and the vectors are there without it. That thread joins
//! the next server at the same socket, whenever it comes, and says in the region where this member is rung from then on.
//! Guests of before, which cannot join it, go on ringing where they did. Only a server with other memory ends the member; see
//! [`Channels::attachment`].
//!
//! # Waiting
//!
//! Everything that waits has a limit, and looks for a short time ([`Options::spin`], [`Connection::set_spin`]) before it sleeps: messages that
//! come in quick succession cost no system call on either side. Who sleeps is woken by one write to an eventfd, by a
//! guest or by a process, in one system call, and looks at each heartbeat whether the peer still lives. Without a server
//! nobody can ring, and whoever waits looks again after short naps, up to 1 ms.
//!
//! Tasks of tokio have `channel::tasks` (feature `tokio`). For any other event loop: [`Receiver::try_recv`], [`Receiver::arm`], and the half's descriptor.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use ivshmem::channel::Wait;
//! # use ivshmem_host::channel::{RecvError, Receiver};
//! # fn poll_readable(_: &Receiver, _: Duration) {}
//! # fn handle(_: &[u8]) {}
//! # fn serve(receiver: &mut Receiver) -> Result<(), RecvError> {
//! loop {
//!     while let Some(message) = receiver.try_recv()? {
//!         handle(message);
//!     }
//!     match receiver.arm()? {
//!         Wait::Ready => {}
//!         Wait::UntilRung => poll_readable(receiver, Duration::from_millis(250)),
//!         Wait::Briefly => poll_readable(receiver, Duration::from_millis(1)),
//!     }
//! }
//! # }
//! ```
//!
//! # What others can do to this process
//!
//! As the guest crate says: spoil messages, end connections, never more. Two more, that take a host process and no guest:
//!
//! - Whoever may cut a file short while it is mapped ends this process ([`Mapping`](crate::mapping::Mapping)); a server's
//!   memory is sealed against that.
//! - Whoever fills the counter of a vector and makes it block makes those wait who ring it, until the one who is rung looks at it:
//!   here at the next heartbeat.

mod answering;
mod channels;
mod connection;
mod error;
mod ground;
mod hearing;
mod keeper;
mod options;
mod pulse;
mod receiver;
mod rejoining;
mod rings;
mod roster;
mod seat;
mod sender;
#[cfg(feature = "tokio")]
pub mod tasks;
mod waiting;

pub use channels::Channels;
pub use connection::Connection;
pub use error::{ConnectError, JoinError, RecvError, SendError};
pub use ground::Bell;
pub use options::{Options, Pings};
pub use receiver::Receiver;
pub use roster::Neighbour;
pub use seat::Attachment;
pub use sender::Sender;
#[cfg(feature = "tokio")]
pub(crate) use waiting::Waiter;
