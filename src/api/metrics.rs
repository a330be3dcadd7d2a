//! The text of `/metrics`: each shard's counters summed when they are asked for.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::peers::systems;
use super::state::{ApiState, Family, Histogram};
use crate::proxy::{Counters, LabelCounters};

/// A plain number of the shards: its name, whether it can fall, and what it means.
struct Plain(&'static str, bool, &'static str);

const PLAIN: &[Plain] = &[
    Plain(
        "requests_received",
        false,
        "Requests received, retransmissions included",
    ),
    Plain("responses_received", false, "Responses received"),
    Plain(
        "calls_decided",
        false,
        "INVITEs outside a dialog that were decided",
    ),
    Plain(
        "retransmissions_received",
        false,
        "Requests that came again",
    ),
    Plain(
        "retransmissions_sent",
        false,
        "Messages that were sent again",
    ),
    Plain(
        "failovers",
        false,
        "Requests sent to another hop because the first one failed",
    ),
    Plain(
        "stray_responses",
        false,
        "Responses that answer nothing of ours",
    ),
    Plain("stray_acks", false, "ACKs that acknowledge nothing"),
    Plain(
        "keepalives",
        false,
        "Keep-alives and other datagrams without a message",
    ),
    Plain(
        "overloads",
        false,
        "Requests refused because a table was full or the process ends",
    ),
    Plain("calls_answered", false, "Calls answered"),
    Plain("calls_ended_bye", false, "Calls ended by a BYE"),
    Plain(
        "calls_ended_failed",
        false,
        "Calls ended because their dialog failed",
    ),
    Plain(
        "calls_ended_expired",
        false,
        "Calls ended by their session timer or the hard limit",
    ),
    Plain("calls_open", true, "Calls in progress"),
    Plain("subscriptions_open", true, "Event subscriptions"),
    Plain("notifies_sent", false, "NOTIFY requests sent to watchers"),
    Plain(
        "notifies_failed",
        false,
        "Subscriptions that ended because their watcher did not take a NOTIFY",
    ),
    Plain("invites_open", true, "INVITE transactions in any state"),
    Plain("relays_open", true, "Other transactions in any state"),
    Plain("timers", true, "Entries on the timer wheels"),
    Plain(
        "names_pending",
        false,
        "Requests that waited for a host name",
    ),
    Plain(
        "oc_sent",
        false,
        "Responses that told upstream how much less we want (RFC 7339)",
    ),
    Plain(
        "oc_received",
        false,
        "Responses that told us how much less a next hop wants (RFC 7339)",
    ),
    Plain(
        "throttled",
        false,
        "Requests that no next hop wanted (RFC 7339)",
    ),
    Plain(
        "oc_percent",
        true,
        "How many of a hundred requests we want less, summed over the shards",
    ),
    Plain(
        "source_limited",
        false,
        "Messages dropped because their source sends more than limits.messages_per_source_s",
    ),
    Plain(
        "challenges",
        false,
        "Requests that were to be authenticated and were not",
    ),
    Plain(
        "authentications",
        false,
        "Requests whose sender has proved who they are",
    ),
    Plain(
        "authentication_failures",
        false,
        "Requests with wrong credentials",
    ),
    Plain("bans", false, "Sources that were shut out"),
    Plain(
        "banned_requests",
        false,
        "Requests dropped because their source is shut out",
    ),
    Plain(
        "probes_sent",
        false,
        "OPTIONS sent to ask how a system is doing",
    ),
];

/// Writes all metrics in the OpenMetrics text format.
pub fn text(state: &ApiState) -> String {
    let mut registry = Registry::with_prefix("pointsman");
    registry.register_collector(Box::new(Scrape(state.clone())));
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => text,
        Err(error) => format!("# {error}\n# EOF\n"),
    }
}

