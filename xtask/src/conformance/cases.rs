// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which scenarios are run, and to which devices each applies.

use crate::qemu::field;

/// A scenario that needs one machine and nobody to talk to.
#[derive(Debug)]
pub(super) struct Case {
    /// Its name in the table of scenarios.
    pub name: &'static str,
    /// What the device must have.
    pub need: Need,
    /// Whether it tells what the device has.
    pub discovers: bool,
}

/// What a scenario needs of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing: it applies to every device.
    Nothing,
    /// That it is `ivshmem-plain`.
    Plain,
    /// This many MSI-X vectors.
    Vectors(u16),
    /// An interrupt line, as revision 0 has without MSI-X.
    Line,
}

/// The scenarios in the order they are run.
pub(super) const CASES: [Case; 10] = [
    Case {
        discovers: true,
        ..case("discover", Need::Nothing)
    },
    case("detach", Need::Vectors(1)),
    case("registers", Need::Nothing),
    case("plain", Need::Plain),
    case("msix-deliver", Need::Vectors(2)),
    case("msix-mask", Need::Vectors(1)),
    case("msix-retarget", Need::Vectors(2)),
    case("doorbell-absent", Need::Vectors(1)),
    case("intx-status", Need::Line),
    case("memory-ends", Need::Nothing),
];

const fn case(name: &'static str, need: Need) -> Case {
    Case {
        name,
        need,
        discovers: false,
    }
}

/// What `run=discover` says about the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Device {
    revision: u8,
    vectors: u16,
    pin: u8,
}

impl Device {
    /// Finds the line `@ device ...`.
    pub fn from_lines<'a>(mut lines: impl Iterator<Item = &'a str>) -> Option<Self> {
        let line = lines.find_map(|line| line.strip_prefix("@ device "))?;
        Some(Self {
            revision: field(line, "revision")?.parse().ok()?,
            vectors: field(line, "vectors")?.parse().ok()?,
            pin: field(line, "pin")?.parse().ok()?,
        })
    }
}

impl Need {
    /// Returns what `device` lacks.
    pub fn lacking(self, device: Device) -> Option<String> {
        let Device {
            revision,
            vectors,
            pin,
        } = device;
        match self {
            Self::Nothing => None,
            Self::Plain if revision == 0 => Some("for ivshmem-plain, revision 1".into()),
            Self::Plain if vectors > 0 => Some("for ivshmem-plain, which has no MSI-X".into()),
            Self::Vectors(_) if vectors == 0 => Some("the device has no MSI-X".into()),
            Self::Vectors(need) if vectors < need => {
                Some(format!("needs {need} vectors, the device has {vectors}"))
            }
            Self::Line if revision > 0 => Some("for revision 0 of the device".into()),
            Self::Line if vectors > 0 => Some("the device has MSI-X in place of INTx".into()),
            Self::Line if pin == 0 => Some("the device has no interrupt pin".into()),
            Self::Plain | Self::Vectors(_) | Self::Line => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applying(revision: u8, vectors: u16) -> Vec<&'static str> {
        let line = format!(
            "@ device revision={revision} pin={} vectors={vectors}",
            1 - revision
        );
        let device = Device::from_lines(["== x", &line].into_iter()).unwrap();
        let cases = CASES.iter();
        let applying = cases.filter(|case| case.need.lacking(device).is_none());
        applying.map(|case| case.name).collect()
    }

    #[test]
    fn the_device_decides_what_applies() {
        let plain = ["discover", "registers", "plain", "memory-ends"];
        assert_eq!(applying(1, 0), plain);
        let line = ["discover", "registers", "intx-status", "memory-ends"];
        assert_eq!(applying(0, 0), line);
        assert_eq!(applying(1, 2).len(), CASES.len() - 2);
        assert_eq!(applying(0, 2), applying(1, 2));
        assert!(!applying(1, 2).contains(&"plain"));
        assert!(!applying(1, 1).contains(&"msix-retarget"));
        assert!(applying(1, 1).contains(&"msix-mask"));
    }

    #[test]
    fn a_device_that_was_not_told_of_is_none() {
        let other = ["@ msix table=0x0+0x1", "@ device revision=1"];
        assert_eq!(Device::from_lines(other.into_iter()), None);
    }
}
