// SPDX-License-Identifier: MIT OR Apache-2.0
//! Trials with a guest that writes what it is not supposed to, while others exchange checked messages.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ivshmem::channel::Format;
use ivshmem_host::mapping::Mapping;
use libtest_mimic::Failed;

use super::host::{self, HostMember};
use super::voice::{all_said, hear, progress, says, Voice};
use super::{boot, VECTORS};
use crate::guests::TestServer;
use crate::lab::{number, Lab, Need, PATIENCE};

/// The variable that gives the seed of a run before.
const SEED: &str = "IVSHMEM_SCRIBBLE_SEED";

const FORMAT: Format = Format {
    slots: 4,
    ring_log2: Some(12),
};
const WORDS: &str = "slots=4 ring=12";
const LIFETIME: Duration = Duration::from_secs(120);

pub fn trials() -> Vec<Need> {
    vec![
        Need::new("channels::a_guest_scribbles_over_its_own_rings", own_rings),
        Need::new("channels::a_guest_scribbles_over_all_but_two_rings", all),
    ]
}

/// Returns another seed in each run. The hostile guest says it, so it is in the log of a failure.
fn seed() -> Result<u64, Failed> {
    match std::env::var(SEED) {
        Ok(text) => number(&text),
        Err(_) => Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() as u64),
    }
}

/// The victims lose their connections to the hostile guest, again and again, and nothing else.
fn own_rings(lab: &Lab) -> Result<(), Failed> {
    let server = TestServer::start(1 << 20, VECTORS)?;
    let crowd = format!("what=crowd {WORDS}");
    let a = boot(lab, &server, "a", &crowd, LIFETIME)?;
    let b = boot(lab, &server, "b", &crowd, LIFETIME)?;
    let host = HostMember::join(&server, FORMAT)?;
    let words = format!("what=scribble over=own rounds=8 seed={} {WORDS}", seed()?);
    let hostile = boot(lab, &server, "hostile", &words, LIFETIME)?;
    hear(&hostile, "scribbled", &[])?;
    hostile.finish(PATIENCE)?;
    let victims: [(&dyn Voice, &str); 3] = [(&a, "b"), (&b, host::NAME), (&host, "a")];
    let mut corrupt = 0;
    for (victim, friend) in victims {
        // Everybody is well, and has been all the time.
        progress(victim, friend, "1")?;
        let of_hostile = |line: &str, word| says(line, word, &[("peer", "hostile")]);
        all_said(victim, "evicted", |_| false)?;
        all_said(victim, "forged", |line| of_hostile(line, "forged"))?;
        all_said(victim, "broken", |line| {
            of_hostile(line, "broken") && !says(line, "broken", &[("error", "none")])
        })?;
        let lines = victim.lines();
        let found = lines.iter().filter(|line| {
            says(line, "broken", &[("error", "Corrupt")]) || says(line, "forged", &[])
        });
        corrupt += found.count();
    }
    // Eight rounds before three victims: the scribbling has met somebody.
    if corrupt == 0 {
        return Err(format!("nobody has noticed anything:\n{}", hostile.report()).into());
    }
    println!("{corrupt} connections of 24 were found corrupt");
    Ok(())
}

/// The victims lose everything, and have it back when somebody wipes the memory.
fn all(lab: &Lab) -> Result<(), Failed> {
    let server = TestServer::start(1 << 20, VECTORS)?;
    let crowd = format!("what=crowd {WORDS}");
    let a = boot(lab, &server, "a", &crowd, LIFETIME)?;
    let b = boot(lab, &server, "b", &crowd, LIFETIME)?;
    progress(&a, "b", "1")?;
    progress(&b, "a", "1")?;
    let words = format!(
        "what=scribble over=all spare=a but=b seed={} {WORDS}",
        seed()?
    );
    let hostile = boot(lab, &server, "hostile", &words, LIFETIME)?;
    hear(&hostile, "scribbled", &[])?;
    hostile.finish(PATIENCE)?;
    for victim in [&a, &b] {
        hear(victim, "evicted", &[])?;
    }
    wipe(&server)?;
    // What is heard of the host is heard after that, and so is what comes then.
    let host = HostMember::join(&server, FORMAT)?;
    for (victim, friend) in [(&a, "b"), (&b, "a")] {
        for peer in [host::NAME, friend] {
            hear(victim, "progress", &[("peer", peer)])?;
        }
        hear(&host, "progress", &[("peer", victim.name())])?;
        all_said(victim, "broken", |line| {
            !says(line, "broken", &[("error", "none")])
        })?;
    }
    for victim in [&a, &b] {
        victim.send_line("leave")?;
        victim.finish(PATIENCE)?;
    }
    host.leave()
}

/// Zeroes the memory, from behind: until the header is gone nobody takes the region for blank.
fn wipe(server: &TestServer) -> Result<(), Failed> {
    const STEP: usize = 1 << 12;
    let mapping = Mapping::of(server.server.memory())?;
    let memory = mapping.memory();
    for start in (0..memory.len()).step_by(STEP).rev() {
        memory.fill(start, STEP, 0)?;
    }
    Ok(())
}
