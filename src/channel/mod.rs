// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages between peers that come, go, die and return.
//!
//! All peers of one shared memory, guests and host processes alike, divide it in the same way and use this very code. It knows
//! nothing of PCI and, but for a [`Doorbell`], nothing of devices: peers without interrupts poll.
//!
//! | type | is |
//! | --- | --- |
//! | [`Region`] | shared memory divided into slots for members and rings between them |
//! | [`Member`] | one's own slot: shows that one lives, and tells who else comes, leaves, dies or restarts |
//! | [`Endpoint`] | a connection to one other member, a [`Sender`] and a [`Receiver`] |
//! | [`ByteStream`] | such a connection as a stream of bytes, of a [`ByteReader`] and a [`ByteWriter`] |
//! | [`Signal`] | where a task sleeps until a doorbell rings |
//! | [`Echo`] | what answers `ivshmem ping` |
//!
//! ```
//! use core::task::Poll;
//! # use core::ptr::NonNull;
//! # struct Failure(String);
//! # impl<E: core::fmt::Display> From<E> for Failure {
//! #     fn from(error: E) -> Self { Self(error.to_string()) }
//! # }
//! # impl core::fmt::Debug for Failure {
//! #     fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result { self.0.fmt(f) }
//! # }
//! # use ivshmem::SharedMemory;
//! use ivshmem::channel::{Format, Introduction, Member, Name, NoDoorbell, Region};
//!
//! # #[repr(align(4096))]
//! # struct Page([u8; 1 << 16]);
//! # let page = Box::leak(Box::new(Page([0; 1 << 16])));
//! # // SAFETY: leaked, and used by one thread only.
//! # let memory = unsafe { SharedMemory::new(NonNull::from(page).cast(), 1 << 16) };
//! fn join<'m>(region: Region<'m>, name: &str, now: u64) -> Option<Member<'m>> {
//!     let mut joining = region.join(Introduction {
//!         name: Name::new(name),
//!         device: None, // nobody can ring here, so this member polls
//!         vectors: 0,
//!         limit: 1000, // ticks of one's own clock
//!     });
//!     match joining.poll(now) {
//!         Poll::Ready(member) => member.ok(),
//!         Poll::Pending => None, // call it again, later
//!     }
//! }
//!
//! // `memory` is what `Ivshmem::memory` returns in a guest; each side has its own mapping of it.
//! let region = Region::open_or_format(memory, &Format { slots: 4, ring_log2: None })?;
//! let mut alice = join(region, "alice", 0).ok_or("alice")?;
//! let mut bob = join(region, "bob", 0).ok_or("bob")?;
//!
//! let joined = alice.poll_event(1)?.ok_or("nobody has come")?;
//! let mut to_bob = alice.connect(joined.slot, NoDoorbell)?;
//! to_bob.sender().try_send(b"hello")?;
//!
//! let mut to_alice = bob.connect(alice.slot(), NoDoorbell)?;
//! let mut message = [0; 64];
//! let len = to_alice.receiver().try_recv(&mut message)?;
//! assert_eq!((joined.name.as_bytes(), len), (&b"bob"[..], Some(5)));
//! # Ok::<(), Failure>(())
//! ```
//!
//! # Waiting
//!
//! What begins with `try_` or `poll_` returns at once. Who has to wait for a peer has a choice of forms:
//!
//! | who waits | how |
//! | --- | --- |
//! | a task of an executor, any of them | [`Receiver::recv`], [`Sender::send`] and others, at a [`Signal`] |
//! | a kernel that halts, a thread that sleeps | [`Receiver::recv_with`], [`Sender::send_with`], as an [`Idle`] says |
//! | a loop of one's own | [`Receiver::arm`], [`Sender::arm`], sleep for as long as [`Wait`] says, try again |
//!
//! ```
//! use ivshmem::channel::{Doorbell, Endpoint, Signal};
//!
//! static RUNG: Signal = Signal::new();
//!
//! /// The handler of the device's interrupts.
//! fn on_interrupt() {
//!     RUNG.notify();
//! }
//!
//! /// A task that sends each message back, until the peer goes.
//! async fn echo<D: Doorbell>(endpoint: Endpoint<'_, D>) {
//!     let (mut sender, mut receiver) = endpoint.split();
//!     let mut buffer = [0; 4096];
//!     while let Ok(len) = receiver.recv(&RUNG, &mut buffer).await {
//!         if sender.send(&RUNG, &buffer[..len]).await.is_err() {
//!             break;
//!         }
//!     }
//! }
//! # let _ = (on_interrupt, echo::<ivshmem::channel::NoDoorbell>);
//! ```
//!
//! Who is no member but wants to see what is in a region looks [from outside](inspect).
//!
//! # What peers cannot do to each other
//!
//! Anybody who has the memory can write anything into it. Every value is read once, checked, and the copy is used: a bad one
//! ends the connection it belongs to with an error ([`Broken`]), never more, and no call loops for longer than a bounded
//! number of steps. What a hostile peer can do is spoil the messages of others that lie in the same memory: what has to be
//! secret or certain needs a cipher on top.
//!
//! A guide is `docs/channels.md` of the repository: whole programs, and how to choose sizes, limits and ways to wait. The
//! bytes in the memory are specified in `docs/layout.md`. Until version 0.1 is published its version 1
//! may still change.

mod doorbell;
mod echo;
mod endpoint;
pub mod inspect;
mod join;
mod layout;
mod member;
mod name;
mod notify;
mod open_error;
mod region;
mod ring;
mod signal;
mod slot;
#[cfg(test)]
mod tests;
mod watch;
mod words;

pub use doorbell::{Doorbell, NoDoorbell};
pub use echo::{Echo, PING_PREFIX};
pub use endpoint::{
    Batch, Broken, ByteReader, ByteStream, ByteWriter, ConnectError, Endpoint, Frame, Grant, Idle,
    Progress, Receiver, RecvError, SendError, Sender, Spin, StreamError, Wait,
};
pub use join::{Introduction, JoinError, Joining};
pub use layout::SLOTS;
pub use member::{Evicted, Member};
pub use name::Name;
pub use open_error::OpenError;
pub use region::{Format, Region};
pub use signal::Signal;
pub use watch::{Event, EventKind, SlotIndex};
