// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages exchanged through a channel, with interrupts as hints: whatever becomes of those, no message is lost.

use std::task::Poll;

use ivshmem::channel::{Doorbell, Endpoint, Format, Introduction, Member, Name, Region, Wait};
use ivshmem::{Ivshmem, PeerId, SharedMemory, VectorIndex};
use ivshmem_scenarios::{ensure_eq, Failure};
use libtest_mimic::{Failed, Trial};

use crate::board::Window;
use crate::course::Course;
use crate::hub::Hub;
use crate::scene::{scene, Scene, RUNG};
use crate::setup::Setup;

const FORMAT: Format = Format {
    slots: 2,
    ring_log2: Some(8),
};
const MESSAGES: u32 = 60;
/// The messages during which the guest takes no interrupts.
const DEAF: std::ops::Range<u32> = 20..40;
/// How long the guest sleeps without an interrupt before it looks for itself, in ticks.
const LOOK: u32 = 40;
/// How long it waits for an answer before it gives a peer up.
const PATIENCE: u32 = 4 * LOOK;

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for flavour in Setup::flavours().filter(|flavour| flavour.has_server()) {
        for course in [Course::Prompt].into_iter().chain(Course::FAULTS) {
            let name = format!("exchange::with_{}_{}", flavour.name(), course.name());
            let setup = Setup {
                id: 5,
                course,
                ..Setup::new(flavour)
            };
            trials.push(Trial::test(name, move || exchange(setup)));
        }
        let name = format!("exchange::with_{}_whose_peer_dies", flavour.name());
        trials.push(Trial::test(name, move || dies(Setup::new(flavour))));
    }
    trials
}

/// All messages are answered, in order and once; and no answer has to be looked for that an interrupt announces.
fn exchange(setup: Setup) -> Result<(), Failed> {
    scene(setup, |scene| {
        let (mut guest, mut host) = meet(&scene)?;
        let mut looked = 0;
        for number in 0..MESSAGES {
            if number == DEAF.start {
                scene.set_deaf()?;
            }
            if number == DEAF.end {
                scene.set_hearing()?;
            }
            guest.say(number)?;
            let how = guest.answer(&mut host, number)?;
            looked += u32::from(how == How::Looked);
        }
        let deaf = DEAF.len() as u32;
        let expected = match setup.course {
            // Every other one, but for those that the device kept to itself.
            Course::Lossy => deaf + (MESSAGES - deaf) / 2,
            _ => deaf,
        };
        ensure_eq("answers that nobody told of", looked, expected)?;
        ensure_eq("answered", host.answered, MESSAGES)
    })
}

/// A guest whose peer dies in the middle notices that no answer comes, in time; its device goes on.
fn dies(setup: Setup) -> Result<(), Failed> {
    scene(setup, |scene| {
        let (mut guest, mut host) = meet(&scene)?;
        guest.say(0)?;
        guest.answer(&mut host, 0)?;
        guest.say(1)?;
        scene.machine.hub.leave(scene.peer.0);
        host.is_dead = true;
        let answer = guest.answer(&mut host, 1).map(drop);
        ensure_eq(
            "the answer",
            answer.map_err(|failure| failure.as_str().to_string()),
            Err(SILENT.into()),
        )?;
        scene.is_heard()
    })
}

/// What the guest says of a peer that does not answer.
const SILENT: &str = "the peer does not answer";

impl Scene<'_> {
    /// Has the device keep its interrupts to itself.
    fn set_deaf(&self) -> Result<(), Failure> {
        match self.device.msix() {
            Ok(msix) => Ok(msix.mask(VectorIndex(RUNG))?),
            Err(_) => {
                self.device.intx()?.disable();
                Ok(())
            }
        }
    }

    /// Ends that.
    fn set_hearing(&self) -> Result<(), Failure> {
        match self.device.msix() {
            Ok(msix) => Ok(msix.unmask(VectorIndex(RUNG))?),
            Err(_) => {
                self.device.intx()?.enable();
                Ok(())
            }
        }
    }
}

/// How the guest has learned of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// By an interrupt.
    Told,
    /// By looking for it.
    Looked,
}

