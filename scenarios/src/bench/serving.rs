// SPDX-License-Identifier: MIT OR Apache-2.0
//! The side that answers: [`serve`].

use ivshmem::channel::Endpoint;

use super::bare::{Bare, Place};
use super::order::{self, Order};
use super::{Bench, Buffer, Ground};
use crate::party::{Manner, Party, Side};
use crate::{ensure, Failure};

/// Does the other part of [`measure`](super::measure), for the member at `endpoint`.
///
/// # Errors
///
/// - The other side does not do its part.
pub fn serve<'m, S: Side>(
    party: &mut Party<'m, S>,
    endpoint: &mut Endpoint<'m, S::Bell>,
    ground: &Ground<'m>,
    buffer: &mut Buffer,
) -> Result<(), Failure> {
    let bare = Bare::new(ground, Place::Serving, party.side.bell())?;
    let mut bench = Bench {
        party,
        endpoint,
        bare,
        buffer,
    };
    loop {
        let order = bench.next_order()?;
        match order {
            Order::Echo(manner) => bench.echo(manner)?,
            Order::BareEcho(manner) => bench.bare_echo(manner)?,
            Order::Sink { count } => {
                for _ in 0..count {
                    bench.receive(Manner::Polling)?;
                }
                bench.send(0, Manner::Polling)?;
            }
            Order::BareSink { len, count } => {
                ensure(
                    (1..=bench.buffer.len()).contains(&len),
                    format_args!("slots of {len} bytes"),
                )?;
                for _ in 0..count {
                    bench
                        .bare
                        .receive_slot(bench.party, &mut bench.buffer[..len])?;
                }
                bench.send(0, Manner::Polling)?;
            }
            Order::Bye => return Ok(()),
        }
    }
}

impl<S: Side> Bench<'_, '_, S> {
    /// Waits for an order, and says that it is understood.
    fn next_order(&mut self) -> Result<Order, Failure> {
        let len = self.receive(Manner::Doorbell)?;
        let message = &self.buffer[..len];
        let order = Order::decode(message)?;
        self.bare.set_other(order::peer(message)?);
        self.bare.begin();
        // Whoever leaves after this shall leave nothing behind that a newcomer in its slot could take away.
        if order != Order::Bye {
            self.ask(order)?;
        }
        Ok(order)
    }

    fn echo(&mut self, manner: Manner) -> Result<(), Failure> {
        loop {
            let len = self.receive(manner)?;
            if len == 0 {
                return Ok(());
            }
            self.send(len, manner)?;
        }
    }

    fn bare_echo(&mut self, manner: Manner) -> Result<(), Failure> {
        while self.bare.receive_line(self.party, self.buffer, manner)? {
            self.bare.send_line(self.buffer);
            self.bare.ring_if(manner);
        }
        Ok(())
    }
}
