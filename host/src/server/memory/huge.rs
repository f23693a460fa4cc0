// SPDX-License-Identifier: MIT OR Apache-2.0
//! Huge pages: memfds of them, and taking them at the start.
//!
//! The system finds out that there are none left when a page is first touched, and tells by `SIGBUS`:
//! a virtual machine would die in the middle of its work. So all are taken at the start.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{fallocate, fstat, fstatfs, ftruncate, memfd_create, FallocateFlags, MemfdFlags};
use rustix::io::Errno;

use super::{seal, BLOCK_BYTES};
use crate::server::backing::HugePages;
use crate::server::error::BindError;

/// `HUGETLBFS_MAGIC`, the type of file system that huge pages come from.
const HUGETLBFS: u64 = 0x9584_58f6;

/// Creates an anonymous file of huge pages, taken and sealed.
pub(super) fn sealed_memfd(pages: HugePages, size_bytes: u64) -> Result<OwnedFd, BindError> {
    let failed = |error| BindError::System {
        step: "create shared memory of huge pages",
        error,
    };
    let size_flag = match pages {
        HugePages::Default => MemfdFlags::empty(),
        HugePages::Size2M => MemfdFlags::HUGE_2MB,
        HugePages::Size1G => MemfdFlags::HUGE_1GB,
    };
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::HUGETLB | size_flag;
    let fd = memfd_create("ivshmem", flags).map_err(|error| match error {
        Errno::NODEV | Errno::INVAL | Errno::NOSYS => BindError::NoHugePages { pages },
        error => failed(error),
    })?;
    let page_bytes = page_bytes(&fd).map_err(failed)?.unwrap_or(1);
    check_size(None, size_bytes, page_bytes)?;
    ftruncate(&fd, size_bytes).map_err(failed)?;
    take(&fd, size_bytes, page_bytes)?;
    seal(&fd)?;
    Ok(fd)
}

/// Returns the size of the huge pages that `fd` consists of, or `None` if it does not.
pub(super) fn page_bytes(fd: impl AsFd) -> rustix::io::Result<Option<u64>> {
    let system = fstatfs(fd)?;
    // Of different types in different architectures.
    #[allow(clippy::unnecessary_cast)]
    let (kind, block) = (system.f_type as u64, system.f_bsize as u64);
    Ok((kind == HUGETLBFS).then_some(block))
}

/// Checks that `size_bytes` are whole pages.
pub(super) fn check_size(
    path: Option<&Path>,
    size_bytes: u64,
    page_bytes: u64,
) -> Result<(), BindError> {
    if !size_bytes.is_multiple_of(page_bytes) {
        return Err(BindError::HugePageSize {
            path: path.map(Path::to_owned),
            size_bytes,
            page_bytes,
        });
    }
    Ok(())
}

/// Takes from the system the pages that `fd` does not have yet.
pub(super) fn take(fd: impl AsFd, size_bytes: u64, page_bytes: u64) -> Result<(), BindError> {
    let failed = |error| BindError::System {
        step: "take the huge pages of the shared memory",
        error,
    };
    let has = u64::try_from(fstat(&fd).map_err(failed)?.st_blocks).unwrap_or(0) * BLOCK_BYTES;
    let needed = size_bytes.saturating_sub(has) / page_bytes;
    // Asked first, since one that fails takes what there is.
    let available = available(page_bytes);
    let too_few = BindError::TooFewHugePages {
        needed,
        available,
        page_bytes,
    };
    if available.is_some_and(|available| available < needed) {
        return Err(too_few);
    }
    fallocate(fd, FallocateFlags::empty(), 0, size_bytes).map_err(|error| match error {
        Errno::NOSPC | Errno::NOMEM => too_few,
        error => failed(error),
    })
}

/// Returns how many pages are neither used nor promised to others, if the system tells.
fn available(page_bytes: u64) -> Option<u64> {
    let folder = pool(page_bytes);
    let read = |name| -> Option<u64> {
        let text = fs::read_to_string(format!("{folder}/{name}")).ok()?;
        text.trim().parse().ok()
    };
    Some(read("free_hugepages")?.saturating_sub(read("resv_hugepages")?))
}

/// Returns the folder in which the system speaks of its pages of `page_bytes`.
pub(in crate::server) fn pool(page_bytes: u64) -> String {
    format!("/sys/kernel/mm/hugepages/hugepages-{}kB", page_bytes >> 10)
}
