// SPDX-License-Identifier: MIT OR Apache-2.0
//! The device as its embedder sees it, in all generations.

mod access;
mod bench;
mod generations;
mod intx;
mod msix;
mod protocol;
mod refused_states;
mod saving;
