// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the fuzz targets do with their bytes, as a library, so that tests can do it without libFuzzer.
//!
//! | target | the bytes are |
//! | --- | --- |
//! | [`config_space`] | the configuration spaces of a machine, and what its kernel does |
//! | [`registers`] | what registers and MSI-X table read, and the calls that are made |
//! | [`model_config`] | accesses to the configuration space of the device model |
//! | [`model_registers`] | accesses to its BARs, events and resets |
//! | [`model_server`] | what a server sends it, in what pieces and with which descriptors |
//! | [`proxy_stream`] | what QEMU sends to a remote device |
//! | [`proxy_remote`] | the same, with real descriptors, and what the device answers |
//! | [`channel_contents`] | what a region holds and what changes in it, and the calls that are made |
//! | [`channel_hostile`] | what a hostile member writes, and what two pairs of others do meanwhile |
//! | [`inspect`] | the same as of `channel_contents`, looked into from outside |
//!
//! A property that does not hold is a panic.

pub mod bus;
mod channel;
pub mod channel_contents;
pub mod channel_hostile;
pub mod config_space;
mod device;
mod input;
pub mod inspect;
pub mod kernel;
pub mod machine;
pub mod model;
pub mod model_config;
pub mod model_registers;
pub mod model_server;
pub mod proxy_remote;
pub mod proxy_stream;
pub mod registers;
pub mod script;

/// Functions with write masks, which the tests of the driver use too.
#[path = "../../tests/driver/support/bus.rs"]
pub mod functions;
