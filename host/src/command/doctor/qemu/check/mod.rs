// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks of a command line of QEMU for what makes ivshmem not work.
//!
//! What QEMU does with each mistake was tried with QEMU 7.2. The files and sockets that the line names are looked at
//! elsewhere, like those that stand in no line.

mod chardev;
mod device;
mod machine;
mod memdev;

use std::path::Path;

use super::line::Line;
use crate::command::doctor::finding::{Code, Finding};
use crate::command::doctor::server::ServerView;

/// What is known of the server at a socket, if one is there.
pub(in crate::command) type Servers<'a> = dyn Fn(&Path) -> Option<ServerView> + 'a;

/// Checks a command line, given what is known of the servers that it names.
pub(in crate::command) fn check(line: &Line, servers: &Servers<'_>) -> Vec<Finding> {
    let mut findings = line.faults.clone();
    for device in line.ivshmem_devices() {
        findings.extend(device::check(device, line, servers));
        match device.kind() {
            "ivshmem-plain" => findings.extend(memdev::check(device, line)),
            "ivshmem-doorbell" => findings.extend(chardev::check(device, line)),
            _ => {}
        }
    }
    findings.extend(machine::check(line));
    if findings.is_empty() {
        let count = line.ivshmem_devices().count();
        let what = match count {
            1 => "its ivshmem device is as it should be".to_owned(),
            _ => format!("its {count} ivshmem devices are as they should be"),
        };
        findings.push(Finding::fine(Code::LineFine, line.program.display(), what));
    }
    findings
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::line::tests::line;
    use super::*;

    /// Returns the codes that a command line gets, where no server is known.
    pub(super) fn codes(text: &str) -> Vec<Code> {
        codes_with(text, &|_| None)
    }

    pub(super) fn codes_with(text: &str, servers: &Servers<'_>) -> Vec<Code> {
        check(&line(text), servers)
            .iter()
            .map(|finding| finding.code)
            .collect()
    }

    /// A command line with nothing wrong, of which `from` is `to` instead.
    pub(super) fn doorbell(from: &str, to: &str) -> String {
        let good =
            "qemu -chardev socket,id=c,path=/nobody -device ivshmem-doorbell,chardev=c,vectors=2";
        assert!(good.contains(from), "{from}");
        good.replace(from, to)
    }

    #[test]
    fn a_good_line_is_fine_and_says_of_how_many() {
        assert_eq!(codes(&doorbell("", "")), [Code::LineFine]);
        let findings = check(&line(&doorbell("", "")), &|_| None);
        assert_eq!(findings[0].what, "its ivshmem device is as it should be");
    }
}
