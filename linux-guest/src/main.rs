// SPDX-License-Identifier: MIT OR Apache-2.0
//! The first and only program of a Linux guest of the trials: it uses the machine's ivshmem device as any program may.
//!
//! The kernel's command line says what: `ivshmem.way=sysfs` or `vfio`, `ivshmem.peers=NAME,NAME` to exchange messages with,
//! `ivshmem.messages=N`. It speaks lines over the console as the test kernel does, and turns the machine off.
//!
//! What needs root it does as the init of the machine; the exchange itself it does in a second process, [`user::USER`]'s under VFIO.

#![deny(unsafe_code)]

mod init;
mod speed;
mod system;
mod talk;
mod user;

use std::error::Error;

/// Whatever has gone wrong, in a line.
type Failure = Box<dyn Error>;

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if let [_, role, address] = &words[..] {
        if let Err(error) = user::run(role, address) {
            println!("@ failed {error}");
            std::process::exit(1);
        }
        return;
    }
    if !rustix::process::getpid().is_init() {
        eprintln!("this is the init of a guest; cargo test --test qemu -- linux runs it");
        std::process::exit(2);
    }
    match init::run() {
        Ok(()) => println!("== PASS"),
        Err(error) => println!("== FAIL {error}"),
    }
    system::end();
}