/// Joins as the owner of `device`, which is rung by vector [`RUNG`] alone.
fn join<'m>(memory: SharedMemory<'m>, name: &str, device: u16) -> Result<Member<'m>, Failure> {
    let region = Region::open_or_format(memory, &FORMAT)?;
    let mut joining = region.join(Introduction {
        name: Name::new(name),
        device: Some(PeerId(device)),
        vectors: RUNG + 1,
        limit: u64::MAX,
    });
    match joining.poll(0) {
        Poll::Ready(member) => Ok(member?),
        Poll::Pending => Err(Failure::from("somebody of that name is there")),
    }
}

/// Meets the only other member.
fn connect<'m, D: Doorbell + Clone>(
    member: &mut Member<'m>,
    doorbell: D,
) -> Result<Endpoint<'m, D>, Failure> {
    let joined = member.poll_event(0)?.ok_or("nobody is there")?;
    Ok(member.connect(joined.slot, doorbell)?)
}

/// Has the next message announced by a doorbell.
fn arm<D: Doorbell>(endpoint: &mut Endpoint<'_, D>) -> Result<(), Failure> {
    ensure_eq("how to wait", endpoint.receiver().arm()?, Wait::UntilRung)
}

/// The driver's side.
struct Guest<'s> {
    scene: &'s Scene<'s>,
    endpoint: Endpoint<'s, &'s Ivshmem<Window>>,
}

impl<'s> Guest<'s> {
    fn say(&mut self, number: u32) -> Result<(), Failure> {
        self.endpoint.sender().try_send(&number.to_le_bytes())?;
        arm(&mut self.endpoint)
    }

    /// Sleeps until an interrupt comes or it is time to look, and takes the answer if there is one.
    fn answer(&mut self, host: &mut Host<'_>, number: u32) -> Result<How, Failure> {
        let mut heard = self.scene.heard();
        for tick in 1..=PATIENCE {
            self.scene.machine.board.tick();
            host.serve()?;
            let now = self.scene.heard();
            let how = if now != heard {
                How::Told
            } else if tick % LOOK == 0 {
                How::Looked
            } else {
                continue;
            };
            heard = now;
            let mut text = [0; 4];
            if self.endpoint.receiver().try_recv(&mut text)?.is_some() {
                ensure_eq("the answer", u32::from_le_bytes(text), !number)?;
                return Ok(how);
            }
        }
        Err(Failure::from(SILENT))
    }
}

/// The doorbells of the host.
#[derive(Clone, Copy)]
struct HubBell<'s>(&'s Hub);

impl Doorbell for HubBell<'_> {
    fn ring(&self, peer: PeerId, vector: VectorIndex) {
        self.0.ring(peer.0, vector.0);
    }
}

/// A peer on the host, which answers each message once it is rung.
struct Host<'s> {
    scene: &'s Scene<'s>,
    endpoint: Endpoint<'static, HubBell<'s>>,
    answered: u32,
    is_dead: bool,
}

impl Host<'_> {
    fn serve(&mut self) -> Result<(), Failure> {
        if self.is_dead || self.scene.peer.1.take() == 0 {
            return Ok(());
        }
        let mut text = [0; 4];
        let len = self.endpoint.receiver().try_recv(&mut text)?;
        ensure_eq("bytes that were rung for", len, Some(text.len()))?;
        let answer = !u32::from_le_bytes(text);
        self.answered += 1;
        self.endpoint.sender().try_send(&answer.to_le_bytes())?;
        arm(&mut self.endpoint)
    }
}

/// Has both sides join and connect.
fn meet<'s>(scene: &'s Scene<'s>) -> Result<(Guest<'s>, Host<'s>), Failure> {
    let mut guest = join(scene.device.memory(), "guest", scene.own)?;
    let mut host = join(scene.machine.memory.view(), "host", scene.peer.0)?;
    let guest = Guest {
        scene,
        endpoint: connect(&mut guest, &*scene.device)?,
    };
    let mut host = Host {
        scene,
        endpoint: connect(&mut host, HubBell(&scene.machine.hub))?,
        answered: 0,
        is_dead: false,
    };
    arm(&mut host.endpoint)?;
    Ok((guest, host))
}
