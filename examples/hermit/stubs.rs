// SPDX-License-Identifier: MIT OR Apache-2.0
//! The parts of Hermit that the glue touches, with Hermit's own names and signatures (August 2026).

/// `src/drivers/mod.rs` and `src/drivers/pci.rs`.
pub mod drivers {
    use std::collections::{HashMap, VecDeque};

    use ivshmem::pci::PciAddress;
    use pci_types::{ConfigRegionAccess, InterruptLine, PciHeader};

    /// Handlers by line; the vector of line `n` is `n + 32`. `install_handlers` takes it when all drivers are up.
    pub type InterruptHandlerMap = HashMap<InterruptLine, VecDeque<fn()>>;

    pub struct PciDevice<T: ConfigRegionAccess> {
        address: PciAddress,
        access: T,
    }

    impl<T: ConfigRegionAccess> PciDevice<T> {
        pub const fn new(address: PciAddress, access: T) -> Self {
            Self { address, access }
        }

        pub fn access(&self) -> &T {
            &self.access
        }

        pub fn header(&self) -> PciHeader {
            PciHeader::new(self.address)
        }
    }
}

/// `src/arch/x86_64/kernel/pci.rs`, with the fake's configuration space behind it.
pub mod pci {
    use ivshmem::pci::{ConfigRegionAccess, PciAddress};

    use crate::config;

    #[derive(Clone, Copy)]
    pub struct PciConfigRegion;

    impl ConfigRegionAccess for PciConfigRegion {
        unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
            config::read(address.device(), address.function(), offset)
        }

        unsafe fn write(&self, address: PciAddress, offset: u16, value: u32) {
            config::write(address.device(), address.function(), offset, value);
        }
    }
}

/// `src/mm/mod.rs`, with the fake's memory for physical memory.
pub mod mm {
    use crate::memory;

    pub const PAGE: usize = 4096;

    /// As in the crate `memory_addresses`.
    pub struct PhysAddr(u64);

    impl PhysAddr {
        pub fn new(address: u64) -> Self {
            Self(address)
        }
    }

    /// As in the crate `memory_addresses`.
    #[derive(Clone, Copy)]
    pub struct VirtAddr(usize);

    impl VirtAddr {
        pub fn new(address: u64) -> Self {
            Self(address as usize)
        }

        pub fn as_mut_ptr<T>(self) -> *mut T {
            self.0 as *mut T
        }
    }

    /// Returns the start of the first page, like Hermit's, also if `physical_address` lies inside it.
    pub fn map(
        physical_address: PhysAddr,
        size: usize,
        writable: bool,
        no_execution: bool,
        no_cache: bool,
    ) -> VirtAddr {
        assert!(writable && no_execution, "not a device's memory");
        let pages = size.div_ceil(PAGE);
        let caching = if no_cache { "uncached" } else { "cached" };
        println!("map   {:#x}: {pages} pages, {caching}", physical_address.0);
        memory::check_caching(physical_address.0, !no_cache);
        let page = physical_address.0 & !(PAGE as u64 - 1);
        VirtAddr(memory::at(page).as_ptr() as usize)
    }

    pub fn unmap(virtual_address: VirtAddr, size: usize) {
        assert_eq!(virtual_address.0 % PAGE, 0, "unmap of a part of a page");
        println!("unmap {} pages", size.div_ceil(PAGE));
    }
}

/// The crate `hermit_sync`, whose `OnceCell` has the methods of this one.
pub mod hermit_sync {
    pub use std::sync::OnceLock as OnceCell;
}
