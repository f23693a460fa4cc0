// SPDX-License-Identifier: MIT OR Apache-2.0
//! libFuzzer's entry to [`ivshmem_fuzz::inspect`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    ivshmem_fuzz::inspect::run(data);
});
