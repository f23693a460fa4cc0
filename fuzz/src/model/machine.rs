// SPDX-License-Identifier: MIT OR Apache-2.0
//! A device in its machine, to which steps happen.

use allocation_counter::measure;
use ivshmem_device::{Bar, Device, Generation, Kind, Properties, ServerError, Source};

use super::host::{check_error, FuzzHost, FuzzMemory};
use super::image::Image;
use super::steps::{Carried, Step};
use super::stream::{handshake, Stream};
use super::{checks, reads, saved};
use super::{Header, Reached, Target, MAX_STEPS};
use crate::input::Input;

/// Bytes that a device may hold for each message it was sent, and for none.
const HELD_PER_MESSAGE: usize = 1024;
const HELD: usize = 4096;

/// Does with a device of PCI what `input` says.
pub fn run(
    properties: &Properties,
    header: Header,
    target: Target,
    input: &mut Input<'_>,
) -> Reached {
    let Some(mut machine) = Machine::new(properties, header) else {
        return Reached::default();
    };
    let mut going_on = !target.connected || machine.connect(header);
    while going_on && !input.is_empty() && machine.reached.steps < MAX_STEPS {
        let step = Step::take(target.kinds, input, |bar| machine.bar_len(bar));
        going_on = machine.step(&step);
    }
    machine.finish(header.unplugged)
}

/// A device, whom it is connected to, and what was seen of it.
pub struct Machine {
    pub properties: Properties,
    pub device: Device<FuzzHost>,
    pub host: FuzzHost,
    pub stream: Stream,
    /// The device when a guest could first see it, and after the last step.
    pub first: Option<Image>,
    last: Option<Image>,
    /// Bytes allocated for what the server has sent.
    held: i64,
    reached: Reached,
}

impl Machine {
    /// Creates the device, if its properties are valid.
    fn new(properties: &Properties, header: Header) -> Option<Self> {
        let device = match properties.source {
            Source::Chardev(_) => Device::new(properties),
            _ => Device::with_memory(properties, FuzzMemory::new(header.len_bytes)),
        };
        let device = device
            .map_err(|error| assert!(!error.to_string().is_empty()))
            .ok()?;
        let historic = properties.generation.is_historic();
        let mut machine = Self {
            properties: properties.clone(),
            device,
            host: FuzzHost {
                refuses_memory: header.refuses_memory,
                refuses_vectors_from: header.refuses_vectors_from,
                listens_again: historic,
                ..FuzzHost::default()
            },
            stream: Stream::default(),
            first: None,
            last: None,
            held: 0,
            reached: Reached::default(),
        };
        machine.last = machine.look();
        Some(machine)
    }

    /// Lets a server that keeps to the rules connect the device to one peer; `false` if it has to be given up.
    fn connect(&mut self, header: Header) -> bool {
        if !matches!(self.properties.source, Source::Chardev(_)) {
            return true;
        }
        let own = self.properties.vectors.min(3) as usize;
        let messages = handshake(&self.properties, own, header);
        let going_on = messages
            .iter()
            .all(|(number, carried)| self.receive(&number.to_le_bytes(), carried));
        self.last = self.look();
        going_on
    }

    /// Takes a step and checks what it did; `false` when the device has to be given up.
    fn step(&mut self, step: &Step) -> bool {
        self.reached.steps += 1;
        let before = self.last.take();
        let going_on = self.take(step);
        let after = self.look();
        if let (Some(before), Some(after)) = (before, &after) {
            checks::check(self, step, &before, after);
        }
        self.last = after;
        self.reached.messages += self.host.messages.len();
        self.host.messages.clear();
        self.reached.rung += self.host.rung.len();
        self.host.rung.clear();
        going_on
    }

