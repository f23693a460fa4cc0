// SPDX-License-Identifier: MIT OR Apache-2.0
//! Workspace tasks: set-up, the kernel's build, QEMU and the test run.
//!
//! The binary `cargo xtask` is a thin layer of verbs over this library, and the trials in
//! `tests/qemu.rs` stand on it too:
//!
//! | module | job |
//! | --- | --- |
//! | [`probe`] | what this machine has, behind a trait so that decisions are tested on made-up machines |
//! | [`tools`], [`accelerator`], [`toolchain`] | the decisions: which QEMU, which accelerator, which route to the kernel |
//! | [`setup`] | installs what is missing, or says how to |
//! | [`build`] | builds one executable by cargo |
//! | [`kernel`] | builds the test kernel |
//! | [`linux`] | Debian's kernel with a program of ours, as a guest |
//! | [`image`] | makes of it a disk image for UEFI |
//! | [`qemu`] | command lines, virtual machines and their serial log |
//! | [`qmp`] | QEMU's own view of a machine |
//! | [`qtest`] | the devices of a machine without a running processor |
//! | [`guests`] | machines with an ivshmem device, and servers, for trials |
//! | [`party`] | two guests and this process on one region of channels |
//! | [`demo`] | they talk |
//! | [`mod@bench`] | they measure |
//! | [`figures`] | how figures are shown and written down |
//! | [`fuzz`] | runs of the fuzz targets |
//! | [`trials`] | test binaries whose trials need virtual machines |
//! | [`conformance`] | the scenarios on somebody else's hypervisor, as TAP |
//! | [`size`] | how much of the kernel is the driver |
//! | [`instructions`] | what operations of channels cost, compared with a baseline |
//! | [`suite`] | the whole test run and its total |

#![deny(unsafe_code)]

pub mod accelerator;
pub mod bench;
pub mod build;
pub mod command_line;
pub mod conformance;
pub mod demo;
pub mod environment;
pub mod figures;
pub mod fuzz;
pub mod guests;
pub mod image;
pub mod instructions;
pub mod kernel;
pub mod linux;
pub mod party;
pub mod paths;
pub mod probe;
pub mod progress;
pub mod qemu;
pub mod qmp;
pub mod qtest;
pub mod setup;
pub mod size;
pub mod suite;
pub mod toolchain;
pub mod tools;
pub mod trials;
