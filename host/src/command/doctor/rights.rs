// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a file lets somebody do: owner, group, mode and access list.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bits of what somebody wants to do, as in the last digit of a mode.
pub(super) const EXECUTE: u32 = 1;
pub(super) const READ_WRITE: u32 = 6;
pub(super) const WRITE: u32 = 2;

/// Who a file belongs to and what it lets them do.
#[derive(Clone, Debug)]
pub(super) struct Rights {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) acl: Vec<Entry>,
}

/// An entry of an access list for a user or a group that is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    User { uid: u32, bits: u32 },
    OwningGroup { bits: u32 },
    Group { gid: u32, bits: u32 },
    Mask { bits: u32 },
}

impl Rights {
    /// Reads those of what is at `path`.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self {
            mode: metadata.mode(),
            uid: metadata.uid(),
            gid: metadata.gid(),
            acl: acl_of(path),
        })
    }

    /// Returns whether somebody with these groups may do all of `wanted` (`acl(5)`, access check algorithm).
    pub(super) fn allow(&self, uid: u32, groups: &[u32], wanted: u32) -> bool {
        // Root, who is not asked.
        if uid == 0 {
            return true;
        }
        let enough = |bits: u32| bits & wanted == wanted;
        if uid == self.uid {
            return enough(self.mode >> 6);
        }
        let mask = self.acl.iter().find_map(|entry| match entry {
            Entry::Mask { bits } => Some(*bits),
            _ => None,
        });
        let mask = mask.unwrap_or(7);
        let named = self.acl.iter().find_map(|entry| match *entry {
            Entry::User { uid: named, bits } if named == uid => Some(bits),
            _ => None,
        });
        if let Some(bits) = named {
            return enough(bits & mask);
        }
        // With a list the mode's digit for the group is the mask.
        let owning = self.acl.iter().find_map(|entry| match *entry {
            Entry::OwningGroup { bits } => Some(bits),
            _ => None,
        });
        let own = (self.gid, owning.unwrap_or(self.mode >> 3));
        let listed = self.acl.iter().filter_map(|entry| match *entry {
            Entry::Group { gid, bits } => Some((gid, bits)),
            _ => None,
        });
        let mut member = false;
        for (_, bits) in listed.chain([own]).filter(|(gid, _)| groups.contains(gid)) {
            if enough(bits & mask) {
                return true;
            }
            member = true;
        }
        !member && enough(self.mode)
    }
}

/// Reads the access list of a file, `system.posix_acl_access`; empty if there is none.
fn acl_of(path: &Path) -> Vec<Entry> {
    let mut bytes = [0; 1024];
    rustix::fs::getxattr(path, "system.posix_acl_access", &mut bytes[..])
        .ok()
        .and_then(|length| bytes.get(..length))
        .map(parse_acl)
        .unwrap_or_default()
}

/// Reads an access list: version 2 in 32 bits, then for each entry tag and bits of 16 bits, and an ID of 32.
fn parse_acl(bytes: &[u8]) -> Vec<Entry> {
    let Some((&[2, 0, 0, 0], entries)) = bytes.split_first_chunk::<4>() else {
        return Vec::new();
    };
    entries
        .chunks_exact(8)
        .filter_map(|entry| {
            let &[tag, _, bits, _, a, b, c, d] = entry else {
                return None;
            };
            let bits = u32::from(bits & 7);
            let id = u32::from_le_bytes([a, b, c, d]);
            match tag {
                0x02 => Some(Entry::User { uid: id, bits }),
                0x04 => Some(Entry::OwningGroup { bits }),
                0x08 => Some(Entry::Group { gid: id, bits }),
                0x10 => Some(Entry::Mask { bits }),
                // The owner's and the others' are in the mode.
                _ => None,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: u32 = 1000;
    const GROUP: u32 = 2000;

    fn rights(mode: u32, acl: &[Entry]) -> Rights {
        Rights {
            mode,
            uid: OWNER,
            gid: GROUP,
            acl: acl.to_vec(),
        }
    }

    #[test]
    fn the_first_class_that_fits_decides() {
        for (mode, uid, groups, allowed) in [
            (0o600, OWNER, &[][..], true),
            (0o600, 1, &[GROUP], false),
            (0o660, 1, &[GROUP], true),
            (0o660, 1, &[], false),
            (0o606, 1, &[], true),
            // Neither the owner nor the group is one of the others.
            (0o606, 1, &[GROUP], false),
            (0o066, OWNER, &[GROUP], false),
            (0o640, 1, &[GROUP], false),
            (0o000, 0, &[], true),
        ] {
            let rights = rights(mode, &[]);
            let found = rights.allow(uid, groups, READ_WRITE);
            assert_eq!(found, allowed, "{mode:o} {uid} {groups:?}");
        }
    }

    #[test]
    fn an_access_list_adds_and_masks() {
        let user = Entry::User { uid: 7, bits: 6 };
        let group = Entry::Group { gid: 8, bits: 6 };
        let owning = Entry::OwningGroup { bits: 0 };
        let mask = |bits| Entry::Mask { bits };
        for (acl, uid, groups, allowed) in [
            (&[user, owning, mask(7)][..], 7, &[][..], true),
            (&[user, owning, mask(4)], 7, &[], false),
            (&[group, owning, mask(6)], 1, &[8], true),
            (&[group, owning, mask(6)], 1, &[GROUP], false),
            (&[group, owning, mask(6)], 1, &[GROUP, 8], true),
            (&[user, owning, mask(7)], 1, &[], false),
        ] {
            let rights = rights(0o660, acl);
            let found = rights.allow(uid, groups, READ_WRITE);
            assert_eq!(found, allowed, "{acl:?} {uid} {groups:?}");
        }
    }

    #[test]
    fn the_bytes_of_an_access_list_are_read_and_others_are_none() {
        let bytes = [
            &[2, 0, 0, 0][..],
            &[1, 0, 6, 0, 0xff, 0xff, 0xff, 0xff],
            &[2, 0, 6, 0, 7, 0, 0, 0],
            &[4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
            &[8, 0, 4, 0, 0, 1, 0, 0],
            &[16, 0, 7, 0, 0xff, 0xff, 0xff, 0xff],
            &[32, 0, 0, 0],
        ]
        .concat();
        assert_eq!(
            parse_acl(&bytes),
            [
                Entry::User { uid: 7, bits: 6 },
                Entry::OwningGroup { bits: 0 },
                Entry::Group { gid: 256, bits: 4 },
                Entry::Mask { bits: 7 },
            ]
        );
        for bytes in [&[][..], &[2, 0, 0], &[1, 0, 0, 0, 2, 0, 6, 0, 7, 0, 0, 0]] {
            assert_eq!(parse_acl(bytes), []);
        }
    }
}
