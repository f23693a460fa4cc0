// SPDX-License-Identifier: MIT OR Apache-2.0
//! The devices that sequences are tried on: [`Setup`].

use ivshmem_device::{Bar, Properties};

use crate::rig::Board;

/// Size of the shared memory: the least there is, so that sequences meet each other in it.
pub const MEMORY_LEN: usize = 4096;

/// A device, and where it is.
pub struct Setup {
    pub name: &'static str,
    pub board: Board,
    /// What an `ivshmem-doorbell` has; `None` for an `ivshmem-plain`.
    pub doorbell: Option<Doorbell>,
}

/// An `ivshmem-doorbell` and what its server says.
pub struct Doorbell {
    pub vectors: u16,
    pub ioeventfd: bool,
    /// The own ID.
    pub id: u16,
    /// How many eventfds the device itself gets.
    pub own_events: u16,
    /// The others, and how many eventfds they have.
    pub peers: &'static [(u16, u16)],
}

pub const ALL: [Setup; 6] = [
    Setup {
        name: "plain",
        board: Board::Pc,
        doorbell: None,
    },
    Setup {
        name: "1_vector",
        board: Board::Pc,
        doorbell: Some(Doorbell {
            vectors: 1,
            ioeventfd: true,
            id: 0,
            own_events: 1,
            peers: &[(1, 1), (0xffff, 1)],
        }),
    },
    Setup {
        name: "4_vectors_without_ioeventfd",
        board: Board::Q35,
        doorbell: Some(Doorbell {
            vectors: 4,
            ioeventfd: false,
            id: 1,
            // Fewer than the device has.
            own_events: 3,
            peers: &[(0, 4), (2, 2), (3, 0)],
        }),
    },
    Setup {
        name: "200_vectors",
        board: Board::Q35,
        doorbell: Some(Doorbell {
            vectors: 200,
            ioeventfd: true,
            id: 2,
            own_events: 200,
            peers: &[(0, 200), (1, 3)],
        }),
    },
    Setup {
        name: "260_vectors",
        board: Board::Pc,
        doorbell: Some(LARGE),
    },
    Setup {
        name: "260_vectors_without_ioeventfd",
        board: Board::Pc,
        doorbell: Some(Doorbell {
            ioeventfd: false,
            ..LARGE
        }),
    },
];

/// More vectors than the low 8 bits tell apart.
const LARGE: Doorbell = Doorbell {
    vectors: 260,
    ioeventfd: true,
    id: 0,
    own_events: 4,
    peers: &[(1, 260), (2, 2)],
};

impl Setup {
    pub fn vectors(&self) -> u16 {
        self.doorbell
            .as_ref()
            .map_or(0, |doorbell| doorbell.vectors)
    }

    /// Returns the BARs that the device has.
    pub fn bars(&self) -> Vec<Bar> {
        let mut bars = Bar::ALL.to_vec();
        bars.retain(|&bar| bar != Bar::Msix || self.doorbell.is_some());
        bars
    }

    /// Returns where the pending bits are in BAR 1 and how long that is, as QEMU 7.2 lays them out.
    pub fn msix_layout(&self) -> Option<(i64, i64)> {
        let table_len = 16 * i64::from(self.doorbell.as_ref()?.vectors);
        Some(if table_len <= 0x800 {
            (0x800, 0x1000)
        } else {
            (table_len, if table_len < 0xfe0 { 0x1000 } else { 0x2000 })
        })
    }

    /// Returns the properties of the model.
    pub fn properties(&self) -> Properties {
        let Some(doorbell) = &self.doorbell else {
            return Properties::plain("memory");
        };
        Properties {
            vectors: doorbell.vectors.into(),
            ioeventfd: doorbell.ioeventfd,
            ..Properties::doorbell("server")
        }
    }

    /// Returns QEMU's `-device`.
    pub fn device(&self) -> String {
        let Some(doorbell) = &self.doorbell else {
            return "ivshmem-plain,memdev=memory,id=ivshmem".into();
        };
        let ioeventfd = if doorbell.ioeventfd { "on" } else { "off" };
        format!(
            "ivshmem-doorbell,chardev=server,vectors={},ioeventfd={ioeventfd},id=ivshmem",
            doorbell.vectors
        )
    }
}