/// One scrape of everything.
struct Scrape(ApiState);

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scrape")
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        self.encode_plain(encoder)?;
        self.encode_responses(encoder)?;
        self.labelled(
            encoder,
            (
                "decisions",
                "Decisions on INVITEs, by what was done and why",
                ["decision", "reason"],
            ),
            |shard| &shard.decisions,
        )?;
        self.labelled(
            encoder,
            (
                "malformed",
                "Messages refused as malformed, by kind",
                ["kind", "answered"],
            ),
            |shard| &shard.malformed,
        )?;
        self.labelled(
            encoder,
            (
                "rejections",
                "Requests answered by ourselves",
                ["rejection", "method"],
            ),
            |shard| &shard.rejections,
        )?;
        self.labelled(
            encoder,
            (
                "shed",
                "Requests given up under load, by what they were worth and why",
                ["class", "reason"],
            ),
            |shard| &shard.shed,
        )?;
        self.labelled(
            encoder,
            (
                "registrations",
                "REGISTER requests answered by our registrar",
                ["result", "reason"],
            ),
            |shard| &shard.registrations,
        )?;
        self.labelled(
            encoder,
            (
                "subscriptions",
                "SUBSCRIBE requests answered by our notifier",
                ["result", "reason"],
            ),
            |shard| &shard.subscriptions,
        )?;
        self.encode_gauges(encoder)?;
        self.encode_systems(encoder)?;
        self.encode_names(encoder)?;
        self.encode_losses(encoder)?;
        self.encode_measures(encoder)
    }
}

impl Scrape {
    fn shards(&self) -> impl Iterator<Item = &Counters> {
        self.0.shared().shards.iter().map(|shard| &shard.counters)
    }

