// SPDX-License-Identifier: MIT OR Apache-2.0
//! `ivshmem::attach` itself on the model, pulled out at any access to configuration space and any request to the kernel.
//!
//! It maps BARs and so cannot reach the model's registers: what it maps is memory of the test, which
//! holds what is written until the device is pulled out, and all ones from then on.

use std::alloc::{alloc_zeroed, dealloc, Layout};
use std::cell::{Cell, RefCell};
use std::ptr::NonNull;
use std::rc::Rc;

use ivshmem::pci::{find, ConfigRegionAccess, ConfigSpace, PciAddress, ProbeError};
use ivshmem::{
    attach, AttachError, CachePolicy, DeviceError, MsiMessage, PhysRegion, Platform, VectorIndex,
};
use libtest_mimic::{Failed, Trial};
use xtask::trials::same;

use crate::board::{Board, Bus};
use crate::descriptor::Shared;
use crate::setup::{Setup, FIRST, SIZE};
use crate::strike::Strike;

const PAGE: usize = 4096;

pub fn trials() -> Vec<Trial> {
    let flavours = Setup::flavours();
    flavours
        .map(|flavour| {
            let name = format!("attach::{}_gone_at_any_access", flavour.name());
            Trial::test(name, move || gone(Setup::new(flavour)))
        })
        .collect()
}

/// A mapping: memory of the test, from a page boundary on.
struct Mapping {
    region: PhysRegion,
    address: NonNull<u8>,
    base: NonNull<u8>,
    layout: Layout,
}

/// A kernel whose mappings are memory of its own.
struct Kernel {
    board: Rc<Board>,
    mappings: RefCell<Vec<Mapping>>,
    requests: Cell<usize>,
    /// At which request the device is pulled out.
    unplug_at: Option<usize>,
}

impl Kernel {
    fn is_there(&self) -> bool {
        self.board.with(FIRST, |_| ()).is_some()
    }

    /// Lets all mappings read all ones if the device is gone.
    fn look(&self) {
        if self.is_there() {
            return;
        }
        for mapping in self.mappings.borrow().iter() {
            // SAFETY: the memory of the mapping, of this length, which the driver uses by volatile accesses alone.
            unsafe {
                mapping
                    .base
                    .as_ptr()
                    .write_bytes(0xff, mapping.layout.size())
            };
        }
    }

    fn request(&self) {
        self.requests.set(self.requests.get() + 1);
        if self.unplug_at == Some(self.requests.get()) {
            self.board.strike(Strike::Unplug);
            self.look();
        }
    }
}

// SAFETY: each mapping is an allocation of its own, congruent to its region, that stays until `unmap`; messages go to
// the model, which counts them.
unsafe impl Platform for &Kernel {
    type Error = &'static str;

    fn map(&mut self, region: PhysRegion, _: CachePolicy) -> Result<NonNull<u8>, &'static str> {
        self.request();
        let within = (region.start % PAGE as u64) as usize;
        let layout = Layout::from_size_align(within + region.len as usize, PAGE);
        let layout = layout.map_err(|_| "too large")?;
        // SAFETY: a BAR has at least 16 bytes.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or("no memory")?;
        let address = NonNull::new(base.as_ptr().wrapping_add(within)).ok_or("no memory")?;
        self.mappings.borrow_mut().push(Mapping {
            region,
            address,
            base,
            layout,
        });
        self.look();
        Ok(address)
    }

    unsafe fn unmap(&mut self, address: NonNull<u8>, region: PhysRegion) {
        let mut mappings = self.mappings.borrow_mut();
        let index = mappings
            .iter()
            .position(|mapping| (mapping.region, mapping.address) == (region, address))
            .expect("only what is mapped is unmapped");
        let Mapping { base, layout, .. } = mappings.remove(index);
        // SAFETY: from `alloc_zeroed` in `map` with this layout, and no longer in the list.
        unsafe { dealloc(base.as_ptr(), layout) };
    }

    fn msi(&mut self, vector: VectorIndex) -> Result<Option<MsiMessage>, &'static str> {
        self.request();
        Ok(MsiMessage::x86(0, 0x40 + vector.0 as u8))
    }
}

