// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the measuring side asks of the serving side: [`Order`].

use ivshmem::PeerId;

use crate::party::Manner;
use crate::Failure;

/// Bytes of an order: where the asking side is rung, a kind, and two numbers.
pub(super) const ORDER_LEN: usize = 16;

/// Nobody can be rung.
const NO_PEER: u16 = u16::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Send back what comes, until it is empty.
    Echo(Manner),
    /// The same with lines of bare memory.
    BareEcho(Manner),
    /// Receive so many messages.
    Sink { count: u32 },
    /// Receive so many slots of that length from the bare stream.
    BareSink { len: usize, count: u32 },
    /// That was all.
    Bye,
}

impl Order {
    /// Returns the order as a message of one that is rung at `own`.
    pub(super) fn encode(self, own: Option<PeerId>) -> [u8; ORDER_LEN] {
        let (kind, len, count) = match self {
            Self::Echo(Manner::Doorbell) => (0, 0, 0),
            Self::Echo(Manner::Polling) => (1, 0, 0),
            Self::BareEcho(Manner::Doorbell) => (2, 0, 0),
            Self::BareEcho(Manner::Polling) => (3, 0, 0),
            Self::Sink { count } => (4, 0, count),
            Self::BareSink { len, count } => (5, len as u32, count),
            Self::Bye => (6, 0, 0),
        };
        let mut message = [0; ORDER_LEN];
        message[..2].copy_from_slice(&own.map_or(NO_PEER, |id| id.0).to_le_bytes());
        message[4..8].copy_from_slice(&u32::to_le_bytes(kind));
        message[8..12].copy_from_slice(&len.to_le_bytes());
        message[12..].copy_from_slice(&count.to_le_bytes());
        message
    }

    /// Reads an order.
    pub(super) fn decode(message: &[u8]) -> Result<Self, Failure> {
        let number = |at: usize| {
            let bytes = message.get(at..at + 4)?;
            Some(u32::from_le_bytes(bytes.try_into().ok()?))
        };
        let parts = number(4).zip(number(8)).zip(number(12));
        Ok(match parts {
            Some(((0, _), _)) => Self::Echo(Manner::Doorbell),
            Some(((1, _), _)) => Self::Echo(Manner::Polling),
            Some(((2, _), _)) => Self::BareEcho(Manner::Doorbell),
            Some(((3, _), _)) => Self::BareEcho(Manner::Polling),
            Some(((4, _), count)) => Self::Sink { count },
            Some(((5, len), count)) => Self::BareSink {
                len: len as usize,
                count,
            },
            Some(((6, _), _)) => Self::Bye,
            _ => return Err(Failure::from("an order that does not exist")),
        })
    }
}

/// Returns where whoever has sent an order, or an answer to one, is rung.
pub(super) fn peer(message: &[u8]) -> Result<Option<PeerId>, Failure> {
    let bytes = message.get(..2).and_then(|bytes| bytes.try_into().ok());
    let id = u16::from_le_bytes(bytes.ok_or("an order that is too short")?);
    Ok((id != NO_PEER).then_some(PeerId(id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_as_they_were_written() {
        let both = Manner::ALL.into_iter();
        let echoes = both.flat_map(|manner| [Order::Echo(manner), Order::BareEcho(manner)]);
        let others = [
            Order::Sink { count: 7 },
            Order::BareSink { len: 64, count: 9 },
            Order::Bye,
        ];
        for order in echoes.chain(others) {
            for own in [None, Some(PeerId(3))] {
                let message = order.encode(own);
                assert_eq!(Order::decode(&message).ok(), Some(order));
                assert_eq!(peer(&message).ok(), Some(own));
            }
        }
        assert!(Order::decode(&[0; ORDER_LEN - 1]).is_err());
        assert!(Order::decode(&[9; ORDER_LEN]).is_err());
    }
}
