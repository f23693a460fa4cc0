// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files that hold the shared memory, and where this machine has such memory.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::fs::statfs;

use super::file_system;
use super::finding::{Code, Finding};
use super::world::World;

/// Checks the file at `path`, which machines or processes share.
pub(super) fn check(world: &World, path: &Path) -> Vec<Finding> {
    let place = path.display();
    let problem = |code, what: String, cure: &str| vec![Finding::new(code, &place, what, cure)];
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return problem(
                Code::FileMissing,
                "there is no such file".to_owned(),
                "create it with the size of the memory, a power of two: truncate -s 4M PATH (ivshmem server --shm-file does it too)",
            );
        }
        Err(error) => {
            return problem(
                Code::FileDenied,
                format!("it cannot be looked at: {error}"),
                "run this as a user who may",
            );
        }
    };
    if !metadata.is_file() {
        let kind = metadata.file_type();
        let name = match () {
            () if kind.is_dir() => "a directory",
            () if kind.is_socket() => "a socket (use --socket)",
            () => "a device or pipe",
        };
        return problem(
            Code::FileNotOne,
            format!("it is {name}, not a file"),
            "name a file, such as /dev/shm/ivshmem",
        );
    }
    let facts = match file_system::Facts::of(path) {
        Ok(facts) => facts,
        Err(error) => {
            return problem(
                Code::FileDenied,
                format!("its file system cannot be looked at: {error}"),
                "run this as a user who may",
            );
        }
    };
    let findings = [
        file_system::judge(world, path, &facts),
        protected(world, path, &metadata),
    ]
    .concat();
    if !findings.is_empty() {
        return findings;
    }
    vec![Finding::fine(
        Code::MemoryFine,
        place,
        format!(
            "a file of {} bytes in memory, which can be a BAR",
            facts.bytes
        ),
    )]
}

/// Whether the kernel protects a file in a directory like `/tmp` from being opened by other users' programs.
fn protected(world: &World, path: &Path, metadata: &fs::Metadata) -> Vec<Finding> {
    let level = world.text("/proc/sys/fs/protected_regular");
    let on = level
        .and_then(|text| text.parse::<u32>().ok())
        .is_some_and(|level| level > 0);
    let folder = path.parent().and_then(|folder| fs::metadata(folder).ok());
    let Some(folder) = folder.filter(|_| on) else {
        return Vec::new();
    };
    // Sticky, and everybody may write.
    let shared = folder.mode() & 0o1002 == 0o1002;
    let strangers =
        metadata.uid() != nix::unistd::geteuid().as_raw() && metadata.uid() != folder.uid();
    if !shared || !strangers {
        return Vec::new();
    }
    vec![Finding::new(
        Code::ProtectedRegular,
        path.display(),
        "it belongs to another user, in a directory for all: the kernel (fs.protected_regular) refuses it, even to root, to programs that would create it if absent",
        "put it into a directory of its own, or give it to the user who runs the programs; QEMU and ivshmem are not affected",
    )]
}

/// Checks where shared memory lives on this machine: `/dev/shm`, and huge pages.
pub(super) fn check_machine(world: &World) -> Vec<Finding> {
    let mounts = world.text("/proc/mounts").unwrap_or_default();
    let shm = mounts.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next() == Some("/dev/shm") && words.next() == Some("tmpfs")
    });
    if !shm {
        return vec![Finding::new(
            Code::ShmNotMounted,
            "/dev/shm",
            "no tmpfs is mounted here: a file in it is on a disk, or nowhere",
            "mount -t tmpfs -o mode=1777 tmpfs /dev/shm",
        )];
    }
    let space = statfs(world.at("/dev/shm")).map_or_else(
        |_| String::new(),
        |system| {
            let block = u64::try_from(system.f_bsize).unwrap_or(0);
            let mib = |blocks: u64| blocks.saturating_mul(block) >> 20;
            format!(
                " of {} MiB, {} MiB free",
                mib(system.f_blocks),
                mib(system.f_bavail)
            )
        },
    );
    let huge: Vec<_> = mounts
        .lines()
        .filter(|line| line.split_whitespace().nth(2) == Some("hugetlbfs"))
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect();
    let huge = if huge.is_empty() {
        "no huge pages are mounted".to_owned()
    } else {
        format!("huge pages at {}", huge.join(", "))
    };
    vec![Finding::fine(
        Code::MemoryFine,
        "/dev/shm",
        format!("a tmpfs{space}; {huge}"),
    )]
}

#[cfg(test)]
mod tests {
    use super::super::world::plant;
    use super::*;
    use std::os::unix::fs::{chown, PermissionsExt};

    #[test]
    fn what_is_no_file_is_named() {
        let place = tempfile::tempdir().unwrap();
        let world = World::planted(place.path());
        let socket = place.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for (path, code, what) in [
            (
                place.path().join("absent"),
                Code::FileMissing,
                "no such file",
            ),
            (place.path().to_owned(), Code::FileNotOne, "a directory"),
            (socket, Code::FileNotOne, "a socket"),
            ("/dev/null".into(), Code::FileNotOne, "a device"),
        ] {
            let findings = check(&world, &path);
            assert_eq!(findings[0].code, code, "{path:?}");
            assert!(findings[0].what.contains(what), "{:?}", findings[0]);
        }
    }

    #[test]
    fn a_good_file_in_memory_is_fine() {
        let Ok(place) = tempfile::tempdir_in("/dev/shm") else {
            return;
        };
        let path = place.path().join("memory");
        fs::File::create(&path).unwrap().set_len(4096).unwrap();
        let findings = check(&World::planted(place.path()), &path);
        assert_eq!(findings[0].code, Code::MemoryFine, "{findings:?}");
    }

    #[test]
    fn a_strangers_file_in_a_directory_for_all_is_mentioned() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("memory");
        fs::write(&path, "").unwrap();
        // Only root can make it a stranger's; the rest is the other way round.
        let root = nix::unistd::geteuid().is_root();
        if root {
            chown(&path, Some(54_321), None).unwrap();
        }
        for (mode, level, found) in [
            (0o1777, "1", root),
            (0o1777, "0", false),
            (0o777, "1", false),
            (0o1775, "1", false),
        ] {
            fs::set_permissions(place.path(), fs::Permissions::from_mode(mode)).unwrap();
            let machine = tempfile::tempdir().unwrap();
            let world = plant(machine.path(), &[("/proc/sys/fs/protected_regular", level)]);
            let findings = protected(&world, &path, &fs::metadata(&path).unwrap());
            assert_eq!(!findings.is_empty(), found, "{mode:o} {level}");
        }
    }

    #[test]
    fn the_mounts_of_shared_memory_are_looked_at() {
        for (mounts, code, what) in [
            (
                "tmpfs /dev/shm tmpfs rw 0 0\nx /huge hugetlbfs rw 0 0",
                Code::MemoryFine,
                "huge pages at /huge",
            ),
            (
                "tmpfs /dev/shm tmpfs rw 0 0",
                Code::MemoryFine,
                "no huge pages",
            ),
            ("/dev/sda /dev/shm ext4 rw 0 0", Code::ShmNotMounted, ""),
            ("", Code::ShmNotMounted, ""),
        ] {
            let place = tempfile::tempdir().unwrap();
            let world = plant(place.path(), &[("/proc/mounts", mounts)]);
            let findings = check_machine(&world);
            assert_eq!(findings[0].code, code, "{mounts}");
            assert!(findings[0].what.contains(what), "{mounts}");
        }
    }
}
