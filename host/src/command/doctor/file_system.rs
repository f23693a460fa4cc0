// SPDX-License-Identifier: MIT OR Apache-2.0
//! The file system of a file of shared memory: its kind, its room, its huge pages.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ivshmem_host::size;
use rustix::fs::{statfs, statvfs, StatVfsMountFlags};

use super::finding::{Code, Finding};
use super::world::World;

/// Magic numbers of file systems (`linux/magic.h`).
const TMPFS: u32 = 0x0102_1994;
const RAMFS: u32 = 0x8584_58f6;
const HUGETLBFS: u32 = 0x9584_58f6;

/// A file of shared memory, and the file system that it is on.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) bytes: u64,
    /// How much of it has pages already.
    allocated_bytes: u64,
    kind: u32,
    block_bytes: u64,
    total_bytes: u64,
    free_bytes: u64,
    read_only: bool,
}

impl Facts {
    /// Looks at the file or directory at `path`.
    pub(super) fn of(path: &Path) -> std::io::Result<Self> {
        let metadata = fs::metadata(path)?;
        let system = statfs(path)?;
        let block_bytes = u64::try_from(system.f_bsize).unwrap_or(0);
        let flags = statvfs(path)?.f_flag;
        Ok(Self {
            bytes: metadata.len(),
            allocated_bytes: metadata.blocks().saturating_mul(512),
            // The numbers have 32 bits, whatever the field has.
            kind: (system.f_type as u64 & u64::from(u32::MAX)) as u32,
            block_bytes,
            total_bytes: system.f_blocks.saturating_mul(block_bytes),
            free_bytes: system.f_bavail.saturating_mul(block_bytes),
            read_only: flags.contains(StatVfsMountFlags::RDONLY),
        })
    }
}

/// Checks the file system where a file of `bytes` is going to be created at `path`.
pub(super) fn check_future(world: &World, path: &Path, bytes: u64) -> Vec<Finding> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // What is wrong with the directory or the size is said of the command line.
    let Ok(facts) = Facts::of(folder) else {
        return Vec::new();
    };
    if size::check(bytes).is_err() {
        return Vec::new();
    }
    let future = Facts {
        bytes,
        allocated_bytes: 0,
        ..facts
    };
    judge(world, path, &future)
}

/// Checks a file against its file system.
pub(super) fn judge(world: &World, path: &Path, facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |code, what: String, cure: String| {
        findings.push(Finding::new(code, path.display(), what, cure));
    };
    let bytes = facts.bytes;
    if let Err(error) = size::check(bytes) {
        find(
            Code::FileSize,
            format!("{error}: no machine can have it"),
            format!("truncate -s {} {}", larger_size(bytes), path.display()),
        );
    }
    if facts.read_only {
        find(
            Code::FileSystemReadOnly,
            "its file system is mounted read-only".to_owned(),
            "choose a file in /dev/shm".to_owned(),
        );
    }
    let missing = bytes.saturating_sub(facts.allocated_bytes);
    match facts.kind {
        HUGETLBFS => {
            let page = facts.block_bytes.max(1);
            if !bytes.is_multiple_of(page) {
                find(
                    Code::HugePageSize,
                    format!("its {bytes} bytes are no multiple of the {page} of its huge pages"),
                    format!("make it {page} bytes or a power of two above, or use /dev/shm"),
                );
            }
            let count = format!(
                "/sys/kernel/mm/hugepages/hugepages-{}kB/free_hugepages",
                page >> 10
            );
            let free = world.text(&count).and_then(|text| text.parse::<u64>().ok());
            if let Some(free) = free.filter(|free| free.saturating_mul(page) < missing) {
                find(
                    Code::HugePagesMissing,
                    format!("{free} huge pages are free, but it still needs {}: a machine ends with SIGBUS", missing.div_ceil(page)),
                    format!("raise {}", world.at(&count).with_file_name("nr_hugepages").display()),
                );
            }
        }
        kind => {
            if facts.total_bytes != 0 && facts.total_bytes < bytes {
                find(
                    Code::FileSystemTooSmall,
                    format!("its file system holds {} bytes, fewer than its {bytes}: machines and processes end with SIGBUS", facts.total_bytes),
                    remount(path, bytes),
                );
            } else if facts.total_bytes != 0 && facts.free_bytes < missing {
                find(
                    Code::FileSystemFull,
                    format!("its file system has {} bytes left, but it may still take {missing}: then machines and processes end with SIGBUS", facts.free_bytes),
                    format!("remove what is not needed there, or {}", remount(path, bytes)),
                );
            }
            if kind != TMPFS && kind != RAMFS {
                find(
                    Code::FileOnDisk,
                    "it is on a disk: what is written to the memory is written to the disk too, which slows it down".to_owned(),
                    "use a file in /dev/shm".to_owned(),
                );
            }
        }
    }
    findings
}

