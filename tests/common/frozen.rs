// SPDX-License-Identifier: MIT OR Apache-2.0
//! What trials on frozen machines share: QEMU.

use std::time::Duration;

use xtask::qemu::Guest;
use xtask::tools::Tools;

/// How long anything may take. Ample: the machines share two cores with whatever else runs.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A trial of this binary.
pub type Need = xtask::trials::Need<Lab>;

/// QEMU.
pub struct Lab {
    tools: Tools,
}

impl Lab {
    /// Finds the tools, or says what is missing. Installs nothing.
    pub fn open() -> Result<Self, String> {
        let tools = Tools::find().map_err(|missing| missing.to_string())?;
        Ok(Self { tools })
    }

    /// A machine that nobody drives but the trial, for two minutes.
    pub fn guest(&self) -> Guest {
        Guest::frozen(&self.tools).lifetime(Duration::from_secs(120))
    }
}
