// SPDX-License-Identifier: MIT OR Apache-2.0
//! The seeds, without libFuzzer: each still reaches what it is named for.

mod channel;
mod model;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ivshmem_fuzz::{config_space, registers};

/// Functions found, devices attached before and after assignment, and whether everything got an address.
const CONFIG_SPACE: [(&str, usize, usize, bool); 13] = [
    ("behind-numbered-bridges", 3, 2, false),
    ("cold-bridge-tree", 2, 4, true),
    ("cold-no-space", 2, 0, false),
    ("doorbell", 1, 2, false),
    ("doorbell-64-vectors-dropped", 1, 2, false),
    ("endless-capabilities", 1, 0, false),
    ("interrupt-refused", 1, 0, false),
    ("legacy-intx", 1, 2, false),
    ("map-refused", 1, 0, false),
    ("plain", 1, 2, false),
    ("table-outside-bar", 1, 0, false),
    ("unplugged-while-attached", 1, 1, true),
    ("wrong-reads", 1, 1, true),
];

/// Calls made and doorbells rung.
const REGISTERS: [(&str, usize, usize); 9] = [
    ("doorbell-msix", 9, 1),
    ("doorbell-msix-arbitrary-table", 9, 1),
    ("flat", 3, 1),
    ("gone", 9, 1),
    ("inert-registers", 9, 0),
    ("kernels-own-table", 9, 1),
    ("legacy-intx", 8, 1),
    ("no-registers", 9, 0),
    ("plain", 5, 0),
];

fn folder(target: &str) -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.join("seeds").join(target)
}

fn seed(target: &str, name: &str) -> Vec<u8> {
    fs::read(folder(target).join(name)).unwrap()
}

#[test]
fn every_machine_gets_as_far_as_its_name_says() {
    for (name, functions, attached, assigned) in CONFIG_SPACE {
        let expected = config_space::Reached {
            functions,
            attached,
            assigned,
        };
        let reached = config_space::run(&seed("config_space", name));
        assert_eq!(reached, expected, "{name}");
    }
}

#[test]
fn every_device_gets_as_far_as_its_name_says() {
    for (name, calls, rung) in REGISTERS {
        let reached = registers::run(&seed("registers", name));
        assert_eq!(reached, registers::Reached { rung, calls }, "{name}");
    }
}

#[test]
fn no_seed_is_left_out() {
    let targets = [
        ("config_space", CONFIG_SPACE.map(|seed| seed.0).to_vec()),
        ("registers", REGISTERS.map(|seed| seed.0).to_vec()),
        (
            "model_config",
            model::MODEL_CONFIG.map(|seed| seed.0).to_vec(),
        ),
        (
            "model_registers",
            model::MODEL_REGISTERS.map(|seed| seed.0).to_vec(),
        ),
        (
            "model_server",
            model::MODEL_SERVER.map(|seed| seed.0).to_vec(),
        ),
        (
            "proxy_stream",
            model::PROXY_STREAM.map(|seed| seed.0).to_vec(),
        ),
        (
            "channel_contents",
            channel::CHANNEL_CONTENTS.map(|seed| seed.0).to_vec(),
        ),
        (
            "channel_hostile",
            channel::CHANNEL_HOSTILE.map(|seed| seed.0).to_vec(),
        ),
        ("inspect", channel::INSPECT.map(|seed| seed.0).to_vec()),
    ];
    for (target, names) in targets {
        let files = fs::read_dir(folder(target)).unwrap();
        let files: BTreeSet<_> = files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        let names = names.iter().map(|name| name.to_string()).collect();
        assert_eq!(files, names, "{target}");
    }
}
