// SPDX-License-Identifier: MIT OR Apache-2.0
//! The errors of this crate as `std::error::Error`, for host programs.
//!
//! `core::error::Error` is younger (Rust 1.81) than the oldest compiler this crate supports.

use std::error::Error;
use std::fmt::{Debug, Display};

use crate::channel::{Broken, ConnectError, Evicted, JoinError, OpenError, RecvError, SendError};
use crate::pci::{BarError, CapabilityError, EnumerateError, MsixError, ProbeError};
use crate::{AccessError, AttachError, DeviceError, VectorError};

impl Error for AccessError {}
impl Error for BarError {}
impl Error for Broken {}
impl Error for CapabilityError {}
impl Error for ConnectError {}
impl Error for DeviceError {}
impl Error for EnumerateError {}
impl Error for Evicted {}
impl Error for JoinError {}
impl Error for MsixError {}
impl Error for OpenError {}
impl Error for ProbeError {}
impl Error for RecvError {}
impl Error for SendError {}
// `embedded-io` 0.7 wants it without `std` as well.
#[cfg(not(feature = "embedded-io-07"))]
impl Error for crate::channel::StreamError {}
impl Error for VectorError {}
impl<E: Debug + Display> Error for AttachError<E> {}
