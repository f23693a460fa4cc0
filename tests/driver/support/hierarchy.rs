// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must hold of every assigned hierarchy, read back from its registers.

use super::bus::FakeFunction;
use super::tree::FakeTree;
use ivshmem::pci::{Window, Windows};

/// What the machines of these tests have for BARs.
pub const WINDOWS: Windows = Windows {
    memory32: Window {
        start: 0xc000_0000,
        len: 0x2000_0000,
    },
    memory64: Some(Window {
        start: 1 << 36,
        len: 1 << 40,
    }),
    io: Some(Window {
        start: 0x1000,
        len: 0xf000,
    }),
};
const MASTER_MEMORY_IO: u32 = 0b111;

/// A bridge as it comes out of reset, with all windows.
pub fn bridge() -> FakeFunction {
    FakeFunction::new(0x1b36, 0x000c).blank_bridge(true, true)
}

/// An ivshmem-doorbell as it comes out of reset, with shared memory of `size`.
pub fn device(size: u64) -> FakeFunction {
    let mut function = FakeFunction::plain()
        .memory32(0, 0, 0x100)
        .memory32(1, 0, 0x1000)
        .memory64(2, 0, size);
    function.words[1] = 0;
    function
}

/// Addresses that a function decodes, or a bridge forwards: (first, last).
pub type Span = (u64, u64);

/// Windows of a bridge, read from its registers: memory, prefetchable, I/O; closed ones are none.
pub fn windows(words: &[u32; 64]) -> [Option<Span>; 3] {
    let open = |base: u64, limit: u64| (base <= limit).then_some((base, limit));
    let (memory, wide, io) = (words[8], words[9], words[7]);
    let wide_base = u64::from(words[10]) << 32 | u64::from(wide & 0xfff0) << 16;
    let wide_limit = u64::from(words[11]) << 32 | u64::from(wide & 0xfff0_0000) | 0xf_ffff;
    [
        open(
            u64::from(memory & 0xfff0) << 16,
            u64::from(memory & 0xfff0_0000) | 0xf_ffff,
        ),
        open(wide_base, wide_limit).filter(|_| wide & 0xf == 1),
        open(u64::from(io & 0xf0) << 8, u64::from(io & 0xf000) | 0xfff).filter(|_| io != 0),
    ]
}

/// An assigned BAR: function, span, kind.
pub struct Placed {
    pub node: usize,
    pub span: Span,
    pub io: bool,
}

/// Reads all BARs back and checks what must hold of every assignment, whatever the hierarchy.
pub fn check(tree: &FakeTree, given: &Windows) -> Vec<Placed> {
    let mut placed = Vec::new();
    for node in 0..tree.len() {
        let words = tree.words(node);
        let is_bridge = words[3] >> 16 & 0x7f == 1;
        let (mut index, mut seen, mut missing) = (0, 0, 0);
        while index < if is_bridge { 2 } else { 6 } {
            let (word, at) = (words[4 + index], tree.writable(node, 4 + index));
            let wide = word & 7 == 4;
            let high = if wide { words[5 + index] } else { 0 };
            let high_mask = if wide {
                tree.writable(node, 5 + index)
            } else {
                !0
            };
            index += 1 + usize::from(wide);
            if at == 0 && (!wide || high_mask == 0) {
                continue;
            }
            let io = word & 1 == 1;
            let flags = if io { 3 } else { 15 };
            let address = u64::from(high) << 32 | u64::from(word & !flags);
            let mask = u64::from(high_mask) << 32 | u64::from(at & !flags);
            let size = mask & mask.wrapping_neg();
            if address == 0 {
                missing |= if io { 1 } else { 2 };
                continue;
            }
            seen |= if io { 1 } else { 2 };
            assert_eq!(address % size, 0, "alignment of node {node}");
            let span = (address, address + size - 1);
            inside_all_windows(tree, node, span, io, given);
            placed.push(Placed { node, span, io });
        }
        let kinds = seen | missing;
        let expected = if is_bridge && missing != 0 {
            0
        } else {
            seen & !missing
        };
        assert_eq!(words[1] & kinds, expected, "decoding of node {node}");
    }
    for (index, one) in placed.iter().enumerate() {
        for other in &placed[..index] {
            let apart = one.span.1 < other.span.0 || other.span.1 < one.span.0;
            assert!(
                apart || one.io != other.io,
                "{:x?} of node {} and {:x?} of node {}",
                one.span,
                one.node,
                other.span,
                other.node
            );
        }
    }
    placed
}

/// Checks that each bridge above forwards `span`, and the machine too.
fn inside_all_windows(tree: &FakeTree, node: usize, span: Span, io: bool, given: &Windows) {
    let holds = |window: Span| window.0 <= span.0 && span.1 <= window.1;
    let of = |window: Window| (window.start, window.start + (window.len - 1));
    let machine = if io {
        given.io.is_some_and(|window| holds(of(window)))
    } else {
        holds(of(given.memory32)) || given.memory64.is_some_and(|window| holds(of(window)))
    };
    assert!(machine, "{span:x?} of node {node} is not in a window given");
    let mut above = tree.parent(node);
    while let Some(bridge) = above {
        let words = tree.words(bridge);
        let [memory, wide, ports] = windows(&words).map(|window| window.is_some_and(holds));
        assert!(
            if io { ports } else { memory || wide },
            "{span:x?} of node {node} is not forwarded by node {bridge}"
        );
        // A bridge whose own BAR did not fit stays off.
        let complete = tree.writable(bridge, 4) == 0 || words[4] != 0;
        let expected = if complete { MASTER_MEMORY_IO } else { 0 };
        assert_eq!(words[1] & 0b111, expected, "bridge {bridge} forwards");
        above = tree.parent(bridge);
    }
}
