// SPDX-License-Identifier: MIT OR Apache-2.0
//! What load a server is put under.

use clap::Parser;

/// Clients that join and leave a running `ivshmem server` at random, beside a virtual machine.
#[derive(Clone, Debug, Parser)]
pub struct Options {
    /// Clients connected at a time, those of --mute and the virtual machine included.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(4..=1024))]
    pub clients: u16,

    /// Interrupt vectors of each.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub vectors: u16,

    /// Seconds for which clients join and leave, after all have joined.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,

    /// Clients that join each second, on average; as many leave. IDs end at 32767, so no more than 100 for five
    /// minutes.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rate: u32,

    /// Clients that do not read until the end.
    #[arg(long, default_value_t = 10)]
    pub mute: u16,

    /// Do without the virtual machine.
    #[arg(long)]
    pub no_qemu: bool,

    /// Let the server and the thread that joins compete for processors like all others, where they would
    /// have one as soon as they want it.
    #[arg(long)]
    pub usual_priority: bool,

    /// Start of the random numbers.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Fail if a goal is missed: the time to admit, memory, file descriptors.
    #[arg(long)]
    pub gate: bool,

    /// Print one JSON document instead of a table.
    #[arg(long)]
    pub json: bool,

    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}
