// SPDX-License-Identifier: MIT OR Apache-2.0
//! How fast channels are between two members, beside what the bare memory and doorbells do in the same minute.
//!
//! Both sides share a [`Ground`]: a region of channels in one half of the memory, and in the other half what
//! bare references need. One side [measures](measure), the other [serves](serve). Machines of tests are moved between
//! fast and slow pairs of processors all the time, so channel and reference take turns, and a ratio is the median of those of
//! single rounds.

mod bare;
mod ground;
mod order;
mod rounds;
mod row;
mod serving;

pub use ground::Ground;
pub use row::{Row, What};
pub use serving::serve;

use ivshmem::channel::Endpoint;

use crate::party::{Manner, Party, Side};
use crate::Failure;
use bare::Bare;
use order::Order;
use rounds::{Rounds, Way};

/// Lengths of the messages whose rate is measured, and how many make a round.
const STREAMS: [(usize, u32); 4] = [(8, 20_000), (64, 20_000), (1 << 10, 2_000), (LONGEST, 60)];

/// Longest message, in bytes.
const LONGEST: usize = 64 << 10;

/// Bytes of a message that is sent there and back.
const ROUND_TRIP_LEN: usize = 64;

/// Round trips in a round.
const POLLED: usize = 1000;
const RUNG: usize = 300;

/// Room for the longest message.
pub type Buffer = [u8; LONGEST];

/// One side of a measurement.
struct Bench<'b, 'm, S: Side> {
    party: &'b mut Party<'m, S>,
    endpoint: &'b mut Endpoint<'m, S::Bell>,
    bare: Bare<'m, S::Bell>,
    buffer: &'b mut Buffer,
}

/// Measures everything with the member at `endpoint`, which serves, and tells each row.
///
/// # Errors
///
/// - The other side does not do its part.
pub fn measure<'m, S: Side>(
    party: &mut Party<'m, S>,
    endpoint: &mut Endpoint<'m, S::Bell>,
    ground: &Ground<'m>,
    buffer: &mut Buffer,
    mut tell: impl FnMut(&S, Row),
) -> Result<(), Failure> {
    let bare = Bare::new(ground, bare::Place::Asking, party.side.bell())?;
    let mut bench = Bench {
        party,
        endpoint,
        bare,
        buffer,
    };
    for manner in [Manner::Polling, Manner::Doorbell] {
        let row = bench.round_trips(manner)?;
        tell(&bench.party.side, row);
    }
    for (len, count) in STREAMS {
        let row = bench.stream(len, count)?;
        tell(&bench.party.side, row);
    }
    bench.ask(Order::Bye)
}

impl<S: Side> Bench<'_, '_, S> {
    fn round_trips(&mut self, manner: Manner) -> Result<Row, Failure> {
        let count = match manner {
            Manner::Polling => POLLED,
            Manner::Doorbell => RUNG,
        };
        let mut samples = [0; POLLED];
        let samples = &mut samples[..count];
        let mut rounds = Rounds::default();
        rounds.run(|way| {
            self.order(match way {
                Way::Channel => Order::Echo(manner),
                Way::Bare => Order::BareEcho(manner),
            })?;
            for sample in &mut *samples {
                let start_ns = self.party.side.now_ns();
                match way {
                    Way::Channel => {
                        self.send(ROUND_TRIP_LEN, manner)?;
                        self.receive(manner)?;
                    }
                    Way::Bare => {
                        self.bare.send_line(self.buffer);
                        self.bare.ring_if(manner);
                        self.bare.receive_line(self.party, self.buffer, manner)?;
                    }
                }
                let elapsed_ns = self.party.side.now_ns().saturating_sub(start_ns);
                *sample = u32::try_from(elapsed_ns).unwrap_or(u32::MAX);
            }
            match way {
                Way::Channel => self.send(0, manner)?,
                Way::Bare => {
                    self.bare.end_lines();
                    self.bare.ring_if(manner);
                }
            }
            samples.sort_unstable();
            Ok(samples[count / 2].into())
        })?;
        let what = What::RoundTrip(manner);
        Ok(rounds.row(what, ROUND_TRIP_LEN, |ns| ns))
    }

    fn stream(&mut self, len: usize, count: u32) -> Result<Row, Failure> {
        let mut rounds = Rounds::default();
        rounds.run(|way| {
            self.order(match way {
                Way::Channel => Order::Sink { count },
                Way::Bare => Order::BareSink { len, count },
            })?;
            let start_ns = self.party.side.now_ns();
            for _ in 0..count {
                match way {
                    Way::Channel => self.send(len, Manner::Polling)?,
                    Way::Bare => self.bare.send_slot(self.party, &self.buffer[..len])?,
                }
            }
            // The answer says that all is received.
            self.receive(Manner::Polling)?;
            Ok(self.party.side.now_ns().saturating_sub(start_ns))
        })?;
        let per_second = |ns: u64| u64::from(count) * 1_000_000_000 / ns.max(1);
        Ok(rounds.row(What::Stream, len, per_second))
    }

    /// Gives an order and waits until it is understood.
    fn order(&mut self, order: Order) -> Result<(), Failure> {
        self.ask(order)?;
        let len = self.receive(Manner::Doorbell)?;
        self.bare.set_other(order::peer(&self.buffer[..len])?);
        self.bare.forget();
        Ok(())
    }

    /// Sends an order, or the answer to one.
    fn ask(&mut self, order: Order) -> Result<(), Failure> {
        let device = self.party.side.device();
        let message = order.encode(device.map(|(id, _)| id));
        let sender = self.endpoint.sender();
        self.party.send(sender, &message, Manner::Doorbell)
    }

    fn send(&mut self, len: usize, manner: Manner) -> Result<(), Failure> {
        let sender = self.endpoint.sender();
        self.party.send(sender, &self.buffer[..len], manner)
    }

    fn receive(&mut self, manner: Manner) -> Result<usize, Failure> {
        let receiver = self.endpoint.receiver();
        self.party.receive(receiver, self.buffer, manner)
    }
}
