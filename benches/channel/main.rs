// SPDX-License-Identifier: MIT OR Apache-2.0
//! Channels against what they are made of, and against the rings of other crates.
mod bare;
mod case;
mod cores;
mod others;
mod ours;

use case::{Case, Contender, Rig};
use cores::{Cores, Placement};

/// Bytes of every ring that is compared.
pub const RING_LEN: usize = 1 << 20;

fn rig<C: Contender + 'static>(len: usize) -> Box<dyn Case> {
    Box::new(Rig::<C>::new(len))
}

fn cases<const N: usize, const I: usize>() -> Vec<(&'static str, Box<dyn Case>)> {
    vec![
        ("bare slot", rig::<bare::Slot>(N)),
        ("bare stream", rig::<bare::Stream>(N)),
        ("ours", rig::<ours::Copying>(N)),
        ("ours batch", rig::<ours::Batched>(N)),
        ("rtrb", rig::<others::Rtrb>(N)),
        ("ringbuf", rig::<others::Ringbuf>(N)),
        ("bbqueue", rig::<others::Bbqueue>(N)),
        ("ArrayQueue", rig::<others::ArrayQueue<N>>(N)),
        ("heapless", rig::<others::Heapless<N, I>>(N)),
    ]
}

fn main() {
    let cores = Cores::take().expect("cores");
    let rounds = 9;
    let only = std::env::var("ONLY").ok();
    for (len, mut cases, count) in [
        (8, cases::<8, 131072>(), 100_000),
        (64, cases::<64, 16384>(), 50_000),
        (1024, cases::<1024, 1024>(), 10_000),
        (65536, cases::<65536, 16>(), 300),
    ] {
        for trip in [true, false] {
            if trip && len != 64 {
                continue;
            }
            if let Some(o) = &only {
                if *o != format!("{len}{}", if trip { "t" } else { "s" }) {
                    continue;
                }
            }
            let mut samples: Vec<Vec<(Placement, f64)>> = cases.iter().map(|_| vec![]).collect();
            for _ in 0..rounds {
                for (i, (name, case)) in cases.iter_mut().enumerate() {
                    if !trip && *name == "bare slot" {
                        continue;
                    }
                    let d = cores.distance();
                    let before = Placement::of(d);
                    if i == 0 {
                        print!("{d:.0} ");
                    }
                    let ns = if trip {
                        case.round_trip(cores, 20_000)
                    } else {
                        case.stream(cores, count)
                    };
                    let after = Placement::of(cores.distance());
                    if before == after {
                        samples[i].push((before, ns));
                    }
                }
            }
            println!("--- {len} {}", if trip { "round trip" } else { "stream" });
            for ((name, _), s) in cases.iter().zip(&samples) {
                for p in [Placement::Smt, Placement::Near, Placement::Far] {
                    let mut v: Vec<f64> = s.iter().filter(|x| x.0 == p).map(|x| x.1).collect();
                    if v.is_empty() {
                        continue;
                    }
                    v.sort_by(f64::total_cmp);
                    println!(
                        "{name:12} {:5} n={} min {:.1} med {:.1}",
                        p.name(),
                        v.len(),
                        v[0],
                        v[v.len() / 2]
                    );
                }
            }
        }
    }
}
