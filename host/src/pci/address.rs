// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a function is on the PCI bus, as Linux writes it: [`Address`].

use std::fmt;
use std::str::FromStr;

/// The address of a PCI function, such as `0000:00:05.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// 0 on most machines; up to 32 bits where the kernel makes domains up.
    domain: u32,
    bus: u8,
    device: u8,
    function: u8,
}

impl FromStr for Address {
    type Err = BadAddress;

    /// Takes hexadecimal numbers, `DOMAIN:BUS:DEVICE.FUNCTION` or without the domain, which then is 0.
    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let bad = || BadAddress {
            text: text.to_owned(),
        };
        let parse = || {
            let (buses, function) = text.rsplit_once('.')?;
            let (buses, device) = buses.rsplit_once(':')?;
            let (domain, bus) = buses.rsplit_once(':').unwrap_or(("0", buses));
            Some(Self {
                domain: number(domain, 8)?,
                bus: u8::try_from(number(bus, 2)?).ok()?,
                device: u8::try_from(number(device, 2)?).ok()?,
                function: u8::try_from(number(function, 1)?).ok()?,
            })
        };
        let address: Self = parse().ok_or_else(bad)?;
        if address.device > 31 || address.function > 7 {
            return Err(bad());
        }
        Ok(address)
    }
}

/// Reads a hexadecimal number of 1 to `most` digits.
fn number(text: &str, most: usize) -> Option<u32> {
    let digits = (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    digits.then(|| u32::from_str_radix(text, 16).ok())?
}

/// As folders in sysfs are called.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            domain,
            bus,
            device,
            function,
        } = self;
        write!(f, "{domain:04x}:{bus:02x}:{device:02x}.{function}")
    }
}

/// A text that is no address of a PCI function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadAddress {
    /// The text.
    pub text: String,
}

impl fmt::Display for BadAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is no address of a pci function such as 0000:00:05.0; lspci -D -d 1af4:1110 shows it",
            self.text
        )
    }
}

impl std::error::Error for BadAddress {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_lspci_writes_them() {
        for (text, expected) in [
            ("0000:00:05.0", "0000:00:05.0"),
            ("00:05.0", "0000:00:05.0"),
            ("10000:ff:1f.7", "10000:ff:1f.7"),
            ("0:0:1F.7", "0000:00:1f.7"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), expected, "{text}");
        }
    }

    #[test]
    fn nothing_else_is_an_address() {
        for text in [
            "",
            ".",
            ":.",
            "0000:00:05",
            "00:05.8",
            "00:20.0",
            "100:05.0",
            "0:00:005.0",
            "+0:05.0",
            "../../etc:00:05.0",
            "0000:00:05.0/..",
            "0000:00:05.0\n",
            " 00:05.0",
            "1:0000:00:05.0",
            "123456789:00:05.0",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
    }
}
