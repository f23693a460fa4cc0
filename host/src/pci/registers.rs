// SPDX-License-Identifier: MIT OR Apache-2.0
//! The registers of a device as a program reaches them: [`Window`].
#![allow(unsafe_code)]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;

use ivshmem::registers::BLOCK_LEN;
use ivshmem::{MmioRegion, Registers};

use crate::mapping::Mapping;

/// Registers of ivshmem, mapped or in a file.
#[derive(Debug)]
pub(super) enum Window {
    /// One load or store for each access.
    Mapped {
        block: MmioRegion,
        /// Keeps the block mapped.
        _mapping: Mapping,
    },
    /// One system call for each access: where a BAR cannot be mapped because it shares its page.
    File { file: File, offset: u64 },
}

impl Window {
    /// Takes the registers that begin `skip` bytes into a mapping of a device's BAR; `None` if they do not lie inside or
    /// are not aligned.
    pub(super) fn mapped(mapping: Mapping, skip: usize) -> Option<Self> {
        let memory = mapping.memory();
        let len = usize::try_from(BLOCK_LEN).ok()?;
        if !skip.is_multiple_of(4) || skip.checked_add(len)? > memory.len() {
            return None;
        }
        let base = NonNull::new(memory.as_ptr().wrapping_add(skip))?;
        // SAFETY: 1. the block lies inside of the mapping, aligned to 4, as checked above; the mapping is readable, writable, and
        // kept beside the block, which nobody gets out of here; 2. no Rust allocation is in a mapping. The kernel maps BARs
        // uncached, and what is behind it other than registers of a device (a file, in tests) is memory that any access is harmless to.
        let block = unsafe { MmioRegion::new(base, len) };
        Some(Self::Mapped {
            block,
            _mapping: mapping,
        })
    }
}

/// Where a file cannot be read there is no device any more, so that all bits are ones.
impl Registers for Window {
    fn read(&self, offset: usize) -> u32 {
        match self {
            Self::Mapped { block, .. } => block.read(offset),
            Self::File { file, offset: base } => {
                let mut bytes = [0; 4];
                match file.read_exact_at(&mut bytes, base.saturating_add(offset as u64)) {
                    Ok(()) => u32::from_le_bytes(bytes),
                    Err(_) => !0,
                }
            }
        }
    }

    fn write(&self, offset: usize, value: u32) {
        match self {
            Self::Mapped { block, .. } => block.write(offset, value),
            Self::File { file, offset: base } => {
                let at = base.saturating_add(offset as u64);
                // As a store to a device that is gone.
                let _ = file.write_all_at(&value.to_le_bytes(), at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(8192).unwrap();
        file.write_all_at(&7_u32.to_le_bytes(), 0x408).unwrap();
        file
    }

    fn check(window: &Window, file: &File) {
        assert_eq!(window.read(8), 7);
        window.write(12, 0x0102_0304);
        let mut bytes = [0; 4];
        file.read_exact_at(&mut bytes, 0x40c).unwrap();
        assert_eq!(bytes, [4, 3, 2, 1], "little-endian");
    }

    #[test]
    fn registers_are_reached_by_a_mapping_or_by_the_file() {
        let shared = file();
        let mapping = Mapping::of(&shared).unwrap();
        check(&Window::mapped(mapping, 0x400).unwrap(), &shared);
        let shared = file();
        let (file, offset) = (shared.try_clone().unwrap(), 0x400);
        check(&Window::File { file, offset }, &shared);
    }

    #[test]
    fn what_is_not_there_reads_as_ones() {
        let (file, offset) = (file(), u64::MAX - 4);
        let window = Window::File { file, offset };
        assert_eq!(window.read(8), !0);
        window.write(12, 1);
        for outside in [2, 8192 - 12, usize::MAX - 3] {
            let mapping = Mapping::of(self::file()).unwrap();
            assert!(Window::mapped(mapping, outside).is_none(), "{outside}");
        }
    }
}
