// SPDX-License-Identifier: MIT OR Apache-2.0
//! Connections between members on threads over one memory.

mod batches;
mod doorbells;
mod echo;
mod fragments;
mod hostile;
mod idle;
mod in_place;
mod inspection;
mod lives;
mod messages;
mod streams;
mod support;
mod tasks;
