// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the targets of channels share: memory with guards, the places in it, damage, and ends that are driven by an input.

pub mod arena;
pub mod attacked;
pub mod connections;
pub mod halves;
pub mod layout;
pub mod patch;
pub mod shadow;
pub mod undisturbed;
mod waiting;
pub mod world;
