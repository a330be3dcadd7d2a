//! One log line for each call, as many in a second as the configuration allows.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;

use super::clock::Clock;
use super::priority::Courtesy;
use crate::config::Config;
use crate::engine::{Now, Shared};
use crate::proxy::Trace;

/// After so much work, who has come meanwhile is let in: a decision is handed on for 1 and logged for
/// [`LINE`].
const GIVES_WAY: usize = 64;
/// What a line of the log counts for beside handing its decision on.
const LINE: usize = 24;

type Sink = Box<dyn Fn(Trace) + Send + Sync>;

/// Takes the shards' decisions, for the log and for whoever else wants them.
pub(super) struct Collector {
    shared: Arc<Shared>,
    clock: Clock,
    config: Arc<ArcSwap<Config>>,
    chronicle: Mutex<Chronicle>,
    sink: OnceLock<Sink>,
}

impl Collector {
    pub(super) fn new(shared: Arc<Shared>, clock: Clock, config: Arc<ArcSwap<Config>>) -> Self {
        Self {
            shared,
            clock,
            config,
            chronicle: Mutex::default(),
            sink: OnceLock::new(),
        }
    }

    /// Hands every decision to `sink` from now on; the first sink counts.
    pub(super) fn hand_to(&self, sink: impl Fn(Trace) + Send + Sync + 'static) {
        let _ = self.sink.set(Box::new(sink));
    }

    /// Logs what was decided since the last time, and hands it on.
    pub(super) fn collect(&self) {
        let calls_per_s = self.config.load().log.calls_per_s;
        let mut chronicle = self
            .chronicle
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        chronicle.collect(&self.shared, self.clock.now(), calls_per_s, &|trace| {
            if let Some(sink) = self.sink.get() {
                sink(trace);
            }
        });
    }
}

/// Counts what was logged in the running second.
#[derive(Debug, Default)]
struct Chronicle {
    second: i64,
    logged: u32,
    suppressed: u64,
}

impl Chronicle {
    /// Takes what the shards traced since the last time, logs it, and hands it on.
    fn collect(&mut self, shared: &Shared, now: Now, calls_per_s: u32, sink: &dyn Fn(Trace)) {
        self.begin_second(now.unix_ms.div_euclid(1_000));
        let (mut work, mut courtesy) = (0, Courtesy::default());
        for shard in &shared.shards {
            // At most one queueful, so that a busy shard cannot keep the others waiting.
            for _ in 0..shard.traces.capacity() {
                let Some(trace) = shard.traces.pop() else {
                    break;
                };
                work += 1;
                if self.logged < calls_per_s {
                    self.logged += 1;
                    work += LINE;
                    log(shared, &trace);
                } else {
                    self.suppressed += 1;
                }
                sink(trace);
                if work >= GIVES_WAY {
                    work = 0;
                    courtesy.give_way();
                }
            }
        }
    }

    fn begin_second(&mut self, second: i64) {
        if second != self.second {
            if self.suppressed > 0 {
                let calls = self.suppressed;
                tracing::info!(target: "pointsman::call", calls, "more calls than log.calls_per_s");
            }
            *self = Self {
                second,
                ..Self::default()
            };
        }
    }
}

fn log(shared: &Shared, trace: &Trace) {
    let reasons: Vec<_> = trace.reasons.iter().map(|reason| reason.label()).collect();
    let callee = trace
        .callee
        .and_then(|callee| shared.directory.profile(callee));
    tracing::info!(
        target: "pointsman::call",
        call_id = &*trace.texts.call_id(),
        from = &*trace.texts.from(),
        to = &*trace.texts.to(),
        source = %trace.source,
        class = trace.class.name(),
        callee = callee.as_ref().map(|callee| callee.id()),
        decision = trace.outcome.label(),
        reasons = reasons.join(","),
        target = Some(trace.texts.target()).filter(|t| !t.is_empty()).as_deref(),
        status = trace.status,
        setup_ms = trace.setup_ms,
        ring_ms = trace.ring_ms,
        "call"
    );
}

#[cfg(test)]
mod tests {
    use super::super::tests::{shared, trace};
    use super::*;
    use std::cell::Cell;
    use std::io;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(work: impl FnOnce()) -> String {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .without_time()
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, work);
        String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_call_is_one_line_with_its_decision() {
        let shared = shared();
        shared.shards[0].traces.push(trace("a\"b\n@c")).unwrap();
        let text = logged(|| {
            let now = Now {
                ms: 0,
                unix_ms: 1_000,
            };
            Chronicle::default().collect(&shared, now, 10, &|_| ());
        });
        assert_eq!(text.lines().count(), 1);
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["call_id"], "a\"b\n@c");
        assert_eq!(line["decision"], "reject");
        assert_eq!(line["status"], 480);
        assert_eq!(line["class"], "internal");
    }

    #[test]
    fn calls_above_the_limit_are_counted_and_handed_on() {
        let shared = shared();
        let handed = Cell::new(0);
        let text = logged(|| {
            let mut chronicle = Chronicle::default();
            for unix_ms in [1_000, 1_500, 2_000] {
                for _ in 0..3 {
                    shared.shards[0].traces.push(trace("x")).unwrap();
                }
                let now = Now { ms: 0, unix_ms };
                chronicle.collect(&shared, now, 4, &|_| handed.set(handed.get() + 1));
            }
        });
        assert_eq!(handed.get(), 9);
        let calls = text
            .lines()
            .filter(|line| line.contains("\"call_id\""))
            .count();
        assert_eq!(calls, 4 + 3);
        assert!(text.contains("\"calls\":2"), "{text}");
    }
}