    fn encode_plain(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut sums: Vec<(&'static str, u64)> = Vec::new();
        for shard in self.shards() {
            for (position, (name, value)) in shard.plain().enumerate() {
                match sums.get_mut(position) {
                    Some((_, sum)) => *sum = sum.wrapping_add(value),
                    None => sums.push((name, value)),
                }
            }
        }
        for (name, sum) in sums {
            let known = PLAIN.iter().find(|Plain(known, ..)| *known == name);
            let (is_gauge, help) = known.map_or((false, name), |Plain(_, g, help)| (*g, *help));
            if is_gauge {
                gauge(encoder, name, help, sum)?;
            } else {
                counter(encoder, name, help, sum)?;
            }
        }
        Ok(())
    }

    fn encode_responses(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Responses sent upstream for INVITEs, by class";
        let mut family = encoder.encode_descriptor("responses", help, None, MetricType::Counter)?;
        for (position, class) in ["1xx", "2xx", "3xx", "4xx", "5xx", "6xx"]
            .into_iter()
            .enumerate()
        {
            let counts = self
                .shards()
                .filter_map(|shard| shard.responses.get(position));
            let sum: u64 = counts.map(crate::proxy::Counter::get).sum();
            counted(&mut family, &[("class", class)], sum)?;
        }
        Ok(())
    }

    /// A family of counters whose two labels the shards know; an empty second label is left out.
    fn labelled(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        (name, help, labels): (&str, &str, [&'static str; 2]),
        of: impl Fn(&Counters) -> &LabelCounters,
    ) -> fmt::Result {
        let mut sums = std::collections::BTreeMap::<_, u64>::new();
        for (first, second, count) in self.shards().flat_map(|shard| of(shard).iter()) {
            *sums.entry((first, second)).or_default() += count;
        }
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        let [first_label, second_label] = labels;
        for ((first, second), sum) in sums {
            let mut set = vec![(first_label, first)];
            if !second.is_empty() {
                set.push((second_label, second));
            }
            counted(&mut family, &set, sum)?;
        }
        Ok(())
    }

    fn encode_gauges(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let state = &self.0;
        let listeners = state.events().listeners() as u64;
        let is_ready = u64::from(!state.shared().is_draining());
        let shards = state.shared().shards.len() as u64;
        gauge(
            encoder,
            "subscribers",
            "Subscribers",
            state.directory().len() as u64,
        )?;
        let bindings = state.shared().locations.len() as u64;
        gauge(encoder, "bindings", "Bindings of phones", bindings)?;
        gauge(
            encoder,
            "event_listeners",
            "Readers of the event stream",
            listeners,
        )?;
        gauge(encoder, "ready", "1 while calls are routed", is_ready)?;
        gauge(encoder, "shards", "Threads that handle calls", shards)
    }

    /// The systems that calls are sent to, by name.
    fn encode_systems(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let systems = systems(&self.0);
        let help = "1 while calls are sent to a system, 0 while it is tried after all others";
        let mut family = encoder.encode_descriptor("node_up", help, None, MetricType::Gauge)?;
        for system in &systems {
            let is_up = matches!(system.state, "up" | "unknown");
            let labels = [("node", &*system.name)];
            family
                .encode_family(&labels)?
                .encode_gauge(&u64::from(is_up))?;
        }
        let help = "How long a system took to answer the last check, the quickest of its addresses";
        let name = "node_rtt_seconds";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for system in &systems {
            let rtts = system.targets.iter().filter_map(|target| target.rtt_ms);
            if let Some(rtt_ms) = rtts.min() {
                let labels = [("node", &*system.name)];
                let seconds = f64::from(rtt_ms) / 1_000.0;
                family.encode_family(&labels)?.encode_gauge(&seconds)?;
            }
        }
        let health = &self.0.shared().health;
        let help = "Targets that were put behind others after a failure";
        counter(encoder, "penalties", help, health.penalties())?;
        let in_trouble = health.in_trouble(self.0.host().now_ms()) as u64;
        let help = "Targets that are down or penalised now";
        gauge(encoder, "targets_in_trouble", help, in_trouble)
    }

    fn encode_names(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let names = &self.0.shared().names;
        let queries = names.counts.queries.load(Relaxed);
        let failures = names.counts.failures.load(Relaxed);
        counter(encoder, "dns_queries", "Queries to name servers", queries)?;
        let help = "Queries that no name server answered, or with a failure";
        counter(encoder, "dns_failures", help, failures)?;
        let help = "Host names that are known";
        gauge(encoder, "dns_names", help, names.len() as u64)
    }

    fn encode_measures(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let measures = self.0.host().measures();
        for (name, help, value) in measures.counters {
            counter(encoder, name, help, value)?;
        }
        for (name, help, value) in measures.gauges {
            gauge(encoder, name, help, value)?;
        }
        for measured in &measures.families {
            family(encoder, measured)?;
        }
        measures
            .histograms
            .iter()
            .try_for_each(|measured| histogram(encoder, measured))
    }

    fn encode_losses(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let losses = self.0.store().losses();
        let (torn, entries) = (losses.torn_calls, losses.journal_entries);
        counter(
            encoder,
            "store_torn_bindings",
            "Records of bindings that were damaged",
            losses.torn_bindings,
        )?;
        counter(
            encoder,
            "store_torn_subscriptions",
            "Records of event subscriptions that were damaged",
            losses.torn_subscriptions,
        )?;
        counter(
            encoder,
            "store_torn_calls",
            "Records of open calls that were damaged",
            torn,
        )?;
        counter(
            encoder,
            "store_lost_journal_entries",
            "Journal entries lost",
            entries,
        )
    }
}

fn histogram(encoder: &mut DescriptorEncoder<'_>, histogram: &Histogram) -> fmt::Result {
    let bounds = histogram.bounds_s.iter().copied().chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(histogram.counts.iter().copied()).collect();
    let count = buckets.iter().map(|(_, count)| count).sum();
    let (name, help) = (histogram.name, histogram.help);
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    metric.encode_histogram::<NoLabelSet>(histogram.sum_s, count, &buckets, None)
}

fn family(encoder: &mut DescriptorEncoder<'_>, measured: &Family) -> fmt::Result {
    let kind = match measured.is_gauge {
        true => MetricType::Gauge,
        false => MetricType::Counter,
    };
    let mut family = encoder.encode_descriptor(measured.name, measured.help, None, kind)?;
    for (labels, value) in &measured.samples {
        let labels = labels.as_slice();
        match measured.is_gauge {
            true => family.encode_family(&labels)?.encode_gauge(value)?,
            false => counted(&mut family, labels, *value)?,
        }
    }
    Ok(())
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    metric.encode_gauge(&value)
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
}

fn counted(
    family: &mut MetricEncoder<'_>,
    labels: &[(&'static str, &'static str)],
    value: u64,
) -> fmt::Result
where
    for<'l> &'l [(&'static str, &'static str)]: EncodeLabelSet,
{
    let mut metric = family.encode_family(&labels)?;
    metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plain_counter_is_explained_once() {
        for (name, _) in Counters::default().plain() {
            let known = PLAIN
                .iter()
                .filter(|Plain(known, ..)| *known == name)
                .count();
            assert_eq!(known, 1, "{name}");
        }
    }
}
