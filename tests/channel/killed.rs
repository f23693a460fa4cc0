// SPDX-License-Identifier: MIT OR Apache-2.0
//! Processes that are killed at random moments, while they, and another that watches, exchange messages.

use std::collections::BTreeMap;
use std::env;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use ivshmem::channel::{Event, EventKind, Name, Region};

use crate::lab::{format, introduction, map, memory};
use crate::talk::Talker;
use crate::victim::{LIMIT, ROLE, SLOTS};

/// How many are killed, if [`KILLS`] does not say otherwise.
const DEFAULT_KILLS: u32 = 100;
/// The variable with the number.
const KILLS: &str = "IVSHMEM_CHANNEL_KILLS";
/// How long nobody is killed at most, in microseconds: longer than a namesake waits for its slot.
const LONGEST_US: u64 = 80_000;
const NAMES: [&str; 3] = ["red", "green", "blue"];

fn spawn(fd: &OwnedFd, name: &str) -> Child {
    Command::new(env::current_exe().expect("this program"))
        .env(ROLE, name)
        .stdin(Stdio::from(fd.try_clone().expect("a descriptor")))
        .spawn()
        .expect("a process")
}

/// Kills a victim, which must not have found anything wrong before.
fn kill(victim: &mut Child) {
    victim.kill().expect("SIGKILL");
    let status = victim.wait().expect("its end");
    // Or else it has grown old.
    assert!(
        status.signal() == Some(9) || status.success(),
        "a victim has failed before it was killed: {status}"
    );
}

/// Whom the watcher takes for present.
#[derive(Default)]
struct Observer {
    present: BTreeMap<u16, (u32, Name)>,
    told: [u32; 4],
}

impl Observer {
    /// Checks that an event fits the ones before.
    fn take(&mut self, event: Event) {
        let known = self.present.remove(&event.slot.0);
        self.told[event.kind as usize] += 1;
        if event.name != Name::new("") {
            assert!(NAMES.map(Name::new).contains(&event.name), "{event:?}");
        }
        match (event.kind, known) {
            (EventKind::Joined, None) => {}
            (EventKind::Restarted, before) => assert!(before
                .map_or(true, |(incarnation, name)| {
                    incarnation < event.incarnation && name == event.name
                })),
            (EventKind::Left | EventKind::Died, Some((incarnation, _))) => {
                assert_eq!(incarnation, event.incarnation);
                return;
            }
            (_, known) => panic!("{event:?} of {known:?}"),
        }
        self.present
            .insert(event.slot.0, (event.incarnation, event.name));
    }
}

pub fn at_random_moments() {
    let kills = env::var(KILLS).map_or(DEFAULT_KILLS, |kills| {
        kills.parse().expect("a number of kills")
    });
    let fd = memory(1 << 20);
    let mapping = map(&fd);
    let start = Instant::now();
    let now = || start.elapsed().as_millis() as u64;
    let mut victims = NAMES.map(|name| spawn(&fd, name));
    let region = Region::open_or_format(mapping.memory(), &format(SLOTS)).expect("a region");
    // It beats all the time, and as long as there are free slots nobody looks for one that does not.
    let mut joining = region.join(introduction("watcher", LIMIT));
    let member = loop {
        if let Poll::Ready(member) = joining.poll(now()) {
            break member.expect("room");
        }
    };
    let mut talker = Talker::new(member);
    let mut observer = Observer::default();
    let watch = |talker: &mut Talker<'_>, observer: &mut Observer| {
        let tell = |event| observer.take(event);
        talker
            .turn(now(), tell)
            .expect("the watcher is not evicted");
    };

    // A cheap generator: which moments they are matters less than that they differ.
    let mut random = u64::from(std::process::id());
    for kill in 0..kills as usize {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let moment = Instant::now() + Duration::from_micros((random >> 33) % LONGEST_US);
        while Instant::now() < moment {
            watch(&mut talker, &mut observer);
            thread::sleep(Duration::from_micros(200));
        }
        let victim = &mut victims[kill % NAMES.len()];
        self::kill(victim);
        *victim = spawn(&fd, NAMES[kill % NAMES.len()]);
    }
    for victim in &mut victims {
        self::kill(victim);
    }

    // Nobody is left within two limits of the watcher's, but for the time that the machine takes from it.
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        watch(&mut talker, &mut observer);
        // Whoever was told dead is not present.
        if observer.present.is_empty() {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "still there: {:?}",
            observer.present
        );
        thread::sleep(Duration::from_millis(1));
    }
    let [joined, left, died, restarted] = observer.told;
    println!(
        "{kills} killed in {:?}: {joined} joined, {left} left, {died} died, {restarted} restarted; \
         {} messages to the watcher, {} to the victims",
        start.elapsed(),
        talker.heard,
        talker.heard_by_others
    );
    assert!(joined > 0 && died > 0, "something was seen");
    assert!(
        talker.heard > kills.into() && talker.heard_by_others > kills.into(),
        "something was said"
    );
}
