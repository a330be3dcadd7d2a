//! What connections count.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::message::{Transport, Unframed};

macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[$line:meta])* $variant:ident $label:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum $name {
            $($(#[$line])* $variant,)*
        }

        impl $name {
            /// All of them.
            pub(super) const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The label in logs and metrics.
            pub(super) const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }
        }
    };
}

reasons! {
    /// Why somebody's connection, or one that a message needed, did not come about.
    Refusal {
        /// `limits.connections` are open.
        Connections "connections",
        /// `limits.connections_per_source` are open from there.
        PerSource "per_source",
        /// `limits.connections_opening` are being opened.
        Opening "opening",
        /// A handshake took longer than `limits.handshake_s`, or a connection than `connect_s`.
        Late "late",
        /// No PROXY protocol header where one is needed, or none that can be read.
        ProxyHeader "proxy_header",
        /// The TLS handshake failed.
        Tls "tls",
        /// The WebSocket handshake failed, or the subprotocol `sip` was not offered.
        WebSocket "websocket",
        /// The other side cannot be connected to.
        Unreachable "unreachable",
        /// Nothing can be sent to a WebSocket that is not open.
        NotOpen "not_open",
        /// The system could not accept.
        Accept "accept",
    }
}

reasons! {
    /// Why a connection ended.
    Closed {
        /// The other side closed it.
        ByPeer "by_peer",
        /// It broke.
        Broken "broken",
        /// Nothing came or went for `limits.connection_idle_s`.
        Idle "idle",
        /// Nothing came within `limits.first_message_s`.
        Silent "silent",
        /// A WebSocket did not answer our pings.
        Unanswered "unanswered",
        /// A message took longer than `limits.message_s`.
        SlowMessage "slow_message",
        /// What came cannot be cut into messages.
        Unframed "unframed",
        /// More waited for it than its queue holds.
        QueueFull "queue_full",
        /// The other side read nothing for `limits.connection_stall_s`.
        Stalled "stalled",
        /// The server ends.
        Ending "ending",
    }
}

/// Numbers of one transport.
#[derive(Debug, Default)]
struct OfTransport {
    open: AtomicU64,
    accepted: AtomicU64,
    connected: AtomicU64,
    messages_in: AtomicU64,
    messages_out: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

/// What all connections counted.
#[derive(Debug, Default)]
pub struct StreamCounters {
    transports: [OfTransport; Transport::ALL.len()],
    refused: [AtomicU64; Refusal::ALL.len()],
    closed: [AtomicU64; Closed::ALL.len()],
    unframed: [AtomicU64; Unframed::ALL.len()],
    pings: AtomicU64,
    held_back: AtomicU64,
    dropped: AtomicU64,
}

/// A family of numbers with labels, for the metrics.
#[derive(Debug, Clone)]
pub struct Labelled {
    /// The name, without prefix and suffix.
    pub name: &'static str,
    /// What is counted.
    pub help: &'static str,
    /// Whether the numbers can fall.
    pub is_gauge: bool,
    /// Each with its labels.
    pub samples: Vec<(Vec<(&'static str, &'static str)>, u64)>,
}

impl StreamCounters {
    fn of(&self, transport: Transport) -> Option<&OfTransport> {
        self.transports.get(transport as usize)
    }

    pub(super) fn opened(&self, transport: Transport, is_outgoing: bool) {
        if let Some(of) = self.of(transport) {
            let opened = if is_outgoing {
                &of.connected
            } else {
                &of.accepted
            };
            add(opened, 1);
            add(&of.open, 1);
        }
    }

    pub(super) fn closed(&self, transport: Transport, why: Closed) {
        if let Some(of) = self.of(transport) {
            of.open.fetch_sub(1, Ordering::Relaxed);
        }
        count(&self.closed, why as usize);
    }

    pub(super) fn refused(&self, why: Refusal) {
        count(&self.refused, why as usize);
    }

    pub(super) fn unframed(&self, why: Unframed) {
        let known = Unframed::ALL.iter().position(|known| *known == why);
        count(&self.unframed, known.unwrap_or(usize::MAX));
    }

    pub(super) fn received(&self, transport: Transport, bytes: usize) {
        if let Some(of) = self.of(transport) {
            add(&of.bytes_in, bytes);
        }
    }

    pub(super) fn message_in(&self, transport: Transport) {
        if let Some(of) = self.of(transport) {
            add(&of.messages_in, 1);
        }
    }

    pub(super) fn sent(&self, transport: Transport, messages: usize, bytes: usize) {
        if let Some(of) = self.of(transport) {
            add(&of.messages_out, messages);
            add(&of.bytes_out, bytes);
        }
    }

    pub(super) fn ping(&self) {
        add(&self.pings, 1);
    }

    pub(super) fn held_back(&self) {
        add(&self.held_back, 1);
    }

    pub(super) fn dropped(&self) {
        add(&self.dropped, 1);
    }

