// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks of the connection of an `ivshmem-doorbell` to its server.

use crate::command::doctor::finding::{Code, Finding};
use crate::command::doctor::qemu::line::Line;
use crate::command::doctor::qemu::options::{Options, Switch};

const EXAMPLE: &str = "-chardev socket,id=ivshmem,path=/run/ivshmem/ivshmem.sock";

pub(super) fn check(device: &Options, line: &Line) -> Vec<Finding> {
    let Some(id) = device.get("chardev") else {
        return vec![Finding::new(
            Code::ChardevMissing,
            device,
            "there is no chardev=: QEMU will not start",
            format!("add {EXAMPLE}, and chardev=ivshmem to the device"),
        )];
    };
    let Some(chardev) = line.chardev(id) else {
        return vec![Finding::new(
            Code::ChardevUnknown,
            device,
            format!("there is no -chardev with id={id}: QEMU will not start"),
            format!("add -chardev socket,id={id},path=SOCKET"),
        )];
    };
    [kind(chardev), twice(chardev, id, line)].concat()
}

/// What sort of connection it is.
fn kind(chardev: &Options) -> Vec<Finding> {
    let problem = |code, what: &str, cure: String| vec![Finding::new(code, chardev, what, cure)];
    if chardev.kind() != "socket" {
        return problem(
            Code::ChardevKind,
            "only a socket can bring the memory and the interrupts: QEMU will not start, or not end",
            format!("write {EXAMPLE}"),
        );
    }
    if chardev.switch("server") == Some(Switch::On) {
        return problem(
            Code::ChardevServer,
            "server=on: QEMU waits for a client, but it has to be the client of an ivshmem server",
            "remove server=on (and wait=), and start ivshmem server".to_owned(),
        );
    }
    let local = chardev.get("path").is_some() || chardev.get("fd").is_some();
    if !local {
        return problem(
            Code::ChardevKind,
            "there is no path=: only a local socket can carry file descriptors",
            format!("write {EXAMPLE}"),
        );
    }
    if chardev.switch("abstract") == Some(Switch::On) {
        return problem(
            Code::ChardevKind,
            "abstract=on: ivshmem server listens at sockets in the file system only",
            "remove abstract=on and give the path of the server's socket".to_owned(),
        );
    }
    // `reconnect-ms` is of QEMU 9.2; 0 is the default, which is not to.
    let reconnects = |key| chardev.get(key).is_some_and(|value| value != "0");
    if reconnects("reconnect") || reconnects("reconnect-ms") {
        return problem(
            Code::ChardevReconnect,
            "reconnect: the device never gets its memory, and QEMU spins in its start for ever",
            "remove it; a connection that is lost stays lost, but the doorbells go on without the server".to_owned(),
        );
    }
    Vec::new()
}

/// Who else uses it.
fn twice(chardev: &Options, id: &str, line: &Line) -> Vec<Finding> {
    let devices = line
        .devices
        .iter()
        .filter(|device| device.get("chardev") == Some(id))
        .count();
    let colon = format!("chardev:{id}");
    let key = format!("chardev={id}");
    let others = line
        .others
        .iter()
        .filter_map(|other| other.value.as_deref())
        .filter(|value| *value == colon || value.split(',').any(|word| word == key))
        .count();
    if devices + others < 2 {
        return Vec::new();
    }
    vec![Finding::new(
        Code::ChardevTwice,
        chardev,
        format!(
            "{} of this command line use it, but a connection belongs to one device",
            devices + others
        ),
        "give each device a -chardev of its own; several may have the same path",
    )]
}

#[cfg(test)]
mod tests {
    use super::super::tests::{codes, doorbell};
    use super::*;

    #[test]
    fn each_mistake_of_a_chardev_is_found_and_what_is_none_is_not() {
        let socket = "socket,id=c,path=/nobody";
        for (from, to, expected) in [
            ("chardev=c,", "", &[Code::ChardevMissing][..]),
            ("chardev=c,", "chardev=d,", &[Code::ChardevUnknown]),
            (socket, "null,id=c", &[Code::ChardevKind]),
            (
                socket,
                "socket,id=c,host=localhost,port=1",
                &[Code::ChardevKind],
            ),
            (
                socket,
                "socket,id=c,path=x,abstract=on",
                &[Code::ChardevKind],
            ),
            (
                socket,
                "socket,id=c,path=/nobody,server=on,wait=off",
                &[Code::ChardevServer],
            ),
            (
                socket,
                "socket,id=c,path=/nobody,server",
                &[Code::ChardevServer],
            ),
            (
                socket,
                "socket,id=c,path=/nobody,reconnect=1",
                &[Code::ChardevReconnect],
            ),
            (
                socket,
                "socket,id=c,path=/nobody,reconnect-ms=100",
                &[Code::ChardevReconnect],
            ),
            (
                socket,
                "socket,id=c,path=/nobody,reconnect=0",
                &[Code::LineFine],
            ),
            (
                socket,
                "socket,id=c,path=/nobody,server=off",
                &[Code::LineFine],
            ),
            (socket, "socket,id=c,fd=7", &[Code::LineFine]),
            (
                "vectors=2",
                "vectors=2 -serial chardev:c",
                &[Code::ChardevTwice],
            ),
            (
                "vectors=2",
                "vectors=2 -mon chardev=c,mode=control",
                &[Code::ChardevTwice],
            ),
            (
                "vectors=2",
                "vectors=2 -serial chardev:cc",
                &[Code::LineFine],
            ),
            (
                "vectors=2",
                "vectors=2 -device ivshmem-doorbell,chardev=c",
                &[Code::ChardevTwice, Code::ChardevTwice],
            ),
        ] {
            assert_eq!(codes(&doorbell(from, to)), expected, "{to}");
        }
    }
}
