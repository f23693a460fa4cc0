// SPDX-License-Identifier: MIT OR Apache-2.0
//! How fast the device's memory is, and how the kernel has mapped it.

use std::fs::{self, File};
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use ivshmem::SharedMemory;
use ivshmem_host::mapping::Mapping;
use ivshmem_host::peer::Peer;

use crate::Failure;

/// Bytes of a copy.
const LEN: usize = 64 << 10;

/// How long one kind of copy is measured.
const TIME: Duration = Duration::from_millis(200);

/// Shows the speed of copies to and from the end of the memory, which no ring of the trial reaches, through the peer's
/// mapping, through the write-combining one that root has, and within the program's own memory.
pub fn show(peer: Peer, address: &str) -> Result<(), Failure> {
    let folder = Path::new("/sys/bus/pci/devices").join(address);
    measure("peer", peer.memory())?;
    show_caching("peer", &folder);
    // Of two mappings of one range the kernel gives the second the caching of the first.
    drop(peer);
    if rustix::process::getuid().is_root() {
        let file = folder.join("resource2_wc");
        let file = File::options().read(true).write(true).open(file)?;
        let mapping = Mapping::of(file)?;
        measure("resource2_wc", mapping.memory())?;
        show_caching("resource2_wc", &folder);
    }
    let (source, mut target) = (vec![1_u8; LEN], vec![0; LEN]);
    let own = rate(|| {
        target.copy_from_slice(black_box(&source));
        black_box(&mut target);
        Ok(())
    })?;
    println!("@ speed of=own mib_per_s={own}");
    Ok(())
}

fn measure(of: &str, memory: SharedMemory<'_>) -> Result<(), Failure> {
    let at = memory
        .len()
        .checked_sub(LEN)
        .ok_or("the memory is too small")?;
    let mut own = vec![1; LEN];
    let write = rate(|| Ok(memory.write(at, &own)?))?;
    let read = rate(|| Ok(memory.read(at, &mut own)?))?;
    println!("@ speed of={of} write_mib_per_s={write} read_mib_per_s={read}");
    Ok(())
}

/// Shows what the kernel has noted of the mapping, if it tells this user.
fn show_caching(of: &str, folder: &Path) {
    let list = fs::read_to_string("/sys/kernel/debug/x86/pat_memtype_list").unwrap_or_default();
    let resource = fs::read_to_string(folder.join("resource")).unwrap_or_default();
    let start = resource
        .lines()
        .nth(2)
        .and_then(|bar| bar.split(' ').next());
    let Some(start) = start.map(|start| start.trim_start_matches("0x")) else {
        return;
    };
    // A line ends with the range, such as "PAT: [mem 0x00000000fe000000-0x00000000fe100000] uncached-minus".
    for line in list.lines().filter(|line| line.contains(start)) {
        let kind = line.split_whitespace().last().unwrap_or_default();
        println!("@ mapped of={of} as={kind}");
    }
}

/// Returns how many MiB per second are copied.
fn rate(mut copy: impl FnMut() -> Result<(), Failure>) -> Result<u64, Failure> {
    let start = Instant::now();
    let mut copies = 0;
    while start.elapsed() < TIME {
        copy()?;
        copies += 1;
    }
    let us = u64::try_from(start.elapsed().as_micros())?.max(1);
    Ok((copies * LEN as u64 * 1_000_000 / us) >> 20)
}
