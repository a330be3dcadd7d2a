//! What the host of a shard counts, beside what its engine counts.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::proxy::Counter;

macro_rules! counters {
    ($(#[doc = $help:literal] $name:ident,)*) => {
        /// One shard's numbers; written by that shard alone.
        #[derive(Debug, Default)]
        pub struct HostCounters {
            $(#[doc = $help] pub $name: Counter,)*
        }

        impl HostCounters {
            /// Each number with its name and its meaning, in a stable order.
            pub fn plain(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), $help.trim_ascii(), self.$name.get()),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Datagrams received on this shard's sockets.
    datagrams_received,
    /// Datagrams that the kernel took from us.
    datagrams_sent,
    /// Of those, how many were given to the kernel joined with others.
    datagrams_joined,
    /// Calls of recvmmsg that found something.
    receive_calls,
    /// Calls of sendmmsg.
    send_calls,
    /// Waits that ended.
    wakeups,
    /// Datagrams handed to the shard that owns their call.
    handed_over,
    /// Datagrams that another shard handed to this one.
    handed_in,
    /// Times another shard had to be woken for them.
    handover_wakeups,
    /// Datagrams dropped because the other shard's queue was full.
    handover_drops,
    /// Datagrams dropped because they were longer than `limits.message_bytes`.
    too_long,
    /// Datagrams not sent because the send buffer stayed full.
    send_drops,
    /// Datagrams that the system refused to send.
    send_failures,
    /// Destinations that ICMP said cannot be reached.
    unreachable,
    /// Messages that caused a panic and were dropped.
    panics,
    /// Datagrams that the kernel dropped because a shard was too slow.
    kernel_drops,
    /// New requests that the kernel left at our word, before they cost anything.
    kernel_sieved,
}

impl HostCounters {
    /// Adds to one of the numbers.
    pub(super) fn add(counter: &Counter, count: usize) {
        counter.set(counter.get().wrapping_add(count as u64));
    }
}

/// The upper bounds of a histogram's buckets, nanoseconds; the last bucket has none.
pub const LATENCY_BOUNDS_NS: [u64; 18] = [
    250,
    500,
    1_000,
    2_000,
    4_000,
    8_000,
    16_000,
    32_000,
    64_000,
    125_000,
    250_000,
    500_000,
    1_000_000,
    4_000_000,
    16_000_000,
    64_000_000,
    250_000_000,
    1_000_000_000,
];

/// How long something took, and how often.
#[derive(Debug, Default)]
pub struct Latency {
    buckets: [AtomicU64; LATENCY_BOUNDS_NS.len() + 1],
    sum_ns: AtomicU64,
}

impl Latency {
    pub(super) fn record(&self, ns: u64) {
        let bucket = LATENCY_BOUNDS_NS.partition_point(|bound| *bound < ns);
        if let Some(count) = self.buckets.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// Samples in each bucket, not cumulated: first those up to [`LATENCY_BOUNDS_NS`], then the rest.
    pub fn buckets(&self) -> impl Iterator<Item = u64> {
        self.buckets
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
    }

    /// The sum of all samples, nanoseconds.
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_counts_in_the_bucket_that_it_does_not_exceed() {
        let latency = Latency::default();
        for ns in [0, 250, 251, 1_000_000_000, 1_000_000_001, u64::MAX >> 1] {
            latency.record(ns);
        }
        let buckets: Vec<_> = latency.buckets().collect();
        assert_eq!(
            (buckets[0], buckets[1], buckets[17], buckets[18]),
            (2, 1, 1, 2)
        );
        assert_eq!(buckets.iter().sum::<u64>(), 6);
    }
}
