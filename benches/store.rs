//! What the embedded store costs: on the call path, for a change, and at the start.
#![expect(clippy::unwrap_used, reason = "a bench stops where it fails")]

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pointsman::store::{Embedded, Options, Store, Write};

/// A subscriber's document as most are: some settings and two aliases.
const DOCUMENT_BYTES: usize = 300;
const CALL_BYTES: usize = 320;
const ENTRY_BYTES: usize = 160;

/// On the disk that holds the build, not in a `/tmp` that may be memory.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn open(path: &Path) -> Embedded {
    Embedded::open(path, Options::default()).unwrap()
}

fn put(number: u64) -> Write {
    Write::Put {
        key: format!("subscriber-{number:07}"),
        value: vec![b'x'; DOCUMENT_BYTES],
    }
}

fn documents(c: &mut Criterion) {
    let mut group = c.benchmark_group("store/documents");
    group
        .sample_size(20)
        .measurement_time(Duration::from_secs(4));
    let directory = directory();
    let store = open(directory.path());
    let all: Vec<Write> = (0..100_000).map(put).collect();
    store.write(&all).unwrap();
    let mut next = 0;
    for size in [1, 100, 1_000] {
        group.throughput(Throughput::Elements(size));
        group.bench_function(BenchmarkId::new("durable_batch", size), |b| {
            let batch = || {
                next += 7_919;
                (0..size)
                    .map(|n| put((next + n * 31) % 100_000))
                    .collect::<Vec<_>>()
            };
            let write = |batch: Vec<Write>| store.write(&batch).unwrap();
            b.iter_batched(batch, write, BatchSize::PerIteration);
        });
    }
    group.finish();
}

fn start(c: &mut Criterion) {
    let mut group = c.benchmark_group("store/start");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(8));
    let directory = directory();
    let store = open(directory.path());
    for part in 0..20 {
        let batch: Vec<Write> = (part * 50_000..(part + 1) * 50_000).map(put).collect();
        store.write(&batch).unwrap();
    }
    drop(store);
    group.bench_function("open_and_load_1M_documents", |b| {
        b.iter(|| {
            let (mut documents, mut bytes) = (0, 0);
            let mut each = |key: &str, value: &[u8]| {
                documents += 1;
                bytes += key.len() + value.len();
            };
            open(directory.path()).load(&mut each).unwrap();
            assert_eq!(documents, 1_000_000);
            black_box(bytes)
        });
    });
    let running = open(directory.path());
    let killed = || {
        let copy = self::directory();
        for name in ["documents.redb", "lock"] {
            std::fs::copy(directory.path().join(name), copy.path().join(name)).unwrap();
        }
        copy
    };
    group.bench_function("open_after_kill_1M_documents", |b| {
        b.iter_batched(
            killed,
            |copy| (open(copy.path()), copy),
            BatchSize::PerIteration,
        );
    });
    let mut calls = running.open_calls(1, &|_| 0).unwrap().remove(0);
    while calls.len() < 100_000 {
        calls.insert(&[5; CALL_BYTES]).unwrap();
    }
    drop((calls, running));
    group.bench_function("open_with_100k_calls", |b| {
        b.iter(|| open(directory.path()).open_calls(1, &|_| 0).unwrap().len());
    });
    group.finish();
}

fn calls(c: &mut Criterion) {
    let mut group = c.benchmark_group("store/open_calls");
    for open_before in [100, 100_000] {
        let directory = directory();
        let store = open(directory.path());
        let mut calls = store.open_calls(1, &|_| 0).unwrap().remove(0);
        let record = [5; CALL_BYTES];
        let slots: Vec<u32> = (0..open_before)
            .map(|_| calls.insert(&record).unwrap())
            .collect();
        group.bench_function(BenchmarkId::new("insert_remove", open_before), |b| {
            b.iter(|| {
                let slot = calls.insert(black_box(&record)).unwrap();
                calls.remove(slot);
            });
        });
        let mut next = 0;
        group.bench_function(BenchmarkId::new("update", open_before), |b| {
            b.iter(|| {
                next = (next + 7_919) % slots.len();
                calls.update(*slots.get(next).unwrap(), black_box(&record))
            });
        });
        group.bench_function(BenchmarkId::new("read_all", open_before), |b| {
            b.iter(|| store.read_calls(&mut |record| _ = black_box(record)));
        });
    }
    group.finish();
}

fn journal(c: &mut Criterion) {
    let mut group = c.benchmark_group("store/journal");
    let directory = directory();
    let store = open(directory.path());
    let mut journal = store.journals(1).unwrap().remove(0);
    let record = [5; ENTRY_BYTES];
    let mut subscriber = 0u64;
    std::thread::scope(|scope| {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let store = &store;
        scope.spawn(move || {
            let second = Duration::from_millis(100);
            let timed_out = Err(std::sync::mpsc::RecvTimeoutError::Timeout);
            while stopped.recv_timeout(second) == timed_out {
                store.maintain(1_000).unwrap();
            }
        });
        group.bench_function("append", |b| {
            b.iter(|| {
                subscriber = (subscriber + 7_919) % 100_000;
                journal.append(subscriber, black_box(&record));
            });
        });
        drop(stop);
    });
    group.bench_function("list_20_newest", |b| {
        b.iter(|| {
            subscriber = (subscriber + 7_919) % 100_000;
            store.read_journal(subscriber, None, 20).unwrap()
        });
    });
    group.finish();
}

criterion_group!(benches, calls, journal, documents, start);
criterion_main!(benches);
