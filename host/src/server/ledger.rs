// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a server writes down for the one after it: which IDs its clients may know.
//!
//! A server that is killed leaves its clients alive, and the next one at the same socket can neither reach
//! them nor see them. So the IDs that are given out stand in the lock file, in steps of 64: that a client joins costs a
//! write once in a while, and a new server begins above. A server that ends by itself leaves the file as it has found it, or
//! removes it: it has told its own clients that everybody has left.
//!
//! No client outlives the machine, so what was written before it was started is of no importance.

use std::fs::read_to_string;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::Stat;
use rustix::io::{pread, pwrite, retry_on_intr};
use serde::{Deserialize, Serialize};

use super::ids::COUNT;
use super::named_file::identity;

/// How many IDs are written down at once.
const STEP: u16 = 64;

/// Bytes of a record, padded with spaces, so that each is replaced whole by the next.
const RECORD_LEN: usize = 256;

/// What the lock file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// All IDs that clients may have been given are below this.
    pub(super) ids: u16,
    /// The server's process.
    pub(super) pid: u32,
    /// Device and inode of the shared memory.
    pub(super) memory: (u64, u64),
    /// The kernel's name for its present run.
    boot: String,
}

impl Record {
    /// Reads what the server before has left in its lock file; nothing if all its clients are gone for sure.
    ///
    /// One that cannot be understood says that any ID may be known.
    pub(super) fn read(file: &OwnedFd) -> Option<Self> {
        let mut bytes = [0; RECORD_LEN];
        let len = retry_on_intr(|| pread(file, &mut bytes[..], 0)).unwrap_or(0);
        let text = bytes.get(..len).unwrap_or_default();
        if text.is_empty() {
            // It was killed before it gave out anything.
            return None;
        }
        let record: Self = serde_json::from_slice(text).unwrap_or(Self {
            ids: COUNT,
            pid: 0,
            memory: (0, 0),
            boot: boot_id(),
        });
        (record.ids > 0 && record.boot == boot_id()).then_some(record)
    }

    /// Writes it in place of what is there. A failure is let pass: that clients are served now matters more than what a
    /// server after this one knows.
    pub(super) fn write(&self, file: &OwnedFd) {
        if let Ok(text) = serde_json::to_string(self) {
            let padded = format!("{text:RECORD_LEN$}");
            let _ = retry_on_intr(|| pwrite(file, padded.as_bytes(), 0));
        }
    }
}

/// The lock file of a running server, to write to.
#[derive(Debug)]
pub(super) struct Ledger {
    /// `None` where there is no lock file.
    file: Option<Arc<OwnedFd>>,
    record: Record,
}

impl Ledger {
    /// Begins with `ids` as the first that is given out.
    pub(super) fn new(file: Option<Arc<OwnedFd>>, memory: &Stat, ids: u16) -> Self {
        let ledger = Self {
            file,
            record: Record {
                ids,
                pid: std::process::id(),
                memory: identity(memory),
                boot: boot_id(),
            },
        };
        ledger.write();
        ledger
    }

    /// Goes on with the record of another server, and writes nothing down until [`Ledger::record_in`].
    pub(super) const fn going_on(record: Record) -> Self {
        Self { file: None, record }
    }

    /// Writes to `file` from now on, as this process.
    pub(super) fn record_in(&mut self, file: Option<Arc<OwnedFd>>) {
        self.file = file;
        self.record.pid = std::process::id();
        self.write();
    }

    /// Returns what stands in the lock file.
    pub(super) const fn record(&self) -> &Record {
        &self.record
    }

    /// Writes down, if it is not yet, that clients may know `id`.
    pub(super) fn note(&mut self, id: u16) {
        if id >= self.record.ids {
            self.record.ids = id.saturating_add(STEP).min(COUNT);
            self.write();
        }
    }

    fn write(&self) {
        if let Some(file) = &self.file {
            self.record.write(file);
        }
    }
}

/// Returns what tells the kernel's present run from others; nothing where that cannot be seen, as in some sandboxes.
fn boot_id() -> String {
    read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{fstat, memfd_create, MemfdFlags};

    fn file() -> Arc<OwnedFd> {
        Arc::new(memfd_create("lock", MemfdFlags::CLOEXEC).unwrap())
    }

    #[test]
    fn what_is_written_is_read_and_ahead_of_what_is_given() {
        let file = file();
        let stat = fstat(&file).unwrap();
        assert_eq!(Record::read(&file), None, "nothing was written");
        let mut ledger = Ledger::new(Some(Arc::clone(&file)), &stat, 0);
        assert_eq!(Record::read(&file), None, "nothing was given");
        for (id, ids) in [(0, 64), (63, 64), (64, 128), (COUNT - 1, COUNT)] {
            ledger.note(id);
            let record = Record::read(&file).unwrap();
            assert_eq!(record.ids, ids);
            assert_eq!(record.pid, std::process::id());
            assert_eq!(record.memory, (stat.st_dev, stat.st_ino));
        }
    }

    #[test]
    fn what_was_written_before_the_machine_was_started_is_of_no_importance() {
        let file = file();
        let mut ledger = Ledger::new(Some(Arc::clone(&file)), &fstat(&file).unwrap(), 0);
        ledger.record.boot = "another".to_owned();
        ledger.note(7);
        assert_eq!(Record::read(&file), None);
    }

    #[test]
    fn what_cannot_be_understood_means_that_any_id_may_be_known() {
        for text in [
            "x",
            "{\"ids\":1}",
            "{\"ids\":-1,\"pid\":1,\"memory\":[1,1],\"boot\":\"\"}",
        ] {
            let file = file();
            pwrite(&file, text.as_bytes(), 0).unwrap();
            assert_eq!(Record::read(&file).unwrap().ids, COUNT, "{text}");
        }
    }
}
