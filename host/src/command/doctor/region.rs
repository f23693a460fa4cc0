// SPDX-License-Identifier: MIT OR Apache-2.0
//! What stands in the memory: the region of the channels, if it is one, and whether its members live.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use ivshmem::channel::inspect::{Contents, Inspection, Presence, Problem, SlotLook, Source};

use super::finding::{Code, Finding};
use super::server::plural;
use crate::command::region::findings as settled;

/// How long a member may take until its heartbeat has moved. Those of host processes beat four times a second.
pub(super) const LIFE_LIMIT: Duration = Duration::from_secs(2);

/// How often it is looked whether all have.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// How many corruptions are told one by one.
const MOST: usize = 8;

/// A file that is read word by word: to map it would fill its holes with pages.
#[derive(Debug)]
pub(super) struct Words {
    file: File,
    len: usize,
}

impl Words {
    pub(super) fn of(file: File) -> std::io::Result<Self> {
        let len = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        Ok(Self { file, len })
    }
}

impl Source for Words {
    fn len(&self) -> usize {
        self.len
    }

    fn load(&self, offset: usize) -> u64 {
        let mut bytes = [0; 8];
        match self.file.read_exact_at(&mut bytes, offset as u64) {
            Ok(()) => u64::from_le_bytes(bytes),
            // Past its end, or it was cut short meanwhile.
            Err(_) => 0,
        }
    }
}

/// Checks the memory that `source` reads, and gives its members `limit` to show life.
pub(super) fn check(place: &Path, source: &impl Source, limit: Duration) -> Vec<Finding> {
    let inspection = Inspection::of(source);
    match inspection.header().contents {
        Contents::Blank => vec![Finding::fine(
            Code::RegionBlank,
            place.display(),
            "the memory is blank: the first member of channels will format it",
        )],
        Contents::Unreadable => unreadable(place, &inspection),
        Contents::Region(division) => {
            let mut findings = corruption(place, &inspection);
            let members = occupants(&inspection);
            let dead = dead(&inspection, &members, limit);
            findings.extend(deaths(place, &dead));
            findings.extend(fullness(place, members.len(), dead.len(), division.slots));
            if findings.is_empty() {
                let what = format!(
                    "a region of {} slots, {} of them taken, all alive; nothing is wrong with it",
                    division.slots,
                    members.len()
                );
                findings.push(Finding::fine(Code::RegionFine, place.display(), what));
            }
            findings
        }
    }
}

fn unreadable<S: Source>(place: &Path, inspection: &Inspection<S>) -> Vec<Finding> {
    let mut findings = Vec::new();
    inspection.check(|found| {
        let (code, cure) = match found.problem {
            // Said of the file or the server.
            Problem::BadSize { .. } => return,
            Problem::ForeignRegion { .. } => (
                Code::RegionForeign,
                "if that is meant, nothing; if it is for channels, remove the file or have it formatted anew",
            ),
            Problem::UnknownVersion { .. } => (
                Code::RegionVersion,
                "use the same release on all sides",
            ),
            _ => (
                Code::RegionCorrupt,
                "end all members and start with fresh memory (remove the file, restart the server)",
            ),
        };
        findings.push(Finding::new(code, place.display(), found.problem.to_string(), cure));
    });
    findings
}

/// What is wrong with the words of a region.
fn corruption<S: Source>(place: &Path, inspection: &Inspection<S>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut more = 0;
    for found in settled(inspection) {
        let (code, cure) = match found.problem {
            Problem::SizeMismatch { .. } => (
                Code::RegionSize,
                "give it the size that it was formatted for, on all sides; or start with fresh memory",
            ),
            Problem::MagicMissing => (
                Code::RegionUnfinished,
                "nothing: the next member finishes it",
            ),
            _ if findings.len() >= MOST => {
                more += 1;
                continue;
            }
            _ => (
                Code::RegionCorrupt,
                "ivshmem dump shows all of it; restart the members concerned, or start with fresh memory",
            ),
        };
        let what = format!(
            "at byte {:#x} ({:?}): {}",
            found.offset, found.part, found.problem
        );
        findings.push(Finding::new(code, place.display(), what, cure));
    }
    if more > 0 {
        findings.push(Finding::new(
            Code::RegionCorrupt,
            place.display(),
            format!("and {}", plural(more, "further corruption")),
            "ivshmem dump shows them",
        ));
    }
    findings
}

fn occupants<S: Source>(inspection: &Inspection<S>) -> Vec<SlotLook> {
    inspection
        .slots()
        .filter(|slot| slot.presence != Presence::Free)
        .collect()
}

/// Returns those of `before` that are there unchanged until `limit` has passed.
fn dead<S: Source>(
    inspection: &Inspection<S>,
    before: &[SlotLook],
    limit: Duration,
) -> Vec<SlotLook> {
    let deadline = Instant::now() + limit;
    let mut silent = before.to_vec();
    loop {
        silent.retain(|look| {
            inspection
                .slot(look.slot)
                .is_some_and(|now| now.word == look.word && now.heartbeat == look.heartbeat)
        });
        let left = deadline.saturating_duration_since(Instant::now());
        if silent.is_empty() || left.is_zero() {
            return silent;
        }
        thread::sleep(left.min(LOOK_INTERVAL));
    }
}