    /// The numbers without labels: name, meaning, value.
    pub fn plain(&self) -> [(&'static str, &'static str, u64); 3] {
        [
            (
                "connection_pings",
                "Keep-alives of RFC 5626 that were answered",
                get(&self.pings),
            ),
            (
                "connection_held_back",
                "Times a connection was not read because the shard that owns the call was behind",
                get(&self.held_back),
            ),
            (
                "connection_drops",
                "Messages from connections dropped because the shard stayed behind",
                get(&self.dropped),
            ),
        ]
    }

    /// The numbers with labels.
    pub fn labelled(&self) -> Vec<Labelled> {
        let mut families = self.by_transport();
        families.extend([
            family(
                "connections_refused",
                "Connections that did not come about",
                "reason",
                Refusal::ALL.iter().map(|r| r.label()).zip(&self.refused),
            ),
            family(
                "connections_closed",
                "Connections that ended",
                "reason",
                Closed::ALL.iter().map(|c| c.label()).zip(&self.closed),
            ),
            family(
                "connections_unframed",
                "Connections closed because what came cannot be cut into messages",
                "kind",
                Unframed::ALL.iter().map(|u| u.kind()).zip(&self.unframed),
            ),
        ]);
        families
    }

    fn by_transport(&self) -> Vec<Labelled> {
        type Pick = fn(&OfTransport) -> [(Option<&'static str>, &AtomicU64); 2];
        let rows: [(&'static str, &'static str, bool, &'static str, Pick); 4] = [
            ("connections_open", "Open connections", true, "", |of| {
                [(None, &of.open), (None, &of.open)]
            }),
            (
                "connections_opened",
                "Connections opened, by others and by us",
                false,
                "opener",
                |of| [(Some("peer"), &of.accepted), (Some("us"), &of.connected)],
            ),
            (
                "connection_messages",
                "Messages over connections",
                false,
                "direction",
                |of| {
                    [
                        (Some("in"), &of.messages_in),
                        (Some("out"), &of.messages_out),
                    ]
                },
            ),
            (
                "connection_bytes",
                "Bytes of messages over connections",
                false,
                "direction",
                |of| [(Some("in"), &of.bytes_in), (Some("out"), &of.bytes_out)],
            ),
        ];
        let of_row = |(name, help, is_gauge, label, pick): (_, _, bool, _, Pick)| {
            let streams = Transport::ALL.into_iter().zip(&self.transports).skip(1);
            let samples = streams.flat_map(|(transport, of)| {
                let values = pick(of);
                let wanted = if is_gauge { 1 } else { 2 };
                values.into_iter().take(wanted).map(move |(value, count)| {
                    let mut labels = vec![("transport", transport.param())];
                    labels.extend(value.map(|value| (label, value)));
                    (labels, get(count))
                })
            });
            Labelled {
                name,
                help,
                is_gauge,
                samples: samples.collect(),
            }
        };
        rows.into_iter().map(of_row).collect()
    }
}

fn family<'a>(
    name: &'static str,
    help: &'static str,
    label: &'static str,
    counts: impl Iterator<Item = (&'static str, &'a AtomicU64)>,
) -> Labelled {
    let samples = counts.map(|(value, count)| (vec![(label, value)], get(count)));
    Labelled {
        name,
        help,
        is_gauge: false,
        samples: samples.collect(),
    }
}

fn count(counts: &[AtomicU64], at: usize) {
    if let Some(counter) = counts.get(at) {
        add(counter, 1);
    }
}

fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_counted_under_its_own_label() {
        let counters = StreamCounters::default();
        Refusal::ALL.iter().for_each(|why| counters.refused(*why));
        Unframed::ALL.iter().for_each(|why| counters.unframed(*why));
        for why in Closed::ALL {
            counters.opened(Transport::Tls, true);
            counters.closed(Transport::Tls, *why);
        }
        counters.sent(Transport::Wss, 2, 900);
        let families = counters.labelled();
        let sum = |name: &str, label: &str| {
            let family = families.iter().find(|family| family.name == name).unwrap();
            let mut values = Vec::new();
            for (labels, count) in &family.samples {
                if labels.iter().any(|(_, value)| *value == label) {
                    values.push(*count);
                }
            }
            values
        };
        for why in Refusal::ALL {
            assert_eq!(sum("connections_refused", why.label()), [1]);
        }
        for why in Closed::ALL {
            assert_eq!(sum("connections_closed", why.label()), [1]);
        }
        for why in Unframed::ALL {
            assert_eq!(sum("connections_unframed", why.kind()), [1]);
        }
        assert_eq!(sum("connections_open", "tls"), [0]);
        assert_eq!(
            sum("connections_opened", "us"),
            [0, Closed::ALL.len() as u64, 0, 0]
        );
        assert_eq!(sum("connection_bytes", "wss"), [0, 900]);
    }
}
