// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks of the memory behind an `ivshmem-plain`.

use std::fs;
use std::path::Path;

use ivshmem_host::size;

use super::device::switches;
use crate::command::doctor::finding::{Code, Finding};
use crate::command::doctor::qemu::line::Line;
use crate::command::doctor::qemu::options::{size_bytes, Options, Switch};

const EXAMPLE: &str =
    "-object memory-backend-file,id=shm0,share=on,size=4M,mem-path=/dev/shm/ivshmem";

pub(super) fn check(device: &Options, line: &Line) -> Vec<Finding> {
    let Some(id) = device.get("memdev") else {
        return vec![Finding::new(
            Code::MemdevMissing,
            device,
            "there is no memdev=: QEMU will not start",
            format!("add {EXAMPLE}, and memdev=shm0 to the device"),
        )];
    };
    let Some(backend) = line.object(id) else {
        return vec![Finding::new(
            Code::MemdevUnknown,
            device,
            format!("there is no -object with id={id}: QEMU will not start"),
            format!("add {}", EXAMPLE.replace("shm0", id)),
        )];
    };
    if !backend.kind().starts_with("memory-backend-") {
        return vec![Finding::new(
            Code::MemdevNotMemory,
            device,
            format!(
                "the object {id} is a {}, not memory: QEMU will not start",
                backend.kind()
            ),
            format!("add {} and use that", EXAMPLE.replace("shm0", "shm1")),
        )];
    }
    [
        sharing(backend),
        switches(backend, &["share", "readonly"]),
        extent(backend),
        file(backend),
        twice(backend, id, line),
    ]
    .concat()
}

/// Whether what the guest writes reaches anybody.
fn sharing(backend: &Options) -> Vec<Finding> {
    let mut findings = Vec::new();
    let file = backend.kind() == "memory-backend-file";
    if !file {
        findings.push(Finding::new(
            Code::BackendPrivate,
            backend,
            "this memory has no name: no other machine can have it, so it is good for tests only",
            format!("write {EXAMPLE}"),
        ));
    }
    let off = matches!(
        backend.get("share").map(Switch::of),
        None | Some(Some(Switch::Off))
    );
    if file && off {
        findings.push(Finding::new(
            Code::ShareOff,
            backend,
            "without share=on the machine has a private copy of the file: nothing is shared",
            "add share=on",
        ));
    }
    if backend.switch("readonly") == Some(Switch::On) {
        findings.push(Finding::new(
            Code::BackendReadOnly,
            backend,
            "readonly=on: what the guest writes is dropped without a word",
            "remove readonly=on",
        ));
    }
    findings
}

/// Its size.
fn extent(backend: &Options) -> Vec<Finding> {
    let problem = |code, what: String, cure: &str| vec![Finding::new(code, backend, what, cure)];
    let Some(text) = backend.get("size") else {
        return problem(
            Code::BackendIncomplete,
            "there is no size=: QEMU will not start".to_owned(),
            "add size=4M, or another power of two",
        );
    };
    let Some(bytes) = size_bytes(text) else {
        return problem(
            Code::BackendSize,
            format!("size={text} is not a size: QEMU will not start"),
            "write bytes, or a number with K, M, G or T, such as 4M",
        );
    };
    match size::check(bytes) {
        Ok(()) => Vec::new(),
        Err(error) => problem(
            Code::BackendSize,
            format!("{error}: QEMU aborts"),
            "take a power of two from 4096 on",
        ),
    }
}

/// The file, as far as the line says something about it.
fn file(backend: &Options) -> Vec<Finding> {
    if backend.kind() != "memory-backend-file" {
        return Vec::new();
    }
    let problem = |code, what: String, cure: String| vec![Finding::new(code, backend, what, cure)];
    let Some(path) = backend.get("mem-path").map(Path::new) else {
        return problem(
            Code::BackendIncomplete,
            "there is no mem-path=: QEMU will not start".to_owned(),
            "add mem-path=/dev/shm/NAME".to_owned(),
        );
    };
    let Ok(metadata) = fs::metadata(path) else {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        return if folder.is_some_and(|folder| !folder.is_dir()) {
            problem(
                Code::FileNoPlace,
                format!(
                    "the directory of {} is not there: QEMU will not start",
                    path.display()
                ),
                "create it, or write mem-path=/dev/shm/NAME".to_owned(),
            )
        } else {
            problem(
                Code::FileWillBeCreated,
                format!("{} is not there: QEMU will create it, for its own user only", path.display()),
                format!(
                    "if others are to have it, create it first: install -m 0660 -g GROUP /dev/null {0} && truncate -s {1} {0}",
                    path.display(),
                    backend.get("size").unwrap_or("SIZE"),
                ),
            )
        };
    };
    if metadata.is_dir() {
        return problem(
            Code::PathIsDirectory,
            format!("{} is a directory: QEMU makes a file there that has no name, and nobody else gets it", path.display()),
            format!("write mem-path={}/NAME", path.display()),
        );
    }
    let Some(size) = backend.get("size").and_then(size_bytes) else {
        return Vec::new();
    };
    let found = metadata.len();
    // An empty file takes the size that QEMU wants.
    if found == 0 || !metadata.is_file() || found == size {
        return Vec::new();
    }
    let numbers = format!("{} has {found} bytes, size= says {size}", path.display());
    if found < size {
        return problem(
            Code::FileTooSmall,
            format!("{numbers}: QEMU will not start"),
            format!(
                "write size={found}, or enlarge the file: truncate -s {size} {}",
                path.display()
            ),
        );
    }
    problem(
        Code::FileTooLarge,
        format!("{numbers}: the machine has only the first part, and whoever maps all of it sees another size"),
        format!("write size={found}"),
    )
}