fn deaths(place: &Path, dead: &[SlotLook]) -> Vec<Finding> {
    if dead.is_empty() {
        return Vec::new();
    }
    let names: Vec<_> = dead
        .iter()
        .map(|look| {
            let name = look.identity.map(|identity| identity.name.to_string());
            format!("{} ({})", look.slot.0, name.as_deref().unwrap_or("joining"))
        })
        .collect();
    vec![Finding::new(
        Code::MembersDead,
        place.display(),
        format!("no life for {} s in slot {}", LIFE_LIMIT.as_secs(), names.join(", ")),
        "see whether these programs or machines are stopped or dead; a newcomer takes over the slot of a dead one when it needs it",
    )]
}

fn fullness(place: &Path, taken: usize, dead: usize, slots: u16) -> Vec<Finding> {
    if taken < usize::from(slots) {
        return Vec::new();
    }
    vec![Finding::new(
        Code::SlotsFull,
        place.display(),
        format!("all {slots} slots are taken, {dead} of them by the dead: the next to join waits for one to die, or fails"),
        "end a member, or format fresh memory with more slots",
    )]
}

#[cfg(test)]
mod tests {
    use super::*;
    use ivshmem::channel::{Format, Introduction, Name, Region};
    use ivshmem_host::channel::Options;
    use ivshmem_host::mapping::Mapping;
    use rustix::fs::{ftruncate, memfd_create, MemfdFlags};
    use std::os::fd::OwnedFd;
    use std::task::Poll;

    const LEN: u64 = 1 << 16;

    fn memory() -> OwnedFd {
        let memory = memfd_create("region", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&memory, LEN).unwrap();
        memory
    }

    /// Ample for a heartbeat on a busy machine.
    const LIMIT: Duration = Duration::from_secs(20);

    fn codes(memory: &OwnedFd) -> Vec<Code> {
        within(memory, Duration::from_millis(1))
    }

    fn within(memory: &OwnedFd, limit: Duration) -> Vec<Code> {
        let words = Words::of(memory.try_clone().unwrap().into()).unwrap();
        let findings = check(Path::new("/m"), &words, limit);
        findings.iter().map(|finding| finding.code).collect()
    }

    /// A region of two slots.
    fn region() -> OwnedFd {
        let memory = memory();
        let mapping = Mapping::of(&memory).unwrap();
        let format = Format {
            slots: 2,
            ring_log2: None,
        };
        Region::open_or_format(mapping.memory(), &format).unwrap();
        memory
    }

    /// Has a member join that never beats, like a process that was killed.
    fn join_and_die(memory: &OwnedFd) {
        let mapping = Mapping::of(memory).unwrap();
        let region = Region::open(mapping.memory()).unwrap();
        let mut joining = region.join(Introduction {
            name: Name::new("member"),
            device: None,
            vectors: 0,
            limit: 1000,
        });
        match joining.poll(0) {
            // Dropped, it does not leave.
            Poll::Ready(member) => assert!(member.is_ok()),
            Poll::Pending => panic!("there is a free slot"),
        }
    }

    fn write(memory: &OwnedFd, offset: u64, word: u64) {
        rustix::io::pwrite(memory, &word.to_le_bytes(), offset).unwrap();
    }

    #[test]
    fn regions_in_order_and_memory_that_is_none() {
        assert_eq!(codes(&memory()), [Code::RegionBlank]);
        assert_eq!(codes(&region()), [Code::RegionFine]);
        let foreign = memory();
        write(&foreign, 0, 0x1234);
        assert_eq!(codes(&foreign), [Code::RegionForeign]);
    }

    #[test]
    fn damage_of_each_kind_is_found() {
        // The geometry's top byte is the version.
        type Damage = dyn Fn(&OwnedFd);
        let cases: [(&Damage, &[Code]); 4] = [
            (
                &|memory| ftruncate(memory, LEN * 2).unwrap(),
                &[Code::RegionSize],
            ),
            (&|memory| write(memory, 0, 0), &[Code::RegionUnfinished]),
            (&|memory| write(memory, 8, u64::MAX), &[Code::RegionVersion]),
            (
                &|memory| write(memory, 0x80, u64::MAX),
                &[Code::RegionCorrupt],
            ),
        ];
        for (damage, expected) in cases {
            let memory = region();
            damage(&memory);
            assert_eq!(codes(&memory), expected);
        }
    }

    #[test]
    fn the_dead_are_told() {
        let memory = region();
        join_and_die(&memory);
        assert_eq!(codes(&memory), [Code::MembersDead]);
    }

    #[test]
    fn the_living_are_not_dead_and_the_lack_of_slots_is_told() {
        let memory = region();
        let join = |name| Options::new(name).join_memory(&memory).unwrap();
        let _one = join("one");
        assert_eq!(within(&memory, LIMIT), [Code::RegionFine]);
        let _other = join("other");
        assert_eq!(within(&memory, LIMIT), [Code::SlotsFull]);
    }
}
