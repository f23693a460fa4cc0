// SPDX-License-Identifier: MIT OR Apache-2.0
//! Assignment over random hierarchies and random registers.

use crate::support::bus::FakeFunction;
use crate::support::hierarchy::{check, WINDOWS};
use crate::support::tree::FakeTree;
use ivshmem::pci::{assign, AssignError, Buses};

/// Numbers that look random and are the same in every run (xorshift64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

#[test]
fn random_hierarchies_have_no_overlaps_and_forward_everything() {
    let mut placed = 0;
    for seed in 1..=400 {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        let tree = FakeTree::default();
        let mut bridges = vec![None];
        let mut used = std::collections::BTreeSet::new();
        for _ in 0..dice.below(40) {
            let parent = bridges[dice.below(bridges.len() as u64) as usize];
            let slot = dice.below(32) as u8;
            if !used.insert((parent, slot)) {
                continue;
            }
            if dice.below(2) == 0 {
                let wide = dice.below(4) > 0;
                let function = FakeFunction::new(1, 1).blank_bridge(wide, dice.below(2) == 0);
                let size = 1 << (4 + dice.below(18));
                bridges.push(Some(tree.add(
                    parent,
                    (slot, 0),
                    function.memory32(0, 0, size),
                )));
            } else {
                let function = FakeFunction::new(1, 2)
                    .memory64(0, 0, 1 << (4 + dice.below(30)))
                    .memory32(2, 0, 1 << (4 + dice.below(22)))
                    .io(3, 0, 1 << (2 + dice.below(8)))
                    .memory64(4, 0, 1 << (4 + dice.below(34)));
                tree.add(parent, (slot, 0), function);
            }
        }
        let result = assign(&tree.space(), Buses::ALL, &WINDOWS);
        placed += check(&tree, &WINDOWS).len();
        if let Err(error) = result {
            assert!(matches!(error, AssignError::NoSpace { .. }), "{error}");
        }
    }
    assert!(placed > 5000, "{placed} BARs show little");
}

#[test]
fn random_configuration_space_neither_panics_nor_takes_for_ever() {
    for seed in 1..=200 {
        let mut dice = Dice(0x2545_f491_4f6c_dd1d_u64.wrapping_mul(seed));
        let tree = FakeTree::with_conflicts();
        let mut parents = vec![None];
        for _ in 0..20 {
            let parent = parents[dice.below(parents.len() as u64) as usize];
            let slot = dice.below(32) as u8;
            let mut function = FakeFunction::new(1, 1);
            for word in 1..64 {
                function.words[word] = dice.below(1 << 32) as u32;
                function.writable[word] = dice.below(1 << 32) as u32;
            }
            // Decoding can be turned off, without which no BAR may be touched.
            function.writable[1] = 0x0547;
            function.words[3] = (dice.below(2) as u32) << 16 | (dice.below(2) as u32) << 23;
            // Without memory addresses, which would be left alone.
            let bars = if function.words[3] >> 16 & 1 == 1 {
                2
            } else {
                6
            };
            for word in 4..4 + bars {
                function.words[word] &= 0xf;
            }
            parents.push(Some(tree.add(parent, (slot, 0), function)));
        }
        let _ = assign(&tree.space(), Buses::ALL, &WINDOWS);
        assert!(*tree.accesses.borrow() < 5_000_000);
    }
}
