// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the doctor finds: a code for good, where, what, and what to do.

use std::fmt;

use clap::ValueEnum;
use serde::{Serialize, Serializer};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::command) enum Level {
    /// As it should be, or not applicable here.
    Ok,
    /// Works, but could be better or surprise later.
    Hint,
    /// Works not as it seems, or not for long.
    Warning,
    /// Does not work.
    Error,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Hint => "hint",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// What is found. The number is for good; `docs/doctor.md` has the meaning and the cure of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[repr(u16)]
pub(in crate::command) enum Code {
    // The socket and the server behind it.
    SocketFine = 100,
    SocketMissing = 101,
    SocketNotOne = 102,
    SocketStale = 103,
    LockStale = 104,
    LockHeld = 105,
    ServerForeign = 106,
    ServerVersion = 107,
    ServerSilent = 108,
    ServerFull = 109,
    ServerCloses = 110,
    ServerMemory = 111,
    ServerBreach = 112,
    DescriptorLimit = 113,
    DoorbellsPending = 114,
    ServerOpaque = 115,
    ClientNotReading = 116,
    IdsRunningOut = 117,
    ServerAbsent = 118,
    // The memory: files and file systems.
    MemoryFine = 200,
    FileMissing = 201,
    FileNotOne = 202,
    FileSize = 203,
    FileOnDisk = 204,
    FileSystemTooSmall = 205,
    FileSystemFull = 206,
    ShmNotMounted = 207,
    HugePagesMissing = 208,
    HugePageSize = 209,
    ProtectedRegular = 210,
    FileSystemReadOnly = 211,
    // Who may.
    AccessFine = 300,
    SocketDenied = 301,
    DirectoryDenied = 302,
    FileDenied = 303,
    GroupNotYet = 304,
    OpenToAll = 305,
    // AppArmor and SELinux.
    ConfinementFine = 400,
    AppArmorRule = 401,
    SelinuxContext = 402,
    // The program QEMU.
    QemuFine = 500,
    QemuMissing = 501,
    QemuBroken = 502,
    QemuWithoutDevice = 503,
    KvmUnusable = 504,
    QemuOld = 505,
    QemuNamedMissing = 506,
    // A command line of QEMU.
    LineFine = 600,
    LineSyntax = 601,
    OldDevice = 602,
    UnknownProperty = 603,
    MemdevMissing = 604,
    MemdevUnknown = 605,
    MemdevNotMemory = 606,
    ShareOff = 607,
    BackendPrivate = 608,
    BackendSize = 609,
    BackendIncomplete = 610,
    FileTooSmall = 611,
    FileTooLarge = 612,
    BackendReadOnly = 613,
    BackendTwice = 614,
    FileWillBeCreated = 615,
    PathIsDirectory = 616,
    FileNoPlace = 617,
    ChardevMissing = 620,
    ChardevUnknown = 621,
    ChardevKind = 622,
    ChardevReconnect = 623,
    ChardevServer = 624,
    ChardevTwice = 625,
    VectorsTooMany = 626,
    VectorsTooManyKvm = 627,
    VectorsTooFew = 628,
    VectorsRange = 629,
    IoeventfdOff = 630,
    NoPciBus = 631,
    MasterNotFirst = 632,
    MasterMustBeFirst = 633,
    NotMigratable = 634,
    OneMaster = 635,
    RunAs = 636,
    ConfigNotRead = 637,
    LargeBar = 638,
    NoDevice = 639,
    DuplicateId = 640,
    Frozen = 641,
    KvmAsked = 642,
    PropertyValue = 643,
    UnknownDevice = 644,
    // What stands in the memory.
    RegionFine = 700,
    RegionBlank = 701,
    RegionForeign = 702,
    RegionVersion = 703,
    RegionCorrupt = 704,
    RegionSize = 705,
    MembersDead = 706,
    SlotsFull = 707,
    RegionUnfinished = 708,
    // Inside a guest.
    GuestFine = 800,
    GuestNoDriver = 801,
    GuestDecodeOff = 802,
    GuestBarMissing = 803,
    GuestBusMasterOff = 804,
    GuestOldDevice = 805,
    GuestIncomplete = 806,
}

impl Code {
    /// Returns how bad this is.
    pub(in crate::command) const fn level(self) -> Level {
        match self {
            Self::SocketFine
            | Self::MemoryFine
            | Self::AccessFine
            | Self::ConfinementFine
            | Self::QemuFine
            | Self::LineFine
            | Self::RegionFine
            | Self::RegionBlank
            | Self::GuestFine => Level::Ok,
            Self::LockStale
            | Self::ServerOpaque
            | Self::ServerAbsent
            | Self::FileOnDisk
            | Self::ProtectedRegular
            | Self::OpenToAll
            | Self::AppArmorRule
            | Self::SelinuxContext
            | Self::QemuMissing
            | Self::KvmUnusable
            | Self::QemuOld
            | Self::FileWillBeCreated
            | Self::VectorsTooFew
            | Self::OneMaster
            | Self::RunAs
            | Self::ConfigNotRead
            | Self::LargeBar
            | Self::Frozen
            | Self::RegionForeign
            | Self::GuestNoDriver
            | Self::GuestOldDevice => Level::Hint,
            Self::DescriptorLimit
            | Self::DoorbellsPending
            | Self::ClientNotReading
            | Self::IdsRunningOut
            | Self::FileSystemFull
            | Self::ShmNotMounted
            | Self::GroupNotYet
            | Self::BackendPrivate
            | Self::FileTooLarge
            | Self::VectorsTooMany
            | Self::IoeventfdOff
            | Self::MasterMustBeFirst
            | Self::NoDevice
            | Self::MembersDead
            | Self::SlotsFull
            | Self::RegionUnfinished
            | Self::GuestDecodeOff
            | Self::GuestBusMasterOff => Level::Warning,
            _ => Level::Error,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "D{}", *self as u16)
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One thing that was looked at, and what is to be said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::command) struct Finding {
    /// What it is.
    pub(in crate::command) code: Code,
    /// Where: a path, an option of a command line, a device.
    pub(in crate::command) place: String,
    /// What is so.
    pub(in crate::command) what: String,
    /// What to do; empty where nothing is to be done.
    pub(in crate::command) cure: String,
}

impl Finding {
    /// Creates a finding about which nothing is to be done.
    pub(super) fn fine(code: Code, place: impl ToString, what: impl Into<String>) -> Self {
        Self::new(code, place, what, "")
    }

    /// Creates a finding.
    pub(super) fn new(
        code: Code,
        place: impl ToString,
        what: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self {
            code,
            place: place.to_string(),
            what: what.into(),
            cure: cure.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of the table in `docs/doctor.md`: code and level.
    fn documented() -> Vec<(String, String)> {
        let page = include_str!("../../../../docs/doctor.md");
        page.lines()
            .filter_map(|line| line.strip_prefix("| D"))
            .map(|row| {
                let mut cells = row.split('|').map(str::trim);
                let mut next = || cells.next().unwrap_or_default().to_owned();
                (format!("D{}", next()), next())
            })
            .collect()
    }

    #[test]
    fn every_code_is_documented_with_its_level_and_no_other_is() {
        let codes: Vec<_> = Code::value_variants()
            .iter()
            .map(|code| (code.to_string(), code.level().to_string()))
            .collect();
        assert_eq!(documented(), codes);
    }
}
