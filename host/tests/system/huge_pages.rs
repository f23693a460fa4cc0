// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shared memory of huge pages: memfds and files on a hugetlbfs.

use std::fs;
use std::path::Path;

use ivshmem_host::peer::Peer;
use ivshmem_host::server::{Backing, BindError, Config, FileAtEnd, HugePages, Server};
use libtest_mimic::Completion;
use rustix::fs::{fcntl_get_seals, SealFlags};
use rustix::mount::{mount, unmount, MountFlags, UnmountFlags};
use tempfile::TempDir;

use crate::process::{names, Running};
use crate::Outcome;

const PAGE: u64 = 2 << 20;
const POOL: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB";
const HUGE_1G: &str = "/sys/kernel/mm/hugepages/hugepages-1048576kB";

/// The machine's pool of pages of 2 MiB, with some more for this trial.
struct Pool {
    before: u64,
}

impl Pool {
    /// Adds as many pages to the pool as leave `free` to be had, or says why that cannot be.
    fn with_free(free: u64) -> Result<Self, String> {
        let before = read("nr_hugepages").ok_or(format!("{POOL} is not there"))?;
        let pool = Self { before };
        let used = before.saturating_sub(pool.available());
        write(used + free)?;
        match pool.available() {
            found if found == free => Ok(pool),
            found => Err(format!("{found} huge pages instead of {free}")),
        }
    }

    fn available(&self) -> u64 {
        let pages = |name| read(name).unwrap_or(0);
        pages("free_hugepages").saturating_sub(pages("resv_hugepages"))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let _ = write(self.before);
    }
}

fn read(name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("{POOL}/{name}")).ok()?;
    text.trim().parse().ok()
}

fn write(pages: u64) -> Result<(), String> {
    let path = format!("{POOL}/nr_hugepages");
    fs::write(&path, pages.to_string()).map_err(|error| format!("{path}: {error}"))
}

/// A hugetlbfs of 2 MiB pages, gone with the value.
struct Mounted(TempDir);

impl Mounted {
    fn new() -> Result<Self, String> {
        let folder = tempfile::tempdir().unwrap();
        mount(
            "none",
            folder.path(),
            "hugetlbfs",
            MountFlags::empty(),
            Some(c"pagesize=2M"),
        )
        .map_err(|error| format!("a hugetlbfs cannot be mounted: {error}"))?;
        Ok(Self(folder))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = unmount(self.0.path(), UnmountFlags::DETACH);
    }
}

pub fn all_of_them() -> Outcome {
    let set_up = || Ok::<_, String>((Pool::with_free(4)?, Mounted::new()?));
    let (pool, mounted) = match set_up() {
        Ok(ready) => ready,
        Err(reason) => return Ok(Completion::ignored_with(reason)),
    };
    anonymous(&pool);
    on_a_hugetlbfs(&pool, mounted.0.path());
    by_the_command(&pool);
    Ok(Completion::Completed)
}

fn config(folder: &Path, backing: Backing, size_bytes: u64) -> Config {
    let mut config = Config::new(folder.join("ivshmem.sock"), size_bytes, 1);
    config.backing = backing;
    config
}

fn anonymous(pool: &Pool) {
    let folder = tempfile::tempdir().unwrap();
    let with = |pages, size| config(folder.path(), Backing::HugePages(pages), size);
    let server = Server::spawn(with(HugePages::Size2M, 2 * PAGE)).unwrap();
    assert_eq!(pool.available(), 2, "taken at the start, before any use");
    let seals = fcntl_get_seals(server.memory()).unwrap();
    assert!(seals.contains(SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL));
    let (one, other) = (
        Peer::connect(server.socket()).unwrap(),
        Peer::connect(server.socket()).unwrap(),
    );
    one.memory().write(2 * PAGE as usize - 4, b"last").unwrap();
    let mut bytes = [0; 4];
    other
        .memory()
        .read(2 * PAGE as usize - 4, &mut bytes)
        .unwrap();
    assert_eq!(&bytes, b"last");
    let second = Server::bind({
        let mut config = with(HugePages::Size2M, 4 * PAGE);
        config.socket = folder.path().join("second.sock");
        config
    });
    assert_eq!(
        second.unwrap_err(),
        BindError::TooFewHugePages {
            needed: 4,
            available: Some(2),
            page_bytes: PAGE
        }
    );
    assert_eq!(
        pool.available(),
        2,
        "what was taken for the refused one is back"
    );
    drop((server, one, other));
    assert_eq!(pool.available(), 4);

    assert_eq!(
        Server::bind(with(HugePages::Size2M, PAGE / 2)).unwrap_err(),
        BindError::HugePageSize {
            path: None,
            size_bytes: PAGE / 2,
            page_bytes: PAGE
        }
    );
    // Whatever is the usual size, 64K are no multiple of it.
    assert!(matches!(
        Server::bind(with(HugePages::Default, 1 << 16)).unwrap_err(),
        BindError::HugePageSize { .. }
    ));
    let gigantic = Server::bind(with(HugePages::Size1G, 1 << 40)).unwrap_err();
    if Path::new(HUGE_1G).exists() {
        assert!(
            matches!(gigantic, BindError::TooFewHugePages { needed: 1024, .. }),
            "{gigantic}"
        );
    } else {
        let pages = HugePages::Size1G;
        assert_eq!(gigantic, BindError::NoHugePages { pages });
    }
    assert!(names(folder.path()).is_empty());
}

fn on_a_hugetlbfs(pool: &Pool, mounted: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let file = mounted.join("memory");
    let with = |size| config(folder.path(), Backing::File(file.clone()), size);
    assert_eq!(
        Server::bind(with(PAGE / 2)).unwrap_err(),
        BindError::HugePageSize {
            path: Some(file.clone()),
            size_bytes: PAGE / 2,
            page_bytes: PAGE
        }
    );
    assert!(matches!(
        Server::bind(with(8 * PAGE)).unwrap_err(),
        BindError::TooFewHugePages {
            needed: 8,
            available: Some(4),
            ..
        }
    ));
    assert!(names(mounted).is_empty(), "a failed start leaves no file");
    assert_eq!(pool.available(), 4);
    for round in 0..2_u8 {
        let mut config = with(4 * PAGE);
        if round == 1 {
            config.file_at_end = FileAtEnd::Remove;
        }
        let server = Server::spawn(config).unwrap();
        assert_eq!(pool.available(), 0);
        let peer = Peer::connect(server.socket()).unwrap();
        let mut byte = [9];
        peer.memory().read(3 * PAGE as usize, &mut byte).unwrap();
        assert_eq!(byte, [round], "what the round before has left");
        peer.memory()
            .write(3 * PAGE as usize, &[round + 1])
            .unwrap();
    }
    assert!(names(mounted).is_empty());
    assert_eq!(pool.available(), 4);

    let unnamed = Backing::Unlinked(mounted.to_owned());
    let server = Server::spawn(config(folder.path(), unnamed, 2 * PAGE)).unwrap();
    assert_eq!(pool.available(), 2);
    drop(server);
    assert_eq!(pool.available(), 4);
}

fn by_the_command(pool: &Pool) {
    let mut command = Running::start(":", 1, &["--huge-pages=2M"]);
    let line = command.line();
    assert!(
        line.ends_with("a size of 65536 bytes is not a multiple of the huge pages of 2097152"),
        "{line}"
    );
    assert_eq!(command.child.wait().unwrap().code(), Some(2));
    assert_eq!(pool.available(), 4);
}
