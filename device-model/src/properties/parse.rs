// SPDX-License-Identifier: MIT OR Apache-2.0
//! Properties out of the text of QEMU's `-device`.

use alloc::string::String;

use super::check::MIB;
use super::{options, Kind, Properties, PropertyError, Role, Source};
use crate::Generation;

/// What every device of QEMU can be given, and none that is not plugged into a QEMU.
const PLACEMENT: [&str; 4] = ["addr", "bus", "id", "multifunction"];

/// Returns the properties that a kind has.
pub(super) const fn names_of(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Legacy => &[
            "chardev",
            "shm",
            "size",
            "vectors",
            "ioeventfd",
            "msi",
            "role",
            "use64",
        ],
        Kind::Plain => &["memdev", "master"],
        Kind::Doorbell => &["chardev", "vectors", "ioeventfd", "master"],
        Kind::Flat => &["chardev", "shmem-size"],
    }
}

impl Properties {
    /// Takes properties from the text that QEMU's `-device` takes, and checks them.
    ///
    /// For example `ivshmem,chardev=c,size=4M,ioeventfd=on` or `ivshmem-plain,memdev=m`. As in QEMU: a comma in a
    /// value is doubled, the last of two that say the same counts, on and off may also be yes and no, true and false, y
    /// and n, and a number may be hexadecimal after `0x` or octal after `0`. The properties of a device's place in
    /// QEMU (`id`, `bus`, `addr`, `multifunction`) are refused: the model would not keep them.
    ///
    /// # Errors
    ///
    /// - [`PropertyError::NoKind`], [`UnknownKind`](PropertyError::UnknownKind),
    ///   [`UnknownProperty`](PropertyError::UnknownProperty), [`Placement`](PropertyError::Placement),
    ///   [`NoValue`](PropertyError::NoValue): what the text names is not there.
    /// - [`PropertyError::BadValue`]: it is there, and cannot be that.
    /// - [`PropertyError::TwoSources`]: `chardev` and `shm` are given.
    /// - Those of [`check`](Self::check).
    pub fn parse(generation: Generation, text: &str) -> Result<Self, PropertyError> {
        let mut options = options::split(text)?;
        let name = options
            .remove(options::DRIVER)
            .ok_or(PropertyError::NoKind)?;
        let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == name) else {
            return Err(PropertyError::UnknownKind { name });
        };
        if !kind.is_of(generation) {
            return Err(PropertyError::NotOfGeneration { kind, generation });
        }
        let mut properties = without_source(generation, kind);
        for (name, value) in options {
            properties.set(name, value)?;
        }
        properties.check()?;
        Ok(properties)
    }

    /// Sets one, each only once.
    fn set(&mut self, name: String, value: String) -> Result<(), PropertyError> {
        match (self.kind, name.as_str()) {
            (Kind::Legacy | Kind::Doorbell | Kind::Flat, "chardev") => {
                return self.set_source(Source::Chardev(value));
            }
            (Kind::Legacy, "shm") => return self.set_source(Source::Shm(value)),
            (Kind::Plain, "memdev") => return self.set_source(Source::Memdev(value)),
            (Kind::Legacy, "size") => self.size_bytes = size(value)?,
            (Kind::Flat, "shmem-size") => {
                self.size_bytes = u64::from(number("shmem-size", value)?);
            }
            (Kind::Legacy | Kind::Doorbell, "vectors") => self.vectors = number("vectors", value)?,
            (Kind::Legacy | Kind::Doorbell, "ioeventfd") => {
                self.ioeventfd = switch("ioeventfd", value)?;
            }
            (Kind::Legacy, "msi") => self.msi = switch("msi", value)?,
            (Kind::Legacy, "role") => self.role = role(value)?,
            (Kind::Legacy, "use64") => self.use64 = number("use64", value)? != 0,
            (Kind::Plain | Kind::Doorbell, "master") => self.role = master(value)?,
            (_, other) if PLACEMENT.contains(&other) => {
                return Err(PropertyError::Placement { name })
            }
            (kind, _) => return Err(PropertyError::UnknownProperty { kind, name }),
        }
        Ok(())
    }

    /// Sets the source, if there is none yet. One that is set to nothing is as if it were not set.
    fn set_source(&mut self, source: Source) -> Result<(), PropertyError> {
        if source.name().is_empty() {
            return Ok(());
        }
        if !self.source.name().is_empty() {
            return Err(PropertyError::TwoSources);
        }
        self.source = source;
        Ok(())
    }
}

/// Returns the defaults, with a source of no name.
fn without_source(generation: Generation, kind: Kind) -> Properties {
    let name = String::new();
    match kind {
        Kind::Legacy => Properties::legacy(generation, Source::Chardev(name)),
        Kind::Plain => Properties::plain(name),
        Kind::Doorbell => Properties::doorbell(name),
        Kind::Flat => Properties::flat(name),
    }
}

/// Reads `size`: a number of MiB, with nothing or `M` behind it, or of GiB, with `G`.
fn size(value: String) -> Result<u64, PropertyError> {
    let digits_end = value
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(value.len());
    let (digits, suffix) = value.split_at(digits_end);
    let unit = match suffix {
        "" | "M" | "m" => Some(MIB),
        "G" | "g" => Some(MIB << 10),
        _ => None,
    };
    let number: Option<u64> = digits.parse().ok();
    unit.zip(number)
        .and_then(|(unit, number)| number.checked_mul(unit))
        .ok_or_else(|| {
            bad(
                "size",
                value,
                "a number of MiB or, with G behind it, of GiB, below 2^64 bytes",
            )
        })
}

/// Reads a number of 32 bits as C writes them.
fn number(name: &'static str, value: String) -> Result<u32, PropertyError> {
    let hexadecimal = value
        .strip_prefix("0x")
        .or_else(|| value.strip_prefix("0X"));
    let octal = value.strip_prefix('0').filter(|digits| !digits.is_empty());
    let (digits, radix) = match (hexadecimal, octal) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) => (digits, 8),
        (None, None) => (value.as_str(), 10),
    };
    // The library takes a plus sign.
    Some(digits)
        .filter(|digits| !digits.starts_with('+'))
        .and_then(|digits| u32::from_str_radix(digits, radix).ok())
        .ok_or_else(|| bad(name, value, "a number from 0 to 4294967295"))
}

fn switch(name: &'static str, value: String) -> Result<bool, PropertyError> {
    match value.as_str() {
        "on" | "yes" | "true" | "y" => Ok(true),
        "off" | "no" | "false" | "n" => Ok(false),
        _ => Err(bad(name, value, "on or off")),
    }
}

fn role(value: String) -> Result<Role, PropertyError> {
    match value.as_str() {
        "master" => Ok(Role::Master),
        "peer" => Ok(Role::Peer),
        _ => Err(bad("role", value, "master or peer")),
    }
}

/// Reads `master`, which is no switch in QEMU: of those it takes only these.
fn master(value: String) -> Result<Role, PropertyError> {
    match value.as_str() {
        "on" => Ok(Role::Master),
        "off" => Ok(Role::Peer),
        "auto" => Ok(Role::Auto),
        _ => Err(bad("master", value, "on, off or auto")),
    }
}

const fn bad(name: &'static str, value: String, expected: &'static str) -> PropertyError {
    PropertyError::BadValue {
        name,
        value,
        expected,
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
