//! Whole calls through the engine without sockets: what each call costs us beside the kernel. The
//! phones' own work is in the figures; `instructions` counts without it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    reason = "a bench that cannot set itself up has failed"
)]

mod calls;
#[path = "../tests/harness/mod.rs"]
mod harness;

use calls::Site;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const SUBSCRIBERS: u32 = 100_000;
const MS_PER_CALL: u64 = 1;

fn all(c: &mut Criterion) {
    let mut group = c.benchmark_group("engine");
    group.throughput(Throughput::Elements(1));
    for kind in ["redirect", "reject"] {
        let mut site = Site::new(kind, SUBSCRIBERS, MS_PER_CALL);
        group.bench_function(kind, |b| b.iter(|| site.refused()));
    }
    let mut site = Site::new("call", SUBSCRIBERS, MS_PER_CALL);
    group.bench_function("full_call", |b| b.iter(|| site.full_call()));
    assert_eq!(site.calls(), 0, "each BYE ended its call");
    group.finish();
}

criterion_group!(benches, all);
criterion_main!(benches);
