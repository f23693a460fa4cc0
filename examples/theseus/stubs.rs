// SPDX-License-Identifier: MIT OR Apache-2.0
//! The parts of Theseus that the glue touches, with Theseus' own names and signatures (January 2024).

/// The crate `pci`.
pub mod pci {
    use super::memory::{map_frame_range, MappedPages, PhysicalAddress, MMIO_FLAGS};
    use crate::config;

    #[derive(Clone, Copy)]
    pub struct PciLocation {
        bus: u8,
        slot: u8,
        func: u8,
    }

    impl PciLocation {
        pub fn bus(&self) -> u8 {
            self.bus
        }

        pub fn slot(&self) -> u8 {
            self.slot
        }

        pub fn function(&self) -> u8 {
            self.func
        }

        pub fn pci_set_command_bus_master_bit(&self) {
            self.set_command(1 << 2);
        }

        pub fn pci_set_intx_disable_bit(&self, bit: bool) {
            assert!(bit, "the fake has no line");
            self.set_command(1 << 10);
        }

        fn set_command(&self, bits: u32) {
            let command = config::read(self.slot, self.func, 4) & 0xffff;
            config::write(self.slot, self.func, 4, command | bits);
        }
    }

    pub struct PciDevice {
        pub location: PciLocation,
        pub bars: [u32; 6],
    }

    impl PciDevice {
        /// What Theseus' scan of the bus finds.
        pub fn scan(slot: u8) -> Self {
            let bar = |index: u16| config::read(slot, 0, 0x10 + 4 * index);
            Self {
                location: PciLocation {
                    bus: 0,
                    slot,
                    func: 0,
                },
                bars: [bar(0), bar(1), bar(2), bar(3), bar(4), bar(5)],
            }
        }

        pub fn determine_mem_base(&self, index: usize) -> Result<PhysicalAddress, &'static str> {
            let low = *self.bars.get(index).ok_or("no such BAR")? as usize;
            let high = if low & 6 == 4 {
                self.bars[index + 1]
            } else {
                0
            };
            PhysicalAddress::new(low & !0xf | (high as usize) << 32).ok_or("bad BAR")
        }

        /// Sizes the lower half of the BAR only, with decoding on, like Theseus'.
        pub fn determine_mem_size(&self, index: usize) -> u32 {
            let offset = 0x10 + 4 * index as u16;
            config::write(self.location.slot, 0, offset, !0);
            let size = !(config::read(self.location.slot, 0, offset) & !0xf) + 1;
            config::write(self.location.slot, 0, offset, self.bars[index]);
            size
        }

        pub fn pci_map_bar_mem(&self, index: usize) -> Result<MappedPages, &'static str> {
            let base = self.determine_mem_base(index)?;
            map_frame_range(base, self.determine_mem_size(index) as usize, MMIO_FLAGS)
        }

        pub fn pci_enable_msix(&self) -> Result<(), &'static str> {
            let control = config::read(self.location.slot, 0, 0x40);
            config::write(self.location.slot, 0, 0x40, control | 1 << 31);
            Ok(())
        }

        pub fn pci_mem_map_msix(
            &self,
            max_vectors: usize,
        ) -> Result<MsixVectorTable, &'static str> {
            let table = self.determine_mem_base(1)?;
            let pages = map_frame_range(table, 16 * max_vectors, MMIO_FLAGS)?;
            Ok(MsixVectorTable {
                entries: pages.start_address().value() as *mut MsixVectorEntry,
                len: max_vectors,
                _pages: pages,
            })
        }
    }

    /// A slice of entries that unmaps itself when it is dropped.
    pub struct MsixVectorTable {
        entries: *mut MsixVectorEntry,
        len: usize,
        _pages: MappedPages,
    }

    impl core::ops::Index<usize> for MsixVectorTable {
        type Output = MsixVectorEntry;

        fn index(&self, index: usize) -> &MsixVectorEntry {
            assert!(index < self.len, "no such entry");
            // SAFETY: inside the fake's memory, which is never freed; no access happens meanwhile.
            unsafe { &*self.entries.wrapping_add(index) }
        }
    }

    impl core::ops::IndexMut<usize> for MsixVectorTable {
        fn index_mut(&mut self, index: usize) -> &mut MsixVectorEntry {
            assert!(index < self.len, "no such entry");
            // SAFETY: inside the fake's memory, which is never freed; no other access happens meanwhile.
            unsafe { &mut *self.entries.wrapping_add(index) }
        }
    }

    #[repr(C)]
    pub struct MsixVectorEntry([u32; 4]);

    impl MsixVectorEntry {
        pub fn init(&mut self, cpu_id: super::cpu::CpuId, int_num: u8) {
            let address = 0xfee0_0000 | u32::from(cpu_id.into_u8()) << 12;
            self.0 = [address, 0, u32::from(int_num), 0];
        }
    }
}