/// Who else uses it.
fn twice(backend: &Options, id: &str, line: &Line) -> Vec<Finding> {
    let devices = line
        .devices
        .iter()
        .filter(|device| device.get("memdev") == Some(id))
        .count();
    let machine = line
        .machine
        .iter()
        .filter(|machine| machine.get("memory-backend") == Some(id))
        .count();
    let key = format!("memdev={id}");
    let nodes = line
        .values("numa")
        .filter(|value| value.split(',').any(|word| word == key))
        .count();
    if devices + machine + nodes < 2 {
        return Vec::new();
    }
    vec![Finding::new(
        Code::BackendTwice,
        backend,
        "it is used more than once: QEMU will not start",
        "give each user an -object of its own; two may have the same mem-path",
    )]
}

#[cfg(test)]
mod tests {
    use super::super::tests::codes;
    use super::*;

    /// A directory with a file of 1 MiB, and the codes that a line gets which uses it, with `from` replaced by `to`.
    fn codes_of(from: &str, to: &str) -> Vec<Code> {
        let place = tempfile::tempdir().unwrap();
        let at = place.path().join("memory");
        fs::File::create(&at).unwrap().set_len(1 << 20).unwrap();
        fs::write(place.path().join("empty"), "").unwrap();
        let good = "qemu -object memory-backend-file,id=m,share=on,size=1M,mem-path=DIR/memory -device ivshmem-plain,memdev=m";
        assert!(good.contains(from), "{from}");
        let line = good.replace(from, to);
        codes(&line.replace("DIR", place.path().to_str().unwrap()))
    }

    #[test]
    fn each_mistake_of_a_memdev_is_found_and_what_is_none_is_not() {
        let user = "-device ivshmem-plain,memdev=m";
        for (from, to, expected) in [
            ("", "", &[Code::LineFine][..]),
            (",memdev=m", "", &[Code::MemdevMissing]),
            (",memdev=m", ",memdev=n", &[Code::MemdevUnknown]),
            (
                "-device",
                "-object rng-random,id=r -device ivshmem-plain,memdev=r -device",
                &[Code::MemdevNotMemory],
            ),
            ("share=on,", "", &[Code::ShareOff]),
            ("share=on,", "share=off,", &[Code::ShareOff]),
            ("share=on,", "share,", &[Code::LineFine]),
            (
                "share=on,",
                "share=on,readonly=on,",
                &[Code::BackendReadOnly],
            ),
            ("share=on,", "share=on,readonly=off,", &[Code::LineFine]),
            ("-file,", "-memfd,", &[Code::BackendPrivate]),
            ("-file,id=m,share=on", "-ram,id=m", &[Code::BackendPrivate]),
            ("size=1M,", "", &[Code::BackendIncomplete]),
            (",mem-path=DIR/memory", "", &[Code::BackendIncomplete]),
            ("size=1M", "size=0x100000", &[Code::LineFine]),
            ("size=1M", "size=1MB", &[Code::BackendSize]),
            (
                "size=1M",
                "size=2k",
                &[Code::BackendSize, Code::FileTooLarge],
            ),
            (
                "size=1M",
                "size=768K",
                &[Code::BackendSize, Code::FileTooLarge],
            ),
            ("size=1M", "size=512K", &[Code::FileTooLarge]),
            ("size=1M", "size=2M", &[Code::FileTooSmall]),
            ("/memory", "/empty", &[Code::LineFine]),
            ("/memory", "/absent", &[Code::FileWillBeCreated]),
            ("/memory", "/absent/memory", &[Code::FileNoPlace]),
            ("/memory", "", &[Code::PathIsDirectory]),
            (
                user,
                "-device ivshmem-plain,memdev=m -machine q35,memory-backend=m",
                &[Code::BackendTwice],
            ),
            (
                user,
                "-device ivshmem-plain,memdev=m -numa node,memdev=m",
                &[Code::BackendTwice],
            ),
            (
                user,
                "-device ivshmem-plain,memdev=m -device pc-dimm,memdev=m",
                &[Code::BackendTwice],
            ),
            (
                user,
                "-device ivshmem-plain,memdev=m -numa node,memdev=mm",
                &[Code::LineFine],
            ),
        ] {
            assert_eq!(codes_of(from, to), expected, "{from} as {to}");
        }
    }
}
