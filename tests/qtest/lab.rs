// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the trials share: QEMU, and how a trial on one machine or more ends.

use std::fs::File;
use std::rc::Rc;

use ivshmem_host::mapping::Mapping;
use libtest_mimic::Failed;
use tempfile::TempDir;
use xtask::guests::Place;
use xtask::qemu::{option_value, Guest};

use crate::board::Board;

pub use crate::frozen::{Lab, Need, PATIENCE};

/// Size of the shared memory where it does not matter, as in QEMU's own cases.
pub const SIZE: u64 = 1 << 20;

/// Starts the machines, runs the trial on them, and says what went wrong with machine and trial alike.
pub fn on<const N: usize>(
    guests: [Guest; N],
    trial: impl FnOnce([&Rc<Board>; N]) -> Result<(), Failed>,
) -> Result<(), Failed> {
    let boards = guests
        .into_iter()
        .map(Board::power_on)
        .collect::<Result<Vec<_>, _>>()?;
    let result = trial(std::array::from_fn(|index| &boards[index]));
    for board in &boards {
        // A machine that broke off makes the driver fail in ways that say nothing.
        board.verdict()?;
    }
    result
}

/// Memory in a file, for machines and this process.
pub struct SharedFile {
    folder: TempDir,
    file: File,
}

impl SharedFile {
    pub fn new(size_bytes: u64) -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(folder.path().join("memory"))?;
        file.set_len(size_bytes)?;
        Ok(Self { folder, file })
    }

    pub const fn file(&self) -> &File {
        &self.file
    }

    pub fn map(&self) -> Result<Mapping, Failed> {
        Ok(Mapping::of(&self.file)?)
    }

    /// Adds an `ivshmem-plain` with this memory.
    pub fn plain(&self, guest: Guest, place: Place) -> Result<Guest, Failed> {
        let size = self.file.metadata()?.len();
        let path = option_value(self.folder.path().join("memory"));
        let guest = guest.object(&format!(
            "memory-backend-file,id=memory,share=on,size={size},mem-path={path}"
        ));
        Ok(place.put(guest, "ivshmem-plain,memdev=memory,id=ivshmem"))
    }
}

/// Fails unless all bytes are `expected`.
pub fn all(what: &str, bytes: &[u8], expected: u8) -> Result<(), Failed> {
    match bytes.iter().position(|&byte| byte != expected) {
        None => Ok(()),
        Some(at) => Err(format!(
            "{what}: byte {at:#x} is {:#04x}, not {expected:#04x}",
            bytes[at]
        )
        .into()),
    }
}
