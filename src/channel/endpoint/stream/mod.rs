// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages as streams of bytes: [`ByteReader`] and [`ByteWriter`], [`ByteStream`] for both.
//!
//! What is written goes out as messages at once; where they begin and end is forgotten by the reader. So the two sides
//! need not both be streams, and nothing is buffered but by the ring. Of a message in fragments that its sender has given up,
//! the reader hands on what came.
//!
//! The traits of the various libraries only name what stands here.

mod both;
#[cfg(any(feature = "embedded-io-06", feature = "embedded-io-07"))]
mod embedded_io;
mod error;
mod reader;
#[cfg(feature = "std")]
mod std_io;
mod writer;

pub use both::ByteStream;
pub use error::StreamError;
pub use reader::ByteReader;
pub use writer::ByteWriter;
