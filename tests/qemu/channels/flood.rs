// SPDX-License-Identifier: MIT OR Apache-2.0
//! Trials of streams between two guests in which every wait goes through the interrupt.

use std::time::Duration;

use libtest_mimic::Failed;

use super::{boot, VECTORS};
use crate::guests::TestServer;
use crate::lab::{field, hear_within, number, same, Lab, Need, PATIENCE};

/// The variable that says how many messages are sent; a million takes some ten seconds.
const MESSAGES: &str = "IVSHMEM_FLOOD_MESSAGES";

/// Messages unless the variable says otherwise.
const DEFAULT_MESSAGES: u64 = 200_000;

pub fn trials() -> Vec<Need> {
    vec![
        // About five messages fit, so each side waits for the other all the time.
        Need::new("channels::no_wake_up_is_lost_in_a_small_ring", |lab| {
            flood(lab, 9, 10_000)
        }),
        Need::new("channels::no_wake_up_is_lost_in_a_ring_of_a_page", |lab| {
            // Here it depends on the machine how often somebody is quick enough to have to wait.
            flood(lab, 12, 10)
        }),
        Need::new(
            "channels::a_stream_goes_on_while_the_server_is_handed_over",
            handed_over,
        ),
    ]
}

/// Demands so many sleeps of each side, in a million messages.
fn flood(lab: &Lab, ring_log2: u32, sleeps_per_million: u64) -> Result<(), Failed> {
    let messages = match std::env::var(MESSAGES) {
        Ok(text) => number(&text)?,
        Err(_) => DEFAULT_MESSAGES,
    };
    // A busy machine makes a few thousand a second.
    let limit = PATIENCE + Duration::from_micros(messages * 300);
    let server = TestServer::start(1 << 20, VECTORS)?;
    let start = |name: &str, what: &str, to: &str| {
        let words = format!("what={what} to={to} messages={messages} slots=2 ring={ring_log2}");
        boot(lab, &server, name, &words, limit + PATIENCE)
    };
    let sender = start("sender", "send", "receiver")?;
    let receiver = start("receiver", "receive", "sender")?;
    let sent = hear_within(&sender, "sent", limit)?;
    let received = hear_within(&receiver, "received", limit)?;
    for (side, line) in [("sender", sent), ("receiver", received)] {
        println!("{side}, ring of {} bytes: {line}", 1 << ring_log2);
        same(side, number(field(&line, "messages")?)?, messages)?;
        let sleeps = number(field(&line, "sleeps")?)?;
        let doorbells = number(field(&line, "doorbells")?)?;
        if sleeps < messages * sleeps_per_million / 1_000_000 || doorbells == 0 {
            return Err(format!("the {side} hardly slept: {line}").into());
        }
    }
    sender.finish(PATIENCE)?;
    receiver.finish(PATIENCE)?;
    Ok(())
}

/// Has the server handed over from one to the next while two guests send and receive.
fn handed_over(lab: &Lab) -> Result<(), Failed> {
    const MESSAGES: u64 = 200_000;
    const LIMIT: Duration = Duration::from_secs(60);
    let mut server = TestServer::start(1 << 20, VECTORS)?;
    let start = |server: &TestServer, name: &str, what: &str, to: &str| {
        let words = format!("what={what} to={to} messages={MESSAGES} slots=2 ring=9");
        boot(lab, server, name, &words, LIMIT + PATIENCE)
    };
    let sender = start(&server, "sender", "send", "receiver")?;
    // One of them is let in by another server than the other.
    server = server.hand_over()?;
    let receiver = start(&server, "receiver", "receive", "sender")?;
    for _ in 0..20 {
        server = server.hand_over()?;
    }
    let sent = hear_within(&sender, "sent", LIMIT)?;
    let received = hear_within(&receiver, "received", LIMIT)?;
    for (side, line) in [("sender", sent), ("receiver", received)] {
        same(side, number(field(&line, "messages")?)?, MESSAGES)?;
        same("rung", number(field(&line, "doorbells")?)? > 0, true)?;
    }
    sender.finish(PATIENCE)?;
    receiver.finish(PATIENCE)?;
    Ok(())
}
