// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages exchanged through the memory, with interrupts as hints: whatever becomes of those, no message is lost.

use ivshmem::{PeerId, VectorIndex};
use ivshmem_scenarios::demo::{Mailbox, Role, MAX_TEXT};
use ivshmem_scenarios::{ensure, ensure_eq, Failure};
use libtest_mimic::{Failed, Trial};

use crate::course::Course;
use crate::machine::ModelMachine;
use crate::scene::{scene, Scene, RUNG};
use crate::setup::Setup;

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
        let mut host = Host::new(&scene)?;
        let mut guest = Guest::new(&scene)?;
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
        let mut host = Host::new(&scene)?;
        let mut guest = Guest::new(&scene)?;
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

/// The driver's side.
struct Guest<'s> {
    scene: &'s Scene<'s>,
    mailbox: Mailbox<'s>,
}

impl<'s> Guest<'s> {
    fn new(scene: &'s Scene<'s>) -> Result<Self, Failure> {
        Ok(Self {
            scene,
            mailbox: Mailbox::new(&scene.device.memory(), Role::A, Role::Host)?,
        })
    }

    fn say(&mut self, number: u32) -> Result<(), Failure> {
        let sent = self.mailbox.try_send(&number.to_le_bytes())?;
        ensure(sent, format_args!("message {number} finds no room"))?;
        let device = &self.scene.device;
        Ok(device.ring(PeerId(self.scene.peer.0), VectorIndex(RUNG))?)
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
            let mut text = [0; MAX_TEXT];
            if let Some(len) = self.mailbox.try_receive(&mut text)? {
                ensure_eq("the answer", &text[..len], &(!number).to_le_bytes())?;
                return Ok(how);
            }
        }
        Err(Failure::from(SILENT))
    }
}

/// A peer on the host, which answers each message once it is rung.
struct Host<'s> {
    machine: &'s ModelMachine,
    scene: &'s Scene<'s>,
    mailbox: Mailbox<'static>,
    answered: u32,
    is_dead: bool,
}

impl<'s> Host<'s> {
    fn new(scene: &'s Scene<'s>) -> Result<Self, Failure> {
        Ok(Self {
            machine: scene.machine,
            scene,
            mailbox: Mailbox::new(&scene.machine.memory.view(), Role::Host, Role::A)?,
            answered: 0,
            is_dead: false,
        })
    }

    fn serve(&mut self) -> Result<(), Failure> {
        if self.is_dead || self.scene.peer.1.take() == 0 {
            return Ok(());
        }
        let mut text = [0; MAX_TEXT];
        let len = self.mailbox.try_receive(&mut text)?;
        let len = len.ok_or("rung without a message")?;
        let text = text[..len].iter().map(|byte| !byte);
        let sent = self.mailbox.try_send(&text.collect::<Vec<_>>())?;
        ensure(sent, format_args!("the answer finds no room"))?;
        self.answered += 1;
        self.machine.hub.ring(self.scene.own, RUNG);
        Ok(())
    }
}
