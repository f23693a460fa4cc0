// SPDX-License-Identifier: MIT OR Apache-2.0
//! Devices as they are given on the command line.

use ivshmem_device::proxy::{check, Unsuitable};
use ivshmem_device::{Generation, Properties, PropertyError};

/// What differs from QEMU's defaults. Of two that say the same the last counts, so these come first.
const DEFAULTS: &str = "use64=0,msi=off";

/// Takes the properties of a device that is to be lent to QEMU.
pub(crate) fn parse(generation: Generation, text: &str) -> Result<Properties, String> {
    let failed = |error: &dyn std::fmt::Display| format!("--device {text}: {error}");
    // As it was given first, so that errors speak of that.
    match Properties::parse(generation, text) {
        Ok(_) => {}
        Err(PropertyError::NotOfGeneration { .. }) => return Err(failed(&Unsuitable::Modern)),
        Err(error) => return Err(failed(&error)),
    }
    let properties =
        Properties::parse(generation, &with_defaults(text)).map_err(|error| failed(&error))?;
    check(&properties).map_err(|error| failed(&error))?;
    Ok(properties)
}

/// Puts the defaults in front of all properties; the name of the device may stand alone before them.
fn with_defaults(text: &str) -> String {
    match text.split_once(',') {
        Some((name, rest)) if !name.contains('=') => format!("{name},{DEFAULTS},{rest}"),
        None if !text.contains('=') => format!("{text},{DEFAULTS}"),
        _ => format!("{DEFAULTS},{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_gets_the_bars_and_the_interrupt_that_the_proxy_has() {
        for text in [
            "ivshmem,chardev=/run/s",
            "ivshmem,chardev=/run/s,size=4M,vectors=1",
            "chardev=/run/s,driver=ivshmem",
        ] {
            let properties = parse(Generation::V2_5, text).unwrap();
            assert!(!properties.use64 && !properties.msi, "{text}");
            assert_eq!(properties.size_bytes, 4 << 20);
        }
    }

    #[test]
    fn what_the_proxy_cannot_do_is_refused() {
        for (text, part) in [
            ("ivshmem,chardev=c,msi=on", "msi=off"),
            ("ivshmem,chardev=c,use64=1", "use64=0"),
            ("ivshmem,chardev=c,size=2G", "size=1G or less"),
            ("ivshmem-plain,memdev=m", "only the device ivshmem"),
            ("ivshmem", "ivshmem"),
            ("ivshmem,chardev=c,size=3M", "size"),
            ("ivshmem,chardev=c,colour=red", "colour"),
            ("", ""),
        ] {
            let error = parse(Generation::V2_5, text).unwrap_err();
            assert!(error.starts_with(&format!("--device {text}: ")), "{error}");
            assert!(error.contains(part) && !error.contains('\n'), "{error}");
        }
    }
}
