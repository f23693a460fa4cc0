// SPDX-License-Identifier: MIT OR Apache-2.0
//! Channels for tasks of tokio (feature `tokio`).
//!
//! The same members, connections and rings as in [`channel`](super), with `async` methods in the place of those that wait:
//!
//! | type | is |
//! | --- | --- |
//! | [`Channels`] | the member |
//! | [`Connection`] | a [`Sender`] and a [`Receiver`], which may live in two tasks |
//!
//! ```
//! use std::time::Duration;
//! use ivshmem_host::channel::{tasks::Channels, Options};
//! use ivshmem_host::server::{Config, Server};
//! use tokio::time::timeout;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("ivshmem.sock");
//! let server = Server::spawn(Config::new(&path, 1 << 20, 1))?;
//! let alice = Channels::join_server(Options::new("alice"), server.socket()).await?;
//! let bob = Channels::join_server(Options::new("bob"), server.socket()).await?;
//!
//! let echo = tokio::spawn(async move {
//!     let mut to_alice = bob.connect("alice").await.expect("a descriptor");
//!     // Until she leaves.
//!     while let Ok(message) = to_alice.recv().await {
//!         let answer = message.to_ascii_uppercase();
//!         if to_alice.send(&answer).await.is_err() {
//!             break;
//!         }
//!     }
//! });
//!
//! let mut to_bob = timeout(Duration::from_secs(10), alice.connect("bob")).await??;
//! to_bob.send(b"hello").await?;
//! let answer = timeout(Duration::from_secs(10), to_bob.recv()).await??;
//! assert_eq!(answer, b"HELLO");
//! drop(alice);
//! echo.await?;
//! # Ok(())
//! # })
//! # }
//! ```
//!
//! # Limits
//!
//! No method here has one: put a [`tokio::time::timeout`] around it, or a `select!`. What waits for a peer that dies ends by
//! itself with an error, within the member's [limit](super::Options::limit) and an eighth of it.
//!
//! # Cancellation
//!
//! Every future may be dropped at any time, and no ring, no event and no received message is lost. [`Sender::send`] says
//! what becomes of the one message that it was to send.
//!
//! # How a task waits
//!
//! It looks, asks to be rung, looks once more and gives its turn to others until the vector's eventfd is readable: it never
//! spins, whatever [`Options::spin`](super::Options::spin) says. A task that always finds something to do takes part in tokio's cooperative
//! scheduling, so that it does not keep the executor from the others. Where nobody can ring, as without a server, it looks
//! again after naps up to 1 ms.
//!
//! The runtime needs its drivers for input and output and for time (`enable_all`); without them these methods panic. A half
//! belongs to the runtime on which it was made.

mod channels;
mod connection;
mod waiter;

pub use channels::Channels;
pub use connection::{Connection, Receiver, Sender};
