// SPDX-License-Identifier: MIT OR Apache-2.0
//! Self test of mapping: contents, addresses, cache policies, errors, and removal.

use core::{
    ptr::NonNull,
    sync::atomic::{AtomicU8, Ordering},
};

use ivshmem::{CachePolicy, PhysRegion};

use super::check;
use crate::{arch::time, exit, memory, println};

const BUFFER_BYTES: usize = 3 * 4096;

/// Memory of the kernel to be mapped a second time; virtual equal to physical.
#[repr(align(4096))]
struct Buffer([AtomicU8; BUFFER_BYTES]);

static BUFFER: Buffer = Buffer([const { AtomicU8::new(0) }; BUFFER_BYTES]);

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Where SeaBIOS places a 64 GiB BAR.
const LARGE_BAR: PhysRegion = PhysRegion {
    start: 64 * GIB,
    len: 64 * GIB,
};

/// Checks everything.
pub fn run() {
    contents();
    for region in [
        PhysRegion {
            start: 0xfebf_e000,
            len: 256,
        },
        PhysRegion {
            start: 0xfebf_e123,
            len: 1,
        },
        PhysRegion {
            start: 0xfebf_efff,
            len: 2,
        },
        PhysRegion {
            start: 0xfe80_0000,
            len: 2 * MIB,
        },
        PhysRegion {
            start: 0xc00f_f010,
            len: 5 * MIB,
        },
        PhysRegion {
            start: 2 * GIB,
            len: 2 * GIB,
        },
        LARGE_BAR,
        PhysRegion {
            start: 0xe0_0000_0000,
            len: 16 * GIB,
        },
    ] {
        addresses(region, CachePolicy::Uncached);
        addresses(region, CachePolicy::WriteBack);
    }
    for region in [
        PhysRegion { start: MIB, len: 0 },
        PhysRegion {
            start: 1 << 52,
            len: 1,
        },
        PhysRegion {
            start: u64::MAX,
            len: 1,
        },
        PhysRegion {
            start: 4096,
            len: u64::MAX,
        },
    ] {
        match memory::map(region, CachePolicy::WriteBack) {
            Ok(address) => exit::fail(format_args!(
                "not so: {region:x?} is refused, got {address:p}"
            )),
            Err(error) => log::info!("as it should be: {error}"),
        }
    }
}

/// A mapping at an odd place shows the very bytes of the memory behind it.
fn contents() {
    let (offset, len) = (4096 - 5, 4096 + 10);
    let region = PhysRegion {
        start: BUFFER.0.as_ptr().addr() as u64 + offset as u64,
        len: len as u64,
    };
    let alias = map(region, CachePolicy::WriteBack);
    for index in 0..len {
        // SAFETY: `index` is within the region mapped.
        let byte = unsafe { alias.add(index) };
        // SAFETY: the byte is that of an `AtomicU8` that lives for ever; nothing accesses it
        // meanwhile.
        unsafe { byte.write_volatile(index as u8 ^ 0x5a) };
    }
    for (index, byte) in BUFFER.0.iter().enumerate() {
        let expected = match index.checked_sub(offset) {
            Some(inside) if inside < len => inside as u8 ^ 0x5a,
            _ => 0,
        };
        let found = byte.load(Ordering::Relaxed);
        check(
            found == expected,
            format_args!("byte {index} of the buffer is {expected:#x}, not {found:#x}"),
        );
    }
    // SAFETY: it was mapped above, and `alias` is not used any more.
    unsafe { memory::unmap(alias, region) };
}

/// A mapping leads from its first to its last byte to the right addresses, with the cache
/// policy asked for, and is gone afterwards.
fn addresses(region: PhysRegion, cache: CachePolicy) {
    let start_ns = time::now_ns();
    let address = map(region, cache);
    let mapped_ns = time::now_ns();
    for offset in [0, region.len / 2, region.len - 1] {
        let at = byte(address, offset);
        let found = memory::translate(at);
        check(
            found == Some((region.start + offset, cache)),
            format_args!("byte {offset:#x} of {region:x?} is mapped {cache:?}, not to {found:x?}"),
        );
    }
    let unmap_ns = time::now_ns();
    // SAFETY: it was mapped above and never accessed.
    unsafe { memory::unmap(address, region) };
    println!(
        "@ map start={:#x} len={:#x} map_ns={} unmap_ns={}",
        region.start,
        region.len,
        mapped_ns - start_ns,
        time::now_ns() - unmap_ns
    );
    for offset in [0, region.len / 2, region.len - 1] {
        let found = memory::translate(byte(address, offset));
        check(
            found.is_none(),
            format_args!("byte {offset:#x} of {region:x?} is unmapped, not at {found:x?}"),
        );
    }
}

/// Returns the address `offset` bytes above `address`.
fn byte(address: NonNull<u8>, offset: u64) -> NonNull<u8> {
    address.map_addr(|start| start.saturating_add(offset as usize))
}

fn map(region: PhysRegion, cache: CachePolicy) -> NonNull<u8> {
    memory::map(region, cache)
        .unwrap_or_else(|error| exit::fail(format_args!("{region:x?} cannot be mapped: {error}")))
}
