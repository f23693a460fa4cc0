// SPDX-License-Identifier: MIT OR Apache-2.0
//! `what=tasks`: three tasks of one executor, of which one shows that the member lives, one receives and one sends.
//!
//! The interrupt handler notifies the signals where they sleep, and nobody else does while all is well.

mod executor;

use core::{
    mem,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use ivshmem::channel::{Receiver, Sender, Signal};
use ivshmem::{Ivshmem, MmioRegion};
use ivshmem_scenarios::party::{Party, Side};
use ivshmem_scenarios::traffic::{compose, examine, seed, LONGEST};
use ivshmem_scenarios::Failure;

use super::{join, messages, name};
use crate::{arch::time, exit, guest::Guest, println};

type Bell = &'static Ivshmem<MmioRegion>;
type Member = Party<'static, &'static Guest<'static>>;

/// Where the tasks sleep that receive and send.
static RECEIVING: Signal = Signal::new();
static SENDING: Signal = Signal::new();

/// How many of them are not done.
static BUSY: AtomicU32 = AtomicU32::new(0);

/// How often a doorbell has notified them.
static NOTIFIED: AtomicU64 = AtomicU64::new(0);

/// Exchanges as many checked messages as the command line says with a member of a crowd, and ends the run.
pub fn run(guest: &Guest<'_>) -> Result<(), Failure> {
    // SAFETY: what is borrowed lies on stacks that are never left from here on but with the run: the executor does not
    // return, and nothing below does but by an error, when nothing of this lifetime is left.
    let guest = unsafe { mem::transmute::<&Guest<'_>, &'static Guest<'static>>(guest) };
    let mut party = join(guest)?;
    let endpoint = party.meet(name("to")?)?;
    let messages = messages()?;
    let slot = party.find(name("to")?).ok_or("the other has left")?;
    let other = seed((slot, endpoint.incarnation()));
    let own = seed((party.member().slot(), party.member().incarnation()));
    guest.on_doorbell(|_| {
        NOTIFIED.fetch_add(1, Ordering::Relaxed);
        RECEIVING.notify();
        SENDING.notify();
    });
    let (sender, receiver) = endpoint.split();
    BUSY.store(2, Ordering::Relaxed);
    executor::run(|spawner| {
        spawner.spawn(or_fail(live(party, time::now_ns())));
        spawner.spawn(or_fail(receive(receiver, other, messages)));
        spawner.spawn(or_fail(send(sender, own, messages)));
    })
}

/// Shows that the member lives, until the other two are done.
#[embassy_executor::task]
async fn live(mut party: Member, start_ns: u64) {
    while BUSY.load(Ordering::Relaxed) > 0 {
        while or_fail(party.poll_event()).is_some() {
            // Whoever has gone does not ring.
            RECEIVING.notify();
            SENDING.notify();
        }
        executor::until(party.beat_ns()).await;
    }
    println!(
        "@ done halts={} notified={} doorbells={} ns={}",
        executor::halts(),
        NOTIFIED.load(Ordering::Relaxed),
        party.side.doorbells(),
        time::now_ns() - start_ns
    );
    party.leave();
    exit::pass()
}

#[embassy_executor::task]
async fn receive(mut receiver: Receiver<'static, Bell>, seed: u64, messages: u64) {
    let mut buffer = [0; LONGEST];
    for number in 0..messages {
        let len = or_fail(receiver.recv(&RECEIVING, &mut buffer).await);
        or_fail(examine(seed, number, &buffer[..len]));
    }
    println!("@ received messages={messages}");
    BUSY.fetch_sub(1, Ordering::Relaxed);
}

#[embassy_executor::task]
async fn send(mut sender: Sender<'static, Bell>, seed: u64, messages: u64) {
    let mut buffer = [0; LONGEST];
    for number in 0..messages {
        let message = compose(seed, number, &mut buffer);
        or_fail(sender.send(&SENDING, message).await);
    }
    println!("@ sent messages={messages}");
    BUSY.fetch_sub(1, Ordering::Relaxed);
}

/// Ends the run if something has gone wrong: a task has nobody to return an error to.
fn or_fail<T, E: Into<Failure>>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| exit::fail(format_args!("{}", error.into().as_str())))
}