fn larger_size(bytes: u64) -> u64 {
    bytes
        .max(size::MIN_BYTES)
        .checked_next_power_of_two()
        .unwrap_or(size::MIN_BYTES)
}

fn remount(path: &Path, bytes: u64) -> String {
    let mount = path.parent().unwrap_or(path).display();
    format!(
        "enlarge it: mount -o remount,size={} {mount}",
        larger_size(bytes.saturating_mul(2))
    )
}

#[cfg(test)]
mod tests {
    use super::super::world::plant;
    use super::*;

    const GOOD: Facts = Facts {
        bytes: 1 << 20,
        allocated_bytes: 0,
        kind: TMPFS,
        block_bytes: 4096,
        total_bytes: 1 << 30,
        free_bytes: 1 << 29,
        read_only: false,
    };

    fn codes(facts: &Facts, free_pages: &str) -> Vec<Code> {
        let place = tempfile::tempdir().unwrap();
        let file = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";
        let world = plant(place.path(), &[(file, free_pages)]);
        let findings = judge(&world, Path::new("/dev/shm/x"), facts);
        findings.iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn a_file_and_its_file_system_are_judged() {
        let huge = Facts {
            kind: HUGETLBFS,
            block_bytes: 2 << 20,
            bytes: 4 << 20,
            ..GOOD
        };
        for (facts, expected) in [
            (GOOD, &[][..]),
            (Facts { bytes: 0, ..GOOD }, &[Code::FileSize]),
            (
                Facts {
                    bytes: 2048,
                    ..GOOD
                },
                &[Code::FileSize],
            ),
            (
                Facts {
                    bytes: 3 << 20,
                    ..GOOD
                },
                &[Code::FileSize],
            ),
            (
                Facts {
                    read_only: true,
                    ..GOOD
                },
                &[Code::FileSystemReadOnly],
            ),
            (
                Facts {
                    kind: 0xef53,
                    ..GOOD
                },
                &[Code::FileOnDisk],
            ),
            (
                Facts {
                    kind: RAMFS,
                    total_bytes: 0,
                    free_bytes: 0,
                    ..GOOD
                },
                &[],
            ),
            (
                Facts {
                    total_bytes: 1 << 19,
                    ..GOOD
                },
                &[Code::FileSystemTooSmall],
            ),
            (
                Facts {
                    free_bytes: 1 << 19,
                    ..GOOD
                },
                &[Code::FileSystemFull],
            ),
            (
                Facts {
                    free_bytes: 0,
                    allocated_bytes: 1 << 20,
                    ..GOOD
                },
                &[],
            ),
            (huge.clone(), &[]),
            (
                Facts {
                    bytes: 1 << 20,
                    ..huge.clone()
                },
                &[Code::HugePageSize],
            ),
            (
                Facts {
                    bytes: 8 << 20,
                    ..huge.clone()
                },
                &[Code::HugePagesMissing],
            ),
            (
                Facts {
                    bytes: 8 << 20,
                    allocated_bytes: 4 << 20,
                    ..huge
                },
                &[],
            ),
        ] {
            assert_eq!(codes(&facts, "2\n"), expected, "{facts:?}");
        }
    }

    #[test]
    fn a_file_that_is_to_come_needs_room() {
        let place = tempfile::tempdir().unwrap();
        let world = World::planted(place.path());
        let codes = |path: &Path, bytes| -> Vec<Code> {
            let findings = check_future(&world, path, bytes);
            findings.iter().map(|finding| finding.code).collect()
        };
        let memory = Path::new("/dev/shm/ivshmem-not-there");
        assert_eq!(codes(memory, 1 << 62), [Code::FileSystemTooSmall]);
        assert_eq!(codes(memory, 4096), []);
        assert_eq!(codes(memory, 3), []);
        assert_eq!(codes(Path::new("/no/such/place"), 4096), []);
    }
}
