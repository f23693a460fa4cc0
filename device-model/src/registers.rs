// SPDX-License-Identifier: MIT OR Apache-2.0
//! The register block, BAR 0: what each access of 1, 2 or 4 bytes does.
//!
//! Only aligned 32-bit accesses are portable. The rest is what QEMU 7.2 was seen to do, with TCG and KVM alike: reads
//! look at the exact offset and give the low bytes of the register, with all its side effects; writes
//! forget the low two bits of the offset, and the value, with zeros above it, replaces the whole register.

/// The size of the block.
pub(crate) const LEN: u64 = 256;

const INTERRUPT_MASK: u64 = 0x00;
const INTERRUPT_STATUS: u64 = 0x04;
const POSITION: u64 = 0x08;
const DOORBELL: u64 = 0x0c;

/// `IVPosition` while the device has no ID yet, or no memory.
const NO_POSITION: u32 = !0;

/// The registers that hold something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Registers {
    pub(crate) mask: u32,
    pub(crate) status: u32,
}

/// What a write asks for beyond what the registers store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    None,
    /// The level of the interrupt line may have changed.
    Line,
    Doorbell(Doorbell),
}

/// A write to the Doorbell register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Doorbell {
    pub(crate) value: u32,
    /// The write was one of 32 bits to the register's own offset, the only kind that an ioeventfd matches.
    pub(crate) exact: bool,
}

impl Doorbell {
    /// Returns the peer and vector that the device itself makes of the value. Of the 16 bits of the vector it
    /// takes the low 8 (all QEMUs).
    pub(crate) const fn target(self) -> (u16, u16) {
        ((self.value >> 16) as u16, self.value as u16 & 0xff)
    }
}

impl Registers {
    /// Reads at `offset`; the caller takes as many low bytes as the access is wide.
    pub(crate) fn read(&mut self, offset: u64, position: Option<u16>) -> (u32, Effect) {
        match offset {
            INTERRUPT_MASK => (self.mask, Effect::None),
            INTERRUPT_STATUS => (core::mem::take(&mut self.status), Effect::Line),
            POSITION => (position.map_or(NO_POSITION, u32::from), Effect::None),
            _ => (0, Effect::None),
        }
    }

    /// Writes `value` at `offset` by an access of `width` bytes.
    pub(crate) fn write(&mut self, offset: u64, value: u32, width: usize) -> Effect {
        match offset & !3 {
            INTERRUPT_MASK => {
                self.mask = value;
                Effect::Line
            }
            INTERRUPT_STATUS => {
                self.status = value;
                Effect::Line
            }
            DOORBELL => Effect::Doorbell(Doorbell {
                value,
                exact: offset == DOORBELL && width == 4,
            }),
            _ => Effect::None,
        }
    }

    /// Returns whether the line is to be up, where there is one.
    pub(crate) const fn asserts(&self) -> bool {
        self.mask & self.status != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_read_of_the_status_clears_all_of_it() {
        let mut registers = Registers {
            mask: 0x1234_5678,
            status: !0,
        };
        for offset in [5, 6, 7] {
            assert_eq!(registers.read(offset, Some(3)), (0, Effect::None));
        }
        assert_eq!(registers.read(4, Some(3)), (!0, Effect::Line));
        assert_eq!(registers.read(4, Some(3)), (0, Effect::Line));
        assert_eq!(registers.read(0, None).0, 0x1234_5678);
        assert_eq!(registers.read(8, Some(3)).0, 3);
        assert_eq!(registers.read(8, None).0, !0);
        assert_eq!(registers.read(12, Some(3)).0, 0);
    }

    #[test]
    fn a_narrow_write_replaces_the_register() {
        let mut registers = Registers {
            mask: !0,
            status: !0,
        };
        assert_eq!(registers.write(3, 0xab, 1), Effect::Line);
        assert_eq!(registers.write(6, 0xcdef, 2), Effect::Line);
        let expected = Registers {
            mask: 0xab,
            status: 0xcdef,
        };
        assert_eq!(registers, expected);
        assert_eq!(registers.write(8, 7, 4), Effect::None);
        assert_eq!(registers.write(0x10, 7, 4), Effect::None);
        assert_eq!(registers, expected);
    }

    #[test]
    fn a_doorbell_wraps_its_vector_and_says_whether_it_was_exact() {
        let mut registers = Registers::default();
        for (offset, value, width, target, exact) in [
            (0xc, 0x0003_0102, 4, (3, 2), true),
            (0xe, 0x0001, 2, (0, 1), false),
            (0xf, 0xff, 1, (0, 255), false),
        ] {
            let Effect::Doorbell(doorbell) = registers.write(offset, value, width) else {
                panic!("{offset:#x} is no doorbell");
            };
            assert_eq!((doorbell.target(), doorbell.exact), (target, exact));
        }
    }
}
