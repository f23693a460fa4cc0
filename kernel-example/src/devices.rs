// SPDX-License-Identifier: MIT OR Apache-2.0
//! Attached devices, kept where interrupt handlers reach them too.
//!
//! The driver's handle of a device is a value that may be moved, and an interrupt handler has no owner to
//! borrow it from. So each lies in a static place for as long as it is attached.

use core::{
    cell::UnsafeCell,
    fmt,
    mem::{ManuallyDrop, MaybeUninit},
    ops::Deref,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

use ivshmem::pci::{ConfigRegionAccess, ConfigSpace, Function};
use ivshmem::{Attached, Ivshmem, MmioRegion};
use ivshmem_scenarios::LineCount;

use crate::lines::{self, LineError, Source};

/// Devices that may be attached at the same time.
const MAX_DEVICES: usize = 8;

static PLACES: [Place; MAX_DEVICES] = [const { Place::new() }; MAX_DEVICES];

/// Room for a device, and what its interrupt line has brought.
struct Place {
    /// Whether a [`Device`] owns the place.
    owned: AtomicBool,
    /// Invariant: initialised while a [`Device`] owns the place; changed by that one alone, which is on no line then.
    attached: UnsafeCell<MaybeUninit<Attached>>,
    taken: AtomicU32,
    foreign: AtomicU32,
    last_status: AtomicU32,
}

// SAFETY: `owned` lets one `Device` at a time change what is in the cell, when nothing else refers to it (the
// invariant); what is in it may be shared, as the assertion below says.
unsafe impl Sync for Place {}

const _: () = {
    const fn may_be_shared<T: Sync>() {}
    may_be_shared::<Attached>();
};

impl Place {
    const fn new() -> Self {
        Self {
            owned: AtomicBool::new(false),
            attached: UnsafeCell::new(MaybeUninit::uninit()),
            taken: AtomicU32::new(0),
            foreign: AtomicU32::new(0),
            last_status: AtomicU32::new(0),
        }
    }

    /// Returns the device in this place.
    ///
    /// # Safety
    ///
    /// A [`Device`] must own the place, for as long as the reference lives.
    unsafe fn attached(&self) -> &Attached {
        // SAFETY: nothing changes the cell while a `Device` owns the place.
        let cell = unsafe { &*self.attached.get() };
        // SAFETY: initialised while a `Device` owns the place.
        unsafe { cell.assume_init_ref() }
    }
}

impl Source for Place {
    fn acknowledge(&self) -> bool {
        // SAFETY: sources of this type are on a line only from `Device::take_line` to `Device::take_out`, and the
        // `Device` owns the place all that time.
        let device = unsafe { self.attached() };
        let status = device.intx().ok().and_then(|intx| intx.acknowledge());
        match status {
            Some(status) => {
                self.last_status.store(status.bits(), Ordering::Relaxed);
                self.taken.fetch_add(1, Ordering::Release);
                true
            }
            None => {
                self.foreign.fetch_add(1, Ordering::Release);
                false
            }
        }
    }
}

/// An attached device. Dropping it silences it, and leaves it mapped.
pub struct Device {
    /// Invariant: owned by this value.
    place: &'static Place,
}

impl Device {
    /// Keeps a device.
    ///
    /// # Errors
    ///
    /// - [`NoPlace`]: there are too many; the device is dropped.
    pub fn new(attached: Attached) -> Result<Self, NoPlace> {
        let place = PLACES
            .iter()
            .find(|place| !place.owned.swap(true, Ordering::Acquire))
            .ok_or(NoPlace)?;
        // SAFETY: the place was nobody's, so nothing refers to what is in it.
        let cell = unsafe { &mut *place.attached.get() };
        cell.write(attached);
        for count in [&place.taken, &place.foreign, &place.last_status] {
            count.store(0, Ordering::Relaxed);
        }
        Ok(Self { place })
    }

    /// Returns the driver's handle.
    pub fn attached(&self) -> &Attached {
        // SAFETY: this value owns the place, until it is dropped or taken apart.
        unsafe { self.place.attached() }
    }

    /// Returns the driver's handle, off its line, for [`Attached::detach`].
    pub fn into_attached(self) -> Attached {
        // SAFETY: the value is neither used nor dropped afterwards.
        unsafe { ManuallyDrop::new(self).take_out() }
    }

    /// Has the device asked at each interrupt of the line of `function`, and returns the line's input of the I/O APIC.
    ///
    /// # Errors
    ///
    /// Those of [`lines::take`].
    pub fn take_line<C: ConfigRegionAccess>(
        &self,
        config: &ConfigSpace<C>,
        function: &Function<'_, C>,
    ) -> Result<u8, LineError> {
        lines::take(config, function, self.place)
    }

    /// Returns what the line has brought.
    pub fn line(&self) -> LineCount {
        LineCount {
            taken: self.place.taken.load(Ordering::Acquire),
            foreign: self.place.foreign.load(Ordering::Acquire),
            last_status: self.place.last_status.load(Ordering::Relaxed),
        }
    }

    /// Takes the device off its line and out of its place.
    ///
    /// # Safety
    ///
    /// The value must not be used afterwards, nor dropped.
    unsafe fn take_out(&mut self) -> Attached {
        if let Ok(intx) = self.intx() {
            intx.disable();
        }
        lines::release(self.place);
        // SAFETY: this value owns the place, borrows end with `&mut self`, and the device is on no line any more.
        let cell = unsafe { &*self.place.attached.get() };
        // SAFETY: initialised while the place is owned, which ends here, so that it is not read again.
        let attached = unsafe { cell.assume_init_read() };
        self.place.owned.store(false, Ordering::Release);
        attached
    }
}

impl Deref for Device {
    type Target = Ivshmem<MmioRegion>;

    fn deref(&self) -> &Self::Target {
        self.attached()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: what is being dropped is neither used nor dropped again.
        drop(unsafe { self.take_out() });
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Device").field(self.attached()).finish()
    }
}

/// All places are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPlace;

impl fmt::Display for NoPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MAX_DEVICES} devices are attached, and no more fit")
    }
}
