// SPDX-License-Identifier: MIT OR Apache-2.0
//! What differs between the generations, difference by difference.

mod guest;
mod server;

use ivshmem_device::{Generation, Notice, Properties, ServerError, Source};

use crate::bench::{with_server, Act, SIZE};

const POSITION: u64 = 8;
const DOORBELL: u64 = 12;
const NONE: u32 = !0;

fn intx(generation: Generation) -> Properties {
    Properties {
        msi: false,
        ..with_server(generation)
    }
}

fn shm(generation: Generation) -> Properties {
    Properties {
        size_bytes: SIZE,
        ..Properties::legacy(generation, Source::Shm("memory".into()))
    }
}

fn ioeventfd(generation: Generation) -> Properties {
    Properties {
        ioeventfd: true,
        vectors: 2,
        ..with_server(generation)
    }
}

fn notice(error: ServerError) -> Vec<Act> {
    vec![Act::Notice(Notice::Server(error))]
}
