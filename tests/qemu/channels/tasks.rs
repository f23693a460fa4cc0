// SPDX-License-Identifier: MIT OR Apache-2.0
//! Trials of a guest whose member is three tasks of embassy's executor.

use libtest_mimic::Failed;

use super::voice::{all_said, hear};
use super::{boot, VECTORS};
use crate::guests::TestServer;
use crate::lab::{field, number, Lab, Need, PATIENCE};

const MESSAGES: u64 = 50_000;

pub fn trials() -> Vec<Need> {
    vec![Need::new(
        "channels::tasks_of_an_executor_sleep_until_the_interrupt",
        tasks,
    )]
}

fn tasks(lab: &Lab) -> Result<(), Failed> {
    let server = TestServer::start(1 << 20, VECTORS)?;
    // A ring of about twenty messages is full, and empty, all the time.
    let ring = "slots=2 ring=10";
    let crowd = boot(lab, &server, "a", &format!("what=crowd {ring}"), PATIENCE)?;
    let words = format!("what=tasks to=a messages={MESSAGES} {ring}");
    let guest = boot(lab, &server, "tasks", &words, PATIENCE)?;
    let done = hear(&guest, "done", &[])?;
    println!("{done}");
    guest.finish(PATIENCE)?;
    for counter in ["halts", "notified"] {
        if number(field(&done, counter)?)? < MESSAGES / 1000 {
            return Err(format!("the tasks hardly slept: {done}").into());
        }
    }
    let count = MESSAGES.to_string();
    let all_received = [
        ("peer", "tasks"),
        ("received", count.as_str()),
        ("error", "PeerGone"),
    ];
    hear(&crowd, "broken", &all_received)?;
    all_said(&crowd, "forged", |_| false)?;
    crowd.send_line("leave")?;
    crowd.finish(PATIENCE)?;
    Ok(())
}
