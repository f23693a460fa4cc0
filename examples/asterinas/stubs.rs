// SPDX-License-Identifier: MIT OR Apache-2.0
//! The parts of Asterinas that the glue touches, with Asterinas' own names and signatures (August 2026).

/// The crate `ostd`, the only one of Asterinas with `unsafe`.
pub mod ostd {
    use std::mem::size_of;
    use std::ops::Range;

    use crate::memory;

    #[derive(Debug)]
    pub enum Error {
        InvalidArgs,
    }
    pub type Result<T> = core::result::Result<T, Error>;

    #[derive(Debug)]
    pub enum BusProbeError {
        DeviceNotMatch,
        ConfigurationSpaceError,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum CachePolicy {
        Uncacheable,
        Writeback,
    }

    #[derive(Clone, Debug)]
    pub struct IoMem {
        base: usize,
        limit: usize,
        cache_policy: CachePolicy,
    }

    impl IoMem {
        /// The allocator of I/O memory gives a range once; the fake does not watch that.
        pub fn acquire_with_cache_policy(range: Range<usize>, policy: CachePolicy) -> Result<Self> {
            println!(
                "map   {:#x}: {:#x} bytes, {policy:?}",
                range.start,
                range.len()
            );
            memory::check_caching(range.start as u64, policy == CachePolicy::Writeback);
            Ok(Self {
                base: memory::at(range.start as u64).as_ptr() as usize,
                limit: range.len(),
                cache_policy: policy,
            })
        }

        pub fn cache_policy(&self) -> CachePolicy {
            self.cache_policy
        }

        /// Of the trait `HasSize`.
        pub fn size(&self) -> usize {
            self.limit
        }

        /// Of the trait `HasVmReaderWriter`.
        pub fn writer(&self) -> VmWriter {
            VmWriter(self.base as *mut u8)
        }
    }

    pub struct VmWriter(*mut u8);

    impl VmWriter {
        pub fn cursor(&self) -> *mut u8 {
            self.0
        }
    }

    pub trait PodOnce: Copy {}
    impl PodOnce for u32 {}

    pub trait VmIoOnce {
        fn read_once<T: PodOnce>(&self, offset: usize) -> Result<T>;
        fn write_once<T: PodOnce>(&self, offset: usize, new_val: &T) -> Result<()>;
    }

    impl VmIoOnce for IoMem {
        fn read_once<T: PodOnce>(&self, offset: usize) -> Result<T> {
            let place = self.place::<T>(offset)?;
            // SAFETY: aligned and inside the fake's memory, as `place` has checked.
            Ok(unsafe { place.read_volatile() })
        }

        fn write_once<T: PodOnce>(&self, offset: usize, new_val: &T) -> Result<()> {
            let place = self.place::<T>(offset)?;
            // SAFETY: aligned and inside the fake's memory, as `place` has checked.
            unsafe { place.write_volatile(*new_val) };
            Ok(())
        }
    }

    impl IoMem {
        fn place<T>(&self, offset: usize) -> Result<*mut T> {
            let fits = offset + size_of::<T>() <= self.limit && offset % size_of::<T>() == 0;
            let place = (self.base + offset) as *mut T;
            fits.then_some(place).ok_or(Error::InvalidArgs)
        }
    }

    pub struct TrapFrame;

    type Callback = Box<dyn Fn(&TrapFrame) + Sync + Send>;

    /// Frees the line and its callbacks when it is dropped.
    #[derive(Default)]
    pub struct IrqLine {
        callbacks: Vec<Callback>,
    }

    impl IrqLine {
        pub fn alloc() -> Result<Self> {
            Ok(Self::default())
        }

        pub fn num(&self) -> u8 {
            0x40
        }

        pub fn on_active<F>(&mut self, callback: F)
        where
            F: Fn(&TrapFrame) + Sync + Send + 'static,
        {
            self.callbacks.push(Box::new(callback));
        }

        /// What the processor does when the line's interrupt arrives.
        pub fn deliver(&self) {
            self.callbacks
                .iter()
                .for_each(|callback| callback(&TrapFrame));
        }
    }

    impl core::fmt::Debug for IrqLine {
        fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            write!(f, "IrqLine({})", self.num())
        }
    }
}

