// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages off the wire, for clients that look at each and keep none of the eventfds.

use std::io::IoSliceMut;
use std::os::fd::AsFd;

use rustix::io::{retry_on_intr, Errno};
use rustix::net::{recvmsg, RecvAncillaryBuffer, RecvFlags, ReturnFlags};

use super::witness::Attached;

/// Receives the next message; `None` at the end of the connection.
///
/// There is no room for a descriptor: the kernel closes it, and says that there was one.
pub fn receive(socket: impl AsFd, flags: RecvFlags) -> Result<Option<(i64, Attached)>, Errno> {
    let mut bytes = [0; 8];
    let received = retry_on_intr(|| {
        recvmsg(
            &socket,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut RecvAncillaryBuffer::default(),
            flags,
        )
    })?;
    match received.bytes {
        0 => Ok(None),
        8 => {
            let attached = if received.flags.contains(ReturnFlags::CTRUNC) {
                Attached::Descriptor
            } else {
                Attached::Nothing
            };
            Ok(Some((i64::from_le_bytes(bytes), attached)))
        }
        // A message comes whole.
        _ => Err(Errno::BADMSG),
    }
}
