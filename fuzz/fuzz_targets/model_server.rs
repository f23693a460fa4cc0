// SPDX-License-Identifier: MIT OR Apache-2.0
//! libFuzzer's entry to [`ivshmem_fuzz::model_server`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    ivshmem_fuzz::model_server::run(data);
});
