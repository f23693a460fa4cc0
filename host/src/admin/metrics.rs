// SPDX-License-Identifier: MIT OR Apache-2.0
//! A status as metrics, in the text format of Prometheus, version 0.0.4.

use std::fmt::{Display, Write};

use super::status::{Peer, Status};

/// What a metric does in time.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// It only grows, from the start of the server.
    Counter,
    Gauge,
}

/// Labels of a sample: names and values.
type Labels<'a> = &'a [(&'a str, &'a str)];

/// Metrics, one after the other.
#[derive(Debug, Default)]
struct Page(String);

impl Page {
    /// Begins the metric `name`.
    fn metric(&mut self, kind: Kind, name: &str, help: &str) -> Metric<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let name = format!("ivshmem_{name}");
        // Writing to a string does not fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Metric { page: self, name }
    }

    fn counter(&mut self, name: &str, help: &str) -> Metric<'_> {
        self.metric(Kind::Counter, name, help)
    }

    fn gauge(&mut self, name: &str, help: &str) -> Metric<'_> {
        self.metric(Kind::Gauge, name, help)
    }
}

/// A metric whose samples are being written.
struct Metric<'a> {
    page: &'a mut Page,
    name: String,
}

impl Metric<'_> {
    fn value(self, value: impl Display) {
        self.sample(&[], value);
    }

    /// Adds a sample.
    fn sample(self, labels: Labels<'_>, value: impl Display) -> Self {
        let text = &mut self.page.0;
        text.push_str(&self.name);
        for (index, (name, content)) in labels.iter().enumerate() {
            text.push(if index == 0 { '{' } else { ',' });
            let _ = write!(text, "{name}=\"{}\"", Escaped(content));
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(text, "{end} {value}");
        self
    }

    /// Adds a sample for each peer of which `value` is known.
    fn peers<V: Display>(self, peers: &[Peer], value: impl Fn(&Peer) -> Option<V>) {
        let _ = peers.iter().fold(self, |metric, peer| match value(peer) {
            Some(value) => metric.sample(&[("peer", &peer.id.to_string())], value),
            None => metric,
        });
    }
}

/// The value of a label, with what would end it escaped. A process chooses its name itself.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            // Nor may it speak to the terminal of one who looks with other means.
            control if control.is_control() => f.write_char(char::REPLACEMENT_CHARACTER),
            other => f.write_char(other),
        })
    }
}

impl Status {
    /// Returns the status as metrics in the text format of Prometheus, version 0.0.4.
    ///
    /// Their names begin with `ivshmem_`; those of counters, which start at 0 with the server, end in `_total`; units are bytes
    /// and seconds. Metrics of a peer have its ID as the label `peer`; what else is known of it has
    /// `ivshmem_peer_info` as labels. The documentation of [`Status`] says what each number means.
    #[must_use]
    pub fn to_prometheus(&self) -> String {
        let mut page = Page::default();
        self.server(&mut page);
        self.totals(&mut page);
        self.of_peers(&mut page);
        page.0
    }

    /// Adds what the server is like now.
    fn server(&self, page: &mut Page) {
        page.gauge("build_info", "Version of the server, always 1.")
            .sample(&[("version", &self.version)], 1);
        page.gauge(
            "start_time_seconds",
            "When the server started, in seconds since 1970.",
        )
        .value(self.started_unix_seconds);
        page.gauge("memory_bytes", "Size of the shared memory.")
            .sample(&[("backing", &self.memory.backing)], self.memory.bytes);
        page.gauge("vectors_per_client", "Interrupt vectors of each client.")
            .value(self.vectors_per_client);
        page.gauge("clients", "Clients connected now.")
            .value(self.clients.connected);
        page.gauge(
            "clients_limit",
            "The most clients that can be connected at once.",
        )
        .sample(
            &[("limited_by", &self.clients.limited_by)],
            self.clients.limit,
        );
        page.gauge("ids_remaining", "IDs that are left for new clients.")
            .value(self.ids.remaining);
    }

    /// Adds what has happened since the start.
    fn totals(&self, page: &mut Page) {
        let counters = &self.counters;
        page.counter("joined_total", "Clients that joined.")
            .value(counters.joined);
        page.counter("left_total", "Clients that left or died.")
            .value(counters.left);
        page.counter("cut_off_total", "Clients that the server cut off.")
            .sample(&[("fault", "spoke")], counters.cut_off.spoke)
            .sample(&[("fault", "connection")], counters.cut_off.connection);
        page.counter("refused_total", "Clients that were turned away.")
            .sample(&[("reason", "full")], counters.refused.full)
            .sample(&[("reason", "no_id_left")], counters.refused.no_id_left)
            .sample(&[("reason", "system")], counters.refused.system);
        page.counter("messages_sent_total", "Messages sent to clients.")
            .value(counters.messages_sent);
        page.counter(
            "accept_failures_total",
            "Attempts to accept a connection that failed.",
        )
        .value(counters.accept_failures);
    }

    /// Adds what the peers are like now.
    fn of_peers(&self, page: &mut Page) {
        let info = page.gauge("peer_info", "What is known of a peer, always 1.");
        let _ = self.peers.iter().fold(info, |metric, peer| {
            let text = |number: Option<String>| number.unwrap_or_default();
            metric.sample(
                &[
                    ("peer", &peer.id.to_string()),
                    ("pid", &text(peer.pid.map(|pid| pid.to_string()))),
                    ("uid", &text(peer.uid.map(|uid| uid.to_string()))),
                    ("process", peer.process.as_deref().unwrap_or_default()),
                ],
                1,
            )
        });
        page.gauge(
            "peer_connected_time_seconds",
            "When a peer connected, in seconds since 1970.",
        )
        .peers(&self.peers, |peer| Some(peer.connected_unix_seconds));
        page.gauge(
            "peer_messages_queued",
            "Messages of the server that a peer has still to be sent.",
        )
        .peers(&self.peers, |peer| Some(peer.messages_queued));
        page.gauge(
            "peer_doorbells_pending",
            "Rings of a peer's doorbells that it has not taken.",
        )
        .peers(&self.peers, |peer| Some(peer.doorbells.as_ref()?.pending));
        page.gauge(
            "peer_doorbells_untaken_seconds",
            "For how long doorbells of a peer have been pending at each look, 0 if none are.",
        )
        .peers(&self.peers, |peer| {
            Some(peer.doorbells.as_ref()?.untaken_seconds.unwrap_or(0))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cannot_be_ended_from_within() {
        let mut page = Page::default();
        page.gauge("name", "Help.")
            .sample(&[("a", "x\"} 7\n#\\"), ("b", "")], 1)
            .value(2);
        assert_eq!(
            page.0,
            "# HELP ivshmem_name Help.\n# TYPE ivshmem_name gauge\n\
             ivshmem_name{a=\"x\\\"} 7\\n#\\\\\",b=\"\"} 1\nivshmem_name 2\n"
        );
    }
}