/// The crate `aster_pci`.
pub mod aster_pci {
    use std::fmt::Debug;
    use std::sync::Arc;

    use super::ostd::{BusProbeError, CachePolicy, Error, IoMem, IrqLine, Result, VmIoOnce};
    use crate::memory;

    #[derive(Clone, Copy, Debug)]
    pub struct PciDeviceId {
        pub vendor_id: u16,
        pub device_id: u16,
    }

    pub trait PciDevice: Sync + Send + Debug {
        fn device_id(&self) -> PciDeviceId;
    }

    pub trait PciDriver: Sync + Send + Debug {
        fn probe(
            &self,
            device: PciCommonDevice,
        ) -> core::result::Result<Arc<dyn PciDevice>, (BusProbeError, PciCommonDevice)>;
    }

    #[derive(Debug)]
    pub struct PciCommonDevice {
        device_id: PciDeviceId,
        bar_manager: BarManager,
    }

    impl PciCommonDevice {
        /// A device with these IDs and the fake's BARs.
        pub fn new(vendor_id: u16, device_id: u16) -> Self {
            let bar = |raw, size| Some(Bar::new(raw, size));
            Self {
                device_id: PciDeviceId {
                    vendor_id,
                    device_id,
                },
                bar_manager: BarManager(vec![
                    bar(memory::REGISTERS, 0x100),
                    bar(memory::MSIX, 0x1000),
                    bar(memory::SHARED_MEMORY | 0xc, 0x10_0000),
                ]),
            }
        }

        pub fn device_id(&self) -> &PciDeviceId {
            &self.device_id
        }

        pub fn bar_manager_mut(&mut self) -> &mut BarManager {
            &mut self.bar_manager
        }

        /// Masks every entry of the table and enables MSI-X and bus mastering, like Asterinas'.
        pub fn acquire_msix_capability(&mut self) -> Result<Option<CapabilityMsixData>> {
            let Some(Bar::Memory(bar)) = self.bar_manager.bar_mut(1) else {
                return Err(Error::InvalidArgs);
            };
            let table_bar = bar.acquire()?.clone();
            table_bar.write_once(12, &1_u32)?;
            Ok(Some(CapabilityMsixData {
                table_bar,
                irqs: Vec::new(),
            }))
        }
    }

    #[derive(Debug)]
    pub struct BarManager(Vec<Option<Bar>>);

    impl BarManager {
        pub fn bar_mut(&mut self, idx: u8) -> Option<&mut Bar> {
            self.0.get_mut(usize::from(idx))?.as_mut()
        }
    }

    #[derive(Debug)]
    pub enum Bar {
        Memory(MemoryBar),
        Io,
    }

    impl Bar {
        fn new(raw: u64, size: u64) -> Self {
            if raw & 1 != 0 {
                return Self::Io;
            }
            Self::Memory(MemoryBar {
                base: raw & !0xf,
                size,
                io_memory: None,
            })
        }
    }

    #[derive(Debug)]
    pub struct MemoryBar {
        base: u64,
        size: u64,
        io_memory: Option<IoMem>,
    }

    impl MemoryBar {
        pub fn base(&self) -> u64 {
            self.base
        }

        pub fn size(&self) -> u64 {
            self.size
        }

        pub fn acquire(&mut self) -> Result<&IoMem> {
            let range = self.base as usize..(self.base + self.size) as usize;
            let io_mem = IoMem::acquire_with_cache_policy(range, CachePolicy::Uncacheable)?;
            Ok(self.io_memory.insert(io_mem))
        }
    }

    #[derive(Debug)]
    pub struct CapabilityMsixData {
        table_bar: IoMem,
        irqs: Vec<IrqLine>,
    }

    impl CapabilityMsixData {
        pub fn set_interrupt_vector(&mut self, irq: IrqLine, index: u16) {
            assert_eq!(index, 0, "the fake has one vector");
            let words = [0xfee0_0000, 0, u32::from(irq.num()), 0];
            for (word, value) in words.iter().enumerate() {
                self.table_bar
                    .write_once(4 * word, value)
                    .expect("inside the table");
            }
            self.irqs.push(irq);
        }

        pub fn irq_mut(&mut self, index: usize) -> Option<&mut IrqLine> {
            self.irqs.get_mut(index)
        }
    }
}