/// Configuration space of a board, where everybody sees what an access has led to.
struct Watched<'k> {
    bus: Bus,
    kernel: &'k Kernel,
}

impl ConfigRegionAccess for Watched<'_> {
    unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
        // SAFETY: as for this read.
        let value = unsafe { self.bus.read(address, offset) };
        self.kernel.look();
        value
    }

    unsafe fn write(&self, address: PciAddress, offset: u16, value: u32) {
        // SAFETY: as for this write.
        unsafe { self.bus.write(address, offset, value) };
        self.kernel.look();
    }
}

/// How far an attempt has come.
struct Outcome {
    accesses: usize,
    requests: usize,
}

fn gone(setup: Setup) -> Result<(), Failed> {
    let memory = Shared::new(SIZE)?;
    let whole = attempt(setup, memory, None, None)?;
    for access in 1..=whole.accesses {
        attempt(setup, memory, Some(access), None)
            .map_err(|error| at("access", access, whole.accesses, &error))?;
    }
    for request in 1..=whole.requests {
        attempt(setup, memory, None, Some(request))
            .map_err(|error| at("request", request, whole.requests, &error))?;
    }
    Ok(())
}

fn at(what: &str, number: usize, of: usize, error: &Failed) -> Failed {
    let text = error.message().unwrap_or_default();
    format!("at {what} {number} of {of}: {text}").into()
}

/// Attaches the device, has a look at it and detaches it; it is pulled out on the way, or not.
fn attempt(
    setup: Setup,
    memory: &'static Shared,
    access: Option<usize>,
    unplug_at: Option<usize>,
) -> Result<Outcome, Failed> {
    let machine = setup.boot(memory)?;
    let board = &machine.board;
    let before = board.reached();
    let kernel = Kernel {
        board: Rc::clone(board),
        mappings: RefCell::default(),
        requests: Cell::new(0),
        unplug_at,
    };
    if let Some(access) = access {
        board.strike_at(before + access, Strike::Unplug);
    }
    let watched = Watched {
        bus: machine.bus.clone(),
        kernel: &kernel,
    };
    // SAFETY: 1. a `Bus` takes any address and offset; 2. one thread drives a machine.
    let config = unsafe { ConfigSpace::new(watched) };
    work(&config, &kernel)?;
    same("mappings left", kernel.mappings.borrow().len(), 0)?;
    let disturbed = access.is_some() || unplug_at.is_some();
    same("the device is there", kernel.is_there(), !disturbed)?;
    Ok(Outcome {
        accesses: board.reached() - before,
        requests: kernel.requests.get(),
    })
}

fn work(config: &ConfigSpace<Watched<'_>>, mut kernel: &Kernel) -> Result<(), Failed> {
    let Some(function) = find(config).next() else {
        return same("there, and not found", kernel.is_there(), false);
    };
    let attached = match attach(&function, &mut kernel) {
        Ok(attached) => attached,
        Err(
            AttachError::Probe {
                error: ProbeError::Gone | ProbeError::NotIvshmem { .. },
                ..
            }
            | AttachError::Vector(_),
        ) if !kernel.is_there() => return Ok(()),
        Err(error) => return Err(error.to_string().into()),
    };
    let present = attached.ensure_present(&function);
    if !kernel.is_there() {
        same("present", present, Err(DeviceError::Gone))?;
        let masked = attached.mask_all(&function);
        same("masked", masked.is_err(), true)?;
    } else if attached.msix().is_ok() {
        let masked = attached.mask_all(&function);
        let result = masked.and_then(|()| attached.unmask_all(&function));
        // Pulled out by the last access of a call, it was there when the call asked.
        let expected = if result.is_ok() || kernel.is_there() {
            Ok(())
        } else {
            Err(DeviceError::Gone)
        };
        same("all vectors", result, expected)?;
    }
    // SAFETY: the function and the kernel that it was attached with.
    unsafe { attached.detach(&function, &mut kernel) };
    Ok(())
}
