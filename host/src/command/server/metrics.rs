// SPDX-License-Identifier: MIT OR Apache-2.0
//! The address for metrics, as it is written on the command line.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Parses `ADDRESS:PORT`, `:PORT` or `PORT`; without an address it is that of this machine for itself.
pub(super) fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let (address, port) = match text.rsplit_once(':') {
        None | Some(("" | "localhost", _)) => {
            let port = text.rsplit_once(':').map_or(text, |(_, port)| port);
            (Some(loopback), port)
        }
        Some((_, port)) => (None, port),
    };
    // `parse` would take a sign.
    let port = Some(port)
        .filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|port| port.parse().ok())
        .ok_or("the port is not a number from 0 to 65535")?;
    match address {
        Some(address) => Ok(SocketAddr::new(address, port)),
        None => text.parse().map_err(|_| {
            "not an IP address and port, such as 127.0.0.1:9100 or [::1]:9100".to_owned()
        }),
    }
}

/// Returns a warning if others than this machine may come to `address`.
pub(super) fn warning(address: SocketAddr) -> Option<String> {
    (!address.ip().is_loopback()).then(|| {
        format!(
            "warning: whoever reaches {address} may read who is connected; without an address only this machine can"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_address_it_is_the_loopback() {
        for (text, address) in [
            ("9100", "127.0.0.1:9100"),
            (":9100", "127.0.0.1:9100"),
            ("localhost:0", "127.0.0.1:0"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::1]:65535", "[::1]:65535"),
        ] {
            assert_eq!(parse_address(text), Ok(address.parse().unwrap()), "{text}");
        }
        for text in [
            "",
            ":",
            "x",
            "65536",
            "-1",
            "+1",
            ":x",
            "1.2.3:80",
            "host:80",
            "::1:80",
            "127.0.0.1",
            "127.0.0.1:",
            "1.2.3.4:5:6",
        ] {
            assert!(parse_address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_what_others_reach_is_warned_of() {
        for (address, warned) in [
            ("127.0.0.1:1", false),
            ("127.8.8.8:1", false),
            ("[::1]:1", false),
            ("0.0.0.0:1", true),
            ("[::]:1", true),
            ("10.0.0.1:1", true),
        ] {
            let found = warning(address.parse().unwrap());
            assert_eq!(found.is_some(), warned, "{address}");
        }
    }
}