    fn take(&mut self, step: &Step) -> bool {
        let (device, host) = (&mut self.device, &mut self.host);
        match step {
            Step::ReadConfig { .. } | Step::ReadBar { .. } | Step::Decode { .. } => {
                reads::check(self, step);
            }
            Step::Load { at, change } => saved::check(self, *at, *change),
            Step::WriteConfig { offset, bytes } => device.write_config(*offset, bytes, host),
            Step::WriteBar { bar, offset, bytes } => device.write_bar(*bar, *offset, bytes, host),
            Step::Event { vector, counter } => device.event(*vector, *counter, host),
            Step::Reset => device.reset(host),
            Step::Message { number, carried } => {
                // Behind what may be there of another message.
                let rest = vec![0; self.stream.missing() % size_of::<i64>()];
                return (rest.is_empty() || self.receive(&rest, &[]))
                    && self.receive(&number.to_le_bytes(), carried);
            }
            Step::Bytes {
                bytes,
                carried,
                at_once,
            } => {
                let len = if *at_once {
                    bytes.len()
                } else {
                    bytes.len().min(self.stream.missing())
                };
                let (first, rest) = bytes.split_at(len);
                let mut going_on = self.receive(first, carried);
                for byte in rest {
                    going_on = going_on && self.receive(&[*byte], &[]);
                }
                return going_on;
            }
            Step::ServerGone => {
                let realized = device.is_realized();
                let gone = device.server_gone(host);
                assert_eq!(gone.is_ok(), realized, "{gone:?}");
            }
        }
        true
    }

    /// Sends bytes and descriptors to the device; `false` when it has to be given up.
    fn receive(&mut self, bytes: &[u8], carried: &[Carried]) -> bool {
        if !matches!(self.properties.source, Source::Chardev(_)) {
            assert_eq!(self.device.wanted(), 0);
            return true;
        }
        let opened = self.stream.open(carried);
        let realized = self.device.is_realized();
        let mut result = Ok(());
        let used = measure(|| result = self.device.receive(bytes, opened, &mut self.host));
        self.held += used.bytes_current;
        self.stream.note(bytes);
        if let Err(error) = &result {
            check_error(error);
            assert!(self.is_fatal(error, realized), "{error:?} is returned");
            return false;
        }
        assert_eq!(self.device.wanted(), self.stream.missing());
        let bound = HELD + HELD_PER_MESSAGE * (self.stream.messages + 1);
        assert!(self.held <= bound as i64, "{} bytes are held", self.held);
        self.check_attached();
        true
    }

    /// Whether a device of this generation may be given up for this error.
    fn is_fatal(&self, error: &ServerError, realized: bool) -> bool {
        match self.properties.generation {
            Generation::Modern => !realized,
            Generation::V2_5 => false,
            Generation::V2_3 => matches!(
                error,
                ServerError::MemoryTooSmall { .. }
                    | ServerError::NotMemory
                    | ServerError::Listen { .. }
            ),
        }
    }

    /// Checks that each ioeventfd rings the peer that its eventfd came for.
    fn check_attached(&self) {
        assert!(self.properties.ioeventfd || self.host.attached.is_empty());
        for (value, serial) in &self.host.attached {
            let number = self.stream.number(*serial);
            assert_eq!(number, Some(i64::from(value >> 16)), "{value:#x}");
        }
    }

    /// Returns what a guest sees, and notes it if it is the first time.
    fn look(&mut self) -> Option<Image> {
        if !self.device.is_realized() {
            return None;
        }
        let image = Image::take(&mut self.device, &mut self.host);
        self.first.get_or_insert_with(|| image.clone());
        Some(image)
    }

    /// Returns the length of a BAR, 0 if it is not there.
    pub fn bar_len(&self, bar: Bar) -> u64 {
        self.device.bar_len(bar).unwrap_or(0)
    }

    /// Whether the device has an interrupt line.
    pub fn has_line(&self) -> bool {
        self.properties.kind == Kind::Legacy
    }

    /// Unplugs or drops the device, and checks that nothing is left of it.
    fn finish(mut self, unplugged: bool) -> Reached {
        let live = self.stream.descriptors.live();
        assert!(live as u64 <= self.stream.descriptors.opened());
        self.reached.realized = self.device.is_realized();
        self.reached.line_changes = self.host.line_changes;
        self.reached.listening = self.host.listening.len();
        self.reached.notices = self.host.notices;
        if unplugged {
            self.device.unplug(&mut self.host);
            assert!(self.host.attached.is_empty(), "{:?}", self.host.attached);
            assert!(self.host.routes.is_empty(), "{:?}", self.host.routes);
            assert!(self.host.messages.is_empty(), "{:?}", self.host.messages);
        } else {
            drop(self.device);
        }
        assert_eq!(self.stream.descriptors.live(), 0, "descriptors are left");
        self.reached
    }
}
