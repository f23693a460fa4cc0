// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames as a file for Wireshark, in pcap format.
//!
//! In front of each frame are [`PSEUDO_HEADER`] bytes, little-endian, as `docs/operating.md` says:
//!
//! | offset | bytes | |
//! | --- | --- | --- |
//! | 0 | 1 | version: 1 |
//! | 1 | 1 | flags: bit 0 the message goes on in the next frame; bit 1 the receiver had given back the room when it was read |
//! | 2 | 2 | slot of the sender |
//! | 4 | 2 | slot of the receiver |
//! | 6 | 2 | 0 |
//! | 8 | 4 | incarnation of the sender |
//! | 12 | 4 | incarnation of the receiver |
//! | 16 | 8 | position in the ring, in bytes since the two were connected, modulo 2^35 |

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::rc::Rc;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use ivshmem::channel::inspect::Inspection;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::{DataLink, Endianness, PcapError, TsResolution};

use super::follow::{Captured, Tap};
use super::Arguments;
use crate::command::interrupt::Interrupt;
use crate::command::output::{log, Reader};
use crate::command::region::Opened;
use crate::command::{Exit, Failure};

/// Bytes in front of each frame.
const PSEUDO_HEADER: usize = 24;
const VERSION: u8 = 1;
const MORE: u8 = 1 << 0;
const GIVEN_BACK: u8 = 1 << 1;

/// The longest packet that Wireshark reads; of longer frames this much is written.
pub(super) const LONGEST: usize = 262_144 - PSEUDO_HEADER;

/// Writes the frames that are in the rings, and those that pass if asked to.
pub(super) fn run(opened: &Opened, path: &Path, arguments: &Arguments) -> Result<Exit, Failure> {
    let interrupt = Interrupt::catch()?;
    let mut inspection = Inspection::of(&opened.memory);
    let mut tap = Tap::new(arguments.ring);
    if !tap.is_possible(&inspection) {
        return Err(Failure::new(format!(
            "there are no such rings in {}: look at it with `ivshmem dump`",
            opened.place
        )));
    }
    let mut capture = Capture::create(path)?;
    loop {
        // Who formats a region anew begins all rings anew.
        if !inspection.is_current() {
            inspection = Inspection::of(&opened.memory);
        }
        let mut result = Ok(());
        tap.look(&inspection, |frame| {
            if result.is_ok() {
                result = capture.write(frame);
            }
        });
        let reader = result.and_then(|()| capture.flush()).map_err(|error| {
            Failure::new(format!("cannot write to {}: {error}", path.display()))
        })?;
        if reader == Reader::Gone || !arguments.follow || interrupt.came() {
            break;
        }
        thread::sleep(arguments.interval);
    }
    log(format_args!(
        "{} frames written, {}",
        capture.written,
        match tap.missed() {
            0 => "none seen to be missed".to_owned(),
            gaps => format!(
                "frames missed in {gaps} places: they were overwritten before they were looked at"
            ),
        }
    ));
    Ok(Exit::Success)
}

/// A file that is written.
struct Capture {
    packets: PcapWriter<Pending>,
    pending: Pending,
    file: Box<dyn Write>,
    written: u64,
}

/// What the writer of packets has written and the file does not have yet.
#[derive(Clone, Debug, Default)]
struct Pending(Rc<RefCell<Vec<u8>>>);

impl Write for Pending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Capture {
    /// Creates the file; `-` is stdout.
    fn create(path: &Path) -> Result<Self, Failure> {
        let failed = |error: io::Error| {
            Failure::new(format!(
                "cannot create {}: {error}; name a file that you may write to",
                path.display()
            ))
        };
        let file: Box<dyn Write> = if path == Path::new("-") {
            Box::new(io::stdout())
        } else {
            Box::new(File::create(path).map_err(failed)?)
        };
        let pending = Pending::default();
        let header = PcapHeader {
            snaplen: (PSEUDO_HEADER + LONGEST) as u32,
            datalink: DataLink::USER0,
            ts_resolution: TsResolution::NanoSecond,
            endianness: Endianness::Little,
            ..PcapHeader::default()
        };
        let packets = PcapWriter::with_header(pending.clone(), header)
            .map_err(|error| failed(plain(error)))?;
        Ok(Self {
            packets,
            pending,
            file,
            written: 0,
        })
    }

    /// Adds a frame, with the time of now: the memory does not say when it was sent.
    fn write(&mut self, frame: &Captured) -> io::Result<()> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let packet = packet(frame);
        let len = u32::try_from(PSEUDO_HEADER + frame.len).unwrap_or(u32::MAX);
        self.packets
            .write_packet(&PcapPacket::new(now, len, &packet))
            .map_err(plain)?;
        self.written += 1;
        Ok(())
    }

    /// Hands on what was written.
    fn flush(&mut self) -> io::Result<Reader> {
        let bytes = self.pending.0.take();
        match self.file.write_all(&bytes).and_then(|()| self.file.flush()) {
            Ok(()) => Ok(Reader::Reads),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::Gone),
            Err(error) => Err(error),
        }
    }
}

/// Returns an error of the writer as one of input and output, which others it has none of when it writes.
fn plain(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}

/// Returns a frame with what is in front of it.
fn packet(frame: &Captured) -> Vec<u8> {
    let mut flags = 0;
    if frame.more {
        flags |= MORE;
    }
    if frame.given_back {
        flags |= GIVEN_BACK;
    }
    let [from, to] = frame.slots;
    let [source, destination] = frame.incarnations;
    let mut packet = Vec::with_capacity(PSEUDO_HEADER + frame.payload.len());
    packet.extend([VERSION, flags]);
    packet.extend(from.to_le_bytes());
    packet.extend(to.to_le_bytes());
    packet.extend([0; 2]);
    packet.extend(source.to_le_bytes());
    packet.extend(destination.to_le_bytes());
    packet.extend(frame.position.to_le_bytes());
    packet.extend(&frame.payload);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_front_of_a_frame_is_as_documented() {
        let frame = Captured {
            slots: [1, 0x203],
            incarnations: [4, 5],
            position: 6 << 32,
            len: 3,
            more: true,
            given_back: true,
            payload: b"abc".to_vec(),
        };
        let packet = packet(&frame);
        assert_eq!(packet[..8], [1, 3, 1, 0, 3, 2, 0, 0]);
        assert_eq!(packet[8..16], [4, 0, 0, 0, 5, 0, 0, 0]);
        assert_eq!(packet[16..24], [0, 0, 0, 0, 6, 0, 0, 0]);
        assert_eq!(packet[24..], *b"abc");
    }
}
