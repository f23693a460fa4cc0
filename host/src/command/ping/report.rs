// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is told of pings, for people and for programs: [`Report`].

use std::fmt::Display;
use std::time::Duration;

use ivshmem_host::channel::Neighbour;
use serde_json::json;

use crate::command::output::{log, print, Reader};
use crate::command::target::Member;
use crate::command::times::Times;
use crate::command::Failure;

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    /// Each answer, and the summary.
    Answers,
    /// The summary alone.
    Summary,
}

/// How it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Json,
}

/// What has become of the pings so far, and how that is told.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) detail: Detail,
    pub(super) form: Form,
    pub(super) sent: u64,
    pub(super) times: Times,
    /// Messages that nobody has sent, and answers that came twice.
    pub(super) wrong: u64,
    pub(super) duplicates: u64,
}

impl Report {
    pub(super) fn new(detail: Detail, form: Form) -> Self {
        Self {
            detail,
            form,
            sent: 0,
            times: Times::default(),
            wrong: 0,
            duplicates: 0,
        }
    }

    /// Says who is pinged.
    pub(super) fn begin(
        &self,
        peer: &Neighbour,
        bytes: usize,
        manner: &str,
    ) -> Result<Reader, Failure> {
        match self.form {
            Form::Text => self.line(format_args!(
                "PING {}: {bytes} bytes, {manner}",
                Member(peer)
            )),
            Form::Json => Ok(Reader::Reads),
        }
    }

    /// Tells of an answer.
    pub(super) fn answer(
        &mut self,
        peer: &Neighbour,
        bytes: usize,
        number: u64,
        time: Duration,
    ) -> Result<Reader, Failure> {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.times.add(ns);
        let us = ns as f64 / 1000.0;
        match (self.detail, self.form) {
            (Detail::Summary, _) => Ok(Reader::Reads),
            (Detail::Answers, Form::Text) => self.line(format_args!(
                "{bytes} bytes from {}: seq={number} time={us:.1} us",
                Member(peer)
            )),
            (Detail::Answers, Form::Json) => self.line(json!({
                "seq": number,
                "bytes": bytes,
                "name": peer.name.to_string(),
                "peer": peer.device.map(|id| id.0),
                "slot": peer.slot.0,
                "time_us": us,
            })),
        }
    }

    /// Tells something else, to people.
    pub(super) fn note(&self, text: impl Display) {
        if self.detail == Detail::Answers {
            log(text);
        }
    }

    /// Sums up.
    pub(super) fn finish(&self, target: impl Display, elapsed: Duration) -> Result<(), Failure> {
        let received = self.times.count();
        let lost = self.sent.saturating_sub(received);
        let percent = 100.0 * lost as f64 / self.sent.max(1) as f64;
        let figures = self.times.figures();
        if self.form == Form::Json {
            let summary = json!({
                "target": target.to_string(),
                "sent": self.sent,
                "received": received,
                "lost_percent": percent,
                "wrong": self.wrong,
                "duplicates": self.duplicates,
                "seconds": elapsed.as_secs_f64(),
                "round_trip": figures,
            });
            return self.line(json!({ "summary": summary })).map(drop);
        }
        let mut more = String::new();
        for (count, what) in [
            (self.wrong, "with wrong content"),
            (self.duplicates, "twice"),
        ] {
            if count > 0 {
                more.push_str(&format!(", {count} {what}"));
            }
        }
        let mut text = format!(
            "--- {target}: {} sent, {received} received, {percent:.0} % lost{more}, in {:.1} s\n",
            self.sent,
            elapsed.as_secs_f64()
        );
        if let Some(f) = figures {
            text.push_str(&format!(
                "round trip min/avg/max = {:.1}/{:.1}/{:.1} us, p50/p90/p99 = {:.1}/{:.1}/{:.1} us\n",
                f.min_us, f.avg_us, f.max_us, f.p50_us, f.p90_us, f.p99_us
            ));
        }
        print(text.as_bytes()).map(drop)
    }

    fn line(&self, line: impl Display) -> Result<Reader, Failure> {
        print(format!("{line}\n").as_bytes())
    }
}
