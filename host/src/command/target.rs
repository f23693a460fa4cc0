// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who is pinged: [`Target`].

use std::fmt;
use std::str::FromStr;

use ivshmem::channel::{Evicted, Name};
use ivshmem::PeerId;
use ivshmem_host::channel::{Channels, Neighbour};

use crate::command::membership::name;

/// Whoever has this name, or else this ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    name: Name,
    /// If the text is a number.
    pub(super) id: Option<PeerId>,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self {
            name: Name::new(&name(text)?),
            id: text.parse().ok().map(PeerId),
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id {
            Some(id) => write!(f, "peer {id}"),
            None => self.name.fmt(f),
        }
    }
}

impl Target {
    /// Finds it among the members: one that lives, if there is one.
    pub(super) fn find(&self, channels: &Channels) -> Result<Option<Neighbour>, Evicted> {
        let peers = channels.peers()?;
        let among = |is: &dyn Fn(&Neighbour) -> bool| {
            let found = peers.iter().filter(|peer| is(peer));
            found.max_by_key(|peer| peer.lives).copied()
        };
        let named = among(&|peer| peer.name == self.name);
        Ok(named.or_else(|| {
            self.id
                .and_then(|id| among(&|peer| peer.device == Some(id)))
        }))
    }

    /// Says why it was not found, and what to do.
    pub(super) fn explain_absence(&self, channels: &Channels) -> String {
        match self.id {
            Some(id) if channels.doorbells().vectors_of(id).is_some() => NoMember(id).to_string(),
            Some(id) => format!(
                "peer {id} is neither connected to the server nor a member of the region; ivshmem peers lists who is"
            ),
            None => format!(
                "nobody named {} is a member of the region; ivshmem peers lists who is",
                self.name
            ),
        }
    }
}

/// A peer that is connected to the server and knows nothing of channels, as far as anybody can tell.
pub(super) struct NoMember(pub(super) PeerId);

impl fmt::Display for NoMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "peer {} is connected but is no member of the region: nobody can answer; its doorbell can be rung: --ring",
            self.0
        )
    }
}

/// A member, as lines name it.
pub(super) struct Member<'n>(pub(super) &'n Neighbour);

impl fmt::Display for Member<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = self.0;
        match peer.device {
            Some(id) => write!(f, "{} (peer {id}, slot {})", peer.name, peer.slot),
            None => write!(f, "{} (slot {})", peer.name, peer.slot),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_ids_too() {
        let target = |text: &str| text.parse::<Target>().unwrap();
        assert_eq!(target("3").id, Some(PeerId(3)));
        assert_eq!(target("3").to_string(), "peer 3");
        for text in ["guest-3", "65536", "-1", "3 "] {
            assert_eq!(target(text).id, None, "{text}");
        }
        assert!("".parse::<Target>().is_err());
        assert_eq!(target("guest\u{7}").to_string(), "guest\\x07");
    }
}
