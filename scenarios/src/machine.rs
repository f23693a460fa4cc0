// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a scenario needs of the machine it runs on.

use core::fmt;
use core::ops::Deref;

use ivshmem::pci::{find, ConfigRegionAccess, ConfigSpace, Function};
use ivshmem::{Ivshmem, MsiMessage, Registers, VectorIndex};

use crate::Failure;

/// A backend: something with a PCI bus, interrupts, time, and a line to whoever runs the test.
pub trait Machine {
    /// The configuration mechanism.
    type Config: ConfigRegionAccess;
    /// How registers are reached.
    type Registers: Registers;
    /// An attached device.
    type Device: Deref<Target = Ivshmem<Self::Registers>>;

    /// Returns configuration space.
    fn config(&self) -> &ConfigSpace<Self::Config>;

    /// Attaches the device at `function`, with a handler of its own for each of the first `vectors` vectors.
    ///
    /// # Errors
    ///
    /// Whatever keeps the driver from attaching.
    fn attach(
        &self,
        function: &Function<'_, Self::Config>,
        vectors: u16,
    ) -> Result<Self::Device, Failure>;

    /// Detaches what `attach` attached.
    fn detach(&self, device: Self::Device, function: &Function<'_, Self::Config>);

    /// Holds back all vectors of a device at once, by MSI-X Function Mask.
    ///
    /// # Errors
    ///
    /// The device has no MSI-X.
    fn mask_all(
        &self,
        device: &Self::Device,
        function: &Function<'_, Self::Config>,
    ) -> Result<(), Failure>;

    /// Ends `mask_all`.
    ///
    /// # Errors
    ///
    /// As for `mask_all`.
    fn unmask_all(
        &self,
        device: &Self::Device,
        function: &Function<'_, Self::Config>,
    ) -> Result<(), Failure>;

    /// Returns how often the handler of `vector` has run since the machine started.
    fn interrupts(&self, vector: VectorIndex) -> u32;

    /// Returns the message that reaches the handler of `vector`, one of those asked for when attaching.
    ///
    /// # Errors
    ///
    /// It has no handler.
    fn message(&self, vector: VectorIndex) -> Result<MsiMessage, Failure>;

    /// Has the interrupt line of `function`, which `device` is attached to, served by a handler that asks the device with
    /// [`Intx::acknowledge`](ivshmem::Intx::acknowledge), until it is detached or dropped.
    ///
    /// # Errors
    ///
    /// The device has no line, or the machine does not know where it leads.
    fn take_line(
        &self,
        device: &Self::Device,
        function: &Function<'_, Self::Config>,
    ) -> Result<(), Failure>;

    /// Returns what the handler has seen of `device` since it was attached.
    fn line(&self, device: &Self::Device) -> LineCount;

    /// Waits until `condition` holds, asleep between interrupts; `false` when the machine's time limit is over.
    fn wait(&self, condition: &mut dyn FnMut() -> bool) -> bool;

    /// Lets `milliseconds` pass, taking interrupts.
    fn pause(&self, milliseconds: u32);

    /// Returns the value of `key` among the arguments of this run.
    fn argument(&self, key: &str) -> Option<&str>;

    /// Returns whether `word` is among the arguments of this run.
    fn has(&self, word: &str) -> bool;

    /// Tells the host a line.
    fn say(&self, line: fmt::Arguments<'_>);

    /// Waits for a line from the host, without its end.
    ///
    /// # Errors
    ///
    /// No line came in time, or it does not fit `buffer`.
    fn hear<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b str, Failure>;
}

/// What the handler of an interrupt line has seen of one device on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineCount {
    /// How often the device had raised the line.
    pub taken: u32,
    /// How often it had not: another device on the line had, or nobody.
    pub foreign: u32,
    /// The Interrupt Status of the last time that it had; 0 before the first.
    pub last_status: u32,
}

/// Returns the first ivshmem device of the machine.
///
/// # Errors
///
/// There is none.
pub fn device<M: Machine>(machine: &M) -> Result<Function<'_, M::Config>, Failure> {
    find(machine.config()).next().ok_or_else(|| {
        Failure::new(format_args!(
            "no ivshmem device (1af4:1110) on any bus; start QEMU with -device ivshmem-plain or ivshmem-doorbell"
        ))
    })
}

/// Attaches the device at `function` and waits until it is set up, which only one of revision 0 is not at once.
///
/// # Errors
///
/// It cannot be attached, or its server does not send the shared memory.
pub(crate) fn attach<M: Machine>(
    machine: &M,
    function: &Function<'_, M::Config>,
    vectors: u16,
) -> Result<M::Device, Failure> {
    let device = machine.attach(function, vectors)?;
    machine.wait(&mut || device.poll_ready().is_ready());
    // The limit is the machine's: either there is an answer by now, or there will be none.
    device.wait_ready(|| false)?;
    Ok(device)
}
