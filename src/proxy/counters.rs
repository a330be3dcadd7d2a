//! What a shard counts. Each counter has one writer, so counting is a plain load and store.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only its shard changes.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn inc(&self) {
        self.set(self.get().wrapping_add(1));
    }

    /// A new value, for gauges.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// One shard's numbers.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: Counter,)*
            /// Gauge, kept while the process is about to end: INVITEs without a final response.
            pub invites_pending: Counter,
            /// Responses sent upstream for INVITE, by class 1xx–6xx.
            pub responses: [Counter; 6],
            /// Decisions, by [`super::facts::Outcome`] and the label of the reason that decided.
            pub decisions: LabelCounters,
            /// Messages refused as malformed, by kind.
            pub malformed: LabelCounters,
            /// Requests answered by ourselves, by [`super::Rejection`] label.
            pub rejections: LabelCounters,
            /// Requests given up under load, by class and reason.
            pub shed: LabelCounters,
            /// What became of REGISTER requests for us: `accepted`, or `refused` and why.
            pub registrations: LabelCounters,
            /// What became of SUBSCRIBE requests for us: `accepted`, or `refused` and why.
            pub subscriptions: LabelCounters,
        }

        impl Counters {
            /// The plain numbers by name, in a stable order.
            pub fn plain(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name.get()),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Requests received, retransmissions included.
    requests_received,
    /// Responses received.
    responses_received,
    /// INVITEs outside a dialog that were decided.
    calls_decided,
    /// Requests that came again and were answered or absorbed.
    retransmissions_received,
    /// Messages that we sent again.
    retransmissions_sent,
    /// Requests sent to another hop because the first one failed.
    failovers,
    /// Responses that answer nothing of ours.
    stray_responses,
    /// ACKs that acknowledge nothing.
    stray_acks,
    /// Keep-alives and other datagrams without a message.
    keepalives,
    /// Requests refused because a table was full or the process ends.
    overloads,
    /// Calls answered.
    calls_answered,
    /// Calls ended by a BYE.
    calls_ended_bye,
    /// Calls ended because the dialog failed (481, 408).
    calls_ended_failed,
    /// Calls ended by their session timer or the hard limit.
    calls_ended_expired,
    /// Gauge: open calls.
    calls_open,
    /// Gauge: INVITE transactions in any state.
    invites_open,
    /// Gauge: other transactions in any state.
    relays_open,
    /// Gauge: entries on the timer wheel.
    timers,
    /// Requests that waited for a host name.
    names_pending,
    /// Responses that told upstream how much less we want (RFC 7339).
    oc_sent,
    /// Responses that told us how much less a next hop wants.
    oc_received,
    /// Requests that no next hop wanted.
    throttled,
    /// Gauge: how many of a hundred requests we want less.
    oc_percent,
    /// Messages dropped because their source sends more than it may.
    source_limited,
    /// Requests that were to be authenticated and were not.
    challenges,
    /// Requests whose sender has proved who they are.
    authentications,
    /// Requests with wrong credentials.
    authentication_failures,
    /// Sources that were shut out.
    bans,
    /// Requests dropped because their source is shut out.
    banned_requests,
    /// OPTIONS sent to ask how a system is doing.
    probes_sent,
    /// Gauge: event subscriptions.
    subscriptions_open,
    /// NOTIFY requests sent to watchers.
    notifies_sent,
    /// Subscriptions that ended because their watcher did not take a NOTIFY.
    notifies_failed,
}

/// How many different labels one table keeps; later ones are counted under the last.
const LABELS: usize = 64;

/// Counts by pairs of fixed labels: a handful of entries, found by looking.
#[derive(Debug)]
pub struct LabelCounters {
    entries: [(std::sync::OnceLock<(&'static str, &'static str)>, Counter); LABELS],
}

impl Default for LabelCounters {
    fn default() -> Self {
        Self {
            entries: std::array::from_fn(|_| Default::default()),
        }
    }
}

impl LabelCounters {
    /// One more of this pair.
    pub fn inc(&self, label: &'static str, reason: &'static str) {
        for (key, counter) in &self.entries {
            if *key.get_or_init(|| (label, reason)) == (label, reason) {
                return counter.inc();
            }
        }
        if let Some((_, counter)) = self.entries.last() {
            counter.inc();
        }
    }

    /// Every pair seen so far with its count.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        self.entries.iter().map_while(|(key, counter)| {
            key.get()
                .map(|(label, reason)| (*label, *reason, counter.get()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_counted_apart() {
        let counters = LabelCounters::default();
        counters.inc("reject", "dnd");
        counters.inc("connect", "available");
        counters.inc("reject", "dnd");
        let seen: Vec<_> = counters.iter().collect();
        assert_eq!(seen, [("reject", "dnd", 2), ("connect", "available", 1)]);
    }
}