/// The crate `memory`.
pub mod memory {
    use crate::memory;

    pub const PAGE_SIZE: usize = 4096;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct PteFlags(&'static str);

    pub const MMIO_FLAGS: PteFlags = PteFlags("device memory");
    pub const DMA_FLAGS: PteFlags = PteFlags("cached");

    #[derive(Clone, Copy)]
    pub struct PhysicalAddress(usize);

    impl PhysicalAddress {
        pub fn new(address: usize) -> Option<Self> {
            (address >> 52 == 0).then_some(Self(address))
        }

        pub fn value(&self) -> usize {
            self.0
        }
    }

    #[derive(Clone, Copy, PartialEq, Eq)]
    pub struct VirtualAddress(usize);

    impl VirtualAddress {
        pub fn value(&self) -> usize {
            self.0
        }
    }

    /// Unmaps itself when it is dropped.
    pub struct MappedPages(VirtualAddress);

    impl MappedPages {
        pub fn start_address(&self) -> VirtualAddress {
            self.0
        }
    }

    impl Drop for MappedPages {
        fn drop(&mut self) {
            println!("unmap");
        }
    }

    pub fn map_frame_range(
        start_address: PhysicalAddress,
        size_in_bytes: usize,
        flags: PteFlags,
    ) -> Result<MappedPages, &'static str> {
        let pages = size_in_bytes.div_ceil(PAGE_SIZE);
        println!("map   {:#x}: {pages} pages, {}", start_address.0, flags.0);
        memory::check_caching(start_address.0 as u64, flags == DMA_FLAGS);
        let page = memory::at((start_address.0 & !(PAGE_SIZE - 1)) as u64);
        Ok(MappedPages(VirtualAddress(page.as_ptr() as usize)))
    }
}

/// The place of `PortCam`, which a host program cannot use.
pub mod ports {
    use ivshmem::pci::{ConfigRegionAccess, PciAddress};

    use crate::config;

    pub struct FakePorts;

    impl ConfigRegionAccess for FakePorts {
        unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
            config::read(address.device(), address.function(), offset)
        }

        unsafe fn write(&self, address: PciAddress, offset: u16, value: u32) {
            config::write(address.device(), address.function(), offset, value);
        }
    }
}

/// The crate `interrupts`. Its handlers have the unstable ABI `x86-interrupt`; these have Rust's.
pub mod interrupts {
    use std::sync::Mutex;

    pub struct InterruptStackFrame;
    pub enum EoiBehaviour {
        HandlerDidNotSendEoi,
    }
    pub type InterruptHandler = fn(InterruptStackFrame);

    static HANDLERS: Mutex<Vec<InterruptHandler>> = Mutex::new(Vec::new());

    macro_rules! interrupt_handler {
        ($name:ident, _, $stack_frame:ident, $code:block) => {
            fn $name($stack_frame: $crate::stubs::interrupts::InterruptStackFrame) {
                let $crate::stubs::interrupts::EoiBehaviour::HandlerDidNotSendEoi = $code;
            }
        };
    }
    pub(crate) use interrupt_handler;

    pub fn register_msi_interrupt(func: InterruptHandler) -> Result<u8, &'static str> {
        let mut handlers = HANDLERS.lock().map_err(|_| "a handler panicked")?;
        handlers.push(func);
        u8::try_from(256 - handlers.len()).map_err(|_| "the IDT is full")
    }

    /// What the processor does when `number` arrives.
    pub fn deliver(number: u8) {
        let handlers = HANDLERS.lock().expect("no handler panics");
        handlers[255 - usize::from(number)](InterruptStackFrame);
    }
}

/// The crate `cpu`.
pub mod cpu {
    #[derive(Clone, Copy)]
    pub struct CpuId(u32);

    impl CpuId {
        pub fn into_u8(self) -> u8 {
            self.0 as u8
        }
    }

    pub fn current_cpu() -> CpuId {
        CpuId(0)
    }
}

/// The crate `spin`, as far as `lock` goes.
pub mod spin {
    use std::sync::{Mutex as StdMutex, MutexGuard};

    pub struct Mutex<T>(StdMutex<T>);

    impl<T> Mutex<T> {
        pub const fn new(value: T) -> Self {
            Self(StdMutex::new(value))
        }

        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect("no holder panics")
        }
    }
}
