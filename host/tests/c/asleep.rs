// SPDX-License-Identifier: MIT OR Apache-2.0
//! Both sides sleep until they are rung, and are rung for nothing else.

use std::os::fd::{AsRawFd, OwnedFd};
use std::task::Poll;
use std::time::{Duration, Instant};

use ivshmem::channel::{
    Doorbell, Endpoint, Format, Introduction, Name, Progress, Region, SlotIndex, Wait,
};
use ivshmem::{PeerId, VectorIndex};
use ivshmem_host::mapping::Mapping;
use rustix::event::{eventfd, poll, EventfdFlags, PollFd, PollFlags, Timespec};

use crate::common::{counter, ring};
use crate::exchange::{region, END, PATIENT};
use crate::lab::{message, LIMIT, RING_LOG2};
use crate::program::{Program, Running};

/// The devices of this process and of the program.
const OWN: PeerId = PeerId(4);
const OTHER: PeerId = PeerId(7);
/// Far below a heartbeat of the program's, which would hide that a ring was lost.
const MOMENT: Duration = Duration::from_secs(5);

/// The program's eventfd.
#[derive(Clone, Copy, Debug)]
struct Bell<'b>(&'b OwnedFd);

impl Doorbell for Bell<'_> {
    fn ring(&self, peer: PeerId, vector: VectorIndex) {
        assert_eq!((peer, vector), (OTHER, VectorIndex(0)));
        ring(self.0);
    }
}

/// Runs a conversation with the program, in which either side can be rung.
fn with_program(program: &Program, talk: impl FnOnce(Endpoint<'_, Bell<'_>>, &OwnedFd)) {
    // Both are inherited by the program; those of other trials too, which does no harm.
    let new = || eventfd(0, EventfdFlags::NONBLOCK).unwrap();
    let (own, other) = (new(), new());
    let device = format!("{}:{}:{}", OTHER.0, other.as_raw_fd(), own.as_raw_fd());
    let file = region(1 << 18);
    let mapping = Mapping::of(file.as_file()).unwrap();
    let format = Format {
        slots: 4,
        ring_log2: Some(RING_LOG2),
    };
    let region = Region::open_or_format(mapping.memory(), &format).unwrap();
    let mut joining = region.join(Introduction {
        name: Name::new("alice"),
        device: Some(OWN),
        vectors: 1,
        limit: 1,
    });
    let Poll::Ready(Ok(mut member)) = joining.poll(0) else {
        panic!("the region is new");
    };
    let arguments = [&PATIENT[..], &["-b", "30000", "-d", &device]].concat();
    let mut running: Running = program.start(&arguments, file.path(), "carl");
    assert_eq!(running.line(), "member 1 1");
    assert_eq!(running.line(), "joined 0 1 alice");
    let mut endpoint = member.connect(SlotIndex(1), Bell(&other)).unwrap();
    endpoint.sender().try_send(b"first").unwrap();
    talk(endpoint, &own);
    assert!(running.end().success());
}

fn receive(endpoint: &mut Endpoint<'_, Bell<'_>>, mut wait: impl FnMut(Wait)) -> Vec<u8> {
    let mut buffer = vec![0; 200_000];
    let mut progress = Progress::default();
    let start = Instant::now();
    loop {
        let receiver = endpoint.receiver();
        if let Poll::Ready(len) = receiver.poll_recv(&mut buffer, &mut progress) {
            buffer.truncate(len.unwrap());
            return buffer;
        }
        assert!(start.elapsed() < LIMIT, "no answer");
        wait(receiver.arm().unwrap());
    }
}

/// Every wait goes through an eventfd; a ring that is lost is seen.
pub fn both(program: &Program) {
    with_program(program, |mut endpoint, own| {
        let sleep = |wait| {
            let limit = match wait {
                Wait::Ready => return,
                Wait::UntilRung => MOMENT,
                Wait::Briefly => Duration::from_millis(1),
            };
            let mut fds = [PollFd::new(own, PollFlags::IN)];
            let rung = poll(&mut fds, Some(&Timespec::try_from(limit).unwrap())).unwrap();
            assert!(rung == 1 || wait == Wait::Briefly, "the ring is lost");
            counter(own);
        };
        assert_eq!(receive(&mut endpoint, sleep), b"first");
        for number in 0..1000 {
            let sent = message(number, number as usize % 200);
            endpoint.sender().try_send(&sent).unwrap();
            assert_eq!(receive(&mut endpoint, sleep), sent);
        }
        endpoint.sender().try_send(END).unwrap();
    });
}

/// Who polls is not rung, also by the program.
pub fn polled(program: &Program) {
    with_program(program, |mut endpoint, own| {
        let mut buffer = [0; 256];
        let start = Instant::now();
        for number in 0..500 {
            while endpoint.receiver().try_recv(&mut buffer).unwrap().is_none() {
                assert!(start.elapsed() < LIMIT, "no answer");
                std::hint::spin_loop();
            }
            let sent = message(number, 64);
            endpoint.sender().try_send(&sent).unwrap();
        }
        assert_eq!(counter(own), 0, "nobody was rung");
        endpoint.sender().try_send(END).unwrap();
    });
}
