// SPDX-License-Identifier: MIT OR Apache-2.0
//! The seeds of `proxy_remote`, in a process of their own: the target counts the files that its process has open.

use std::fs;
use std::path::Path;

use ivshmem_fuzz::proxy_remote::{run, Reached};

/// Answers, and whether the connection was given up.
const SEEDS: [(&str, usize, bool); 6] = [
    ("boot", 40, false),
    ("boot-2-3", 41, false),
    ("interrupt-twice", 6, false),
    ("odd-accesses", 10, false),
    ("reset-with-descriptors", 0, true),
    ("unknown-command", 0, true),
];

#[test]
fn every_conversation_gets_as_far_as_its_name_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds/proxy_remote");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), SEEDS.len());
    for (name, answers, refused) in SEEDS {
        let seed = fs::read(folder.join(name)).unwrap();
        assert_eq!(run(&seed), Reached { answers, refused }, "{name}");
    }
}
