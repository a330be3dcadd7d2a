//! Who is known under a key, and the routing word: 1 k to 1 M subscribers, alone and beside a
//! writer. Then what a subscriber costs, and how long loading and importing take.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench fails by panicking"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "a bench reads the clock and paces its writer"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use mimalloc::MiMalloc;
use pointsman::presence::{Change, Clock, Directory, NumberPlan, Roster, Source, Subscriber};
use pointsman::store::{Embedded, Memory, Options, Store, Write};

/// The server's, which may lay the directory out in huge pages.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const SIZES: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];

fn subscriber(n: usize) -> Subscriber {
    Subscriber {
        id: format!("person{n}"),
        display_name: format!("Person Number {n}"),
        aliases: vec![
            format!("{}", 2_000_000 + n),
            format!("+4930{}", 20_000_000 + n),
        ],
        version: n as u64 + 1,
        ..Subscriber::default()
    }
}

fn filled(size: usize, plan: &NumberPlan) -> Arc<Directory> {
    let directory = Directory::new(7);
    for n in 0..size {
        directory.put(&subscriber(n), plan).unwrap();
    }
    Arc::new(directory)
}

/// The numbers below `size` in an order without locality, for ever.
fn shuffled(size: usize) -> impl FnMut() -> usize {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((u128::from(state) * size as u128) >> 64) as usize
    }
}

/// Keys in a random order, laid out as they will be read.
fn keys(size: usize) -> Vec<[u8; 13]> {
    let mut next = shuffled(size);
    (0..size.max(100_000))
        .map(|_| {
            let key = format!("+4930{}", 20_000_000 + next());
            key.as_bytes().try_into().unwrap()
        })
        .collect()
}

/// Changes `share` of the subscribers each second, or as many as it can without a share.
fn write(directory: &Directory, plan: &NumberPlan, share: Option<f64>, stop: &AtomicBool) -> u64 {
    let size = directory.len();
    let mut next = shuffled(size);
    let pace = share.map(|share| Duration::from_secs_f64(1.0 / (size as f64 * share)));
    let (started, mut done) = (Instant::now(), 0);
    while !stop.load(Ordering::Relaxed) {
        let n = next();
        let message = Some(format!("Back at {done}"));
        let changed = Subscriber {
            status_message: message,
            ..subscriber(n)
        };
        directory.put(&changed, plan).unwrap();
        done += 1;
        if let Some(pace) = pace {
            let due = started + pace.saturating_mul(done as u32);
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
    done
}

fn read(c: &mut Criterion, name: &str, share: Option<Option<f64>>) {
    let plan = NumberPlan::for_region("DE").unwrap();
    let mut group = c.benchmark_group(name);
    for size in SIZES {
        let directory = filled(size, &plan);
        let keys = keys(size);
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let writer = share.map(|share| {
                let (directory, plan, stop) = (&directory, &plan, &stop);
                scope.spawn(move || write(directory, plan, share, stop))
            });
            let mut next = keys.iter().cycle();
            group.bench_function(BenchmarkId::from_parameter(size), |b| {
                b.iter(|| {
                    let handle = directory.find(next.next().unwrap()).unwrap();
                    black_box(directory.routing(handle))
                });
            });
            stop.store(true, Ordering::Relaxed);
            let changes = writer.map_or(0, |writer| writer.join().unwrap());
            if changes > 0 {
                println!("    {changes} changes beside it");
            }
        });
    }
    group.finish();
}

fn reads(c: &mut Criterion) {
    read(c, "directory/read", None);
    read(c, "directory/read beside 1 % a second", Some(Some(0.01)));
    read(c, "directory/read beside a busy writer", Some(None));
}

/// What one access to memory costs that must wait for the one before: the floor of a read, which
/// has two, one into the index and one to the routing word.
fn floor() {
    for megabytes in [8, 170] {
        let cells: Vec<[u64; 4]> = (0..megabytes << 15).map(|n| [n, 0, 0, 0]).collect();
        let mut next = shuffled(cells.len() - 1);
        let mut last = 0;
        let mut batches: Vec<u128> = (0..2_000)
            .map(|_| {
                let started = Instant::now();
                for _ in 0..1_000 {
                    last = cells[next() + (last & 1) as usize][0];
                }
                black_box(last);
                started.elapsed().as_nanos() / 1_000
            })
            .collect();
        batches.sort_unstable();
        let (best, median) = (batches[20], batches[batches.len() / 2]);
        println!("one access to {megabytes} MB: {best} ns in the quietest 1 %, median {median} ns");
    }
}

/// The median and the quickest of short batches: what a read costs when nothing else runs, on a
/// machine that is shared.
fn quiet(_: &mut Criterion) {
    const BATCH: usize = 5_000;
    floor();
    let plan = NumberPlan::for_region("DE").unwrap();
    for size in SIZES {
        let directory = filled(size, &plan);
        let keys = keys(size);
        for (name, share) in [("alone", None), ("beside 1 %", Some(Some(0.01)))] {
            let stop = AtomicBool::new(false);
            let mut batches: Vec<u128> = thread::scope(|scope| {
                let (directory, plan, stop) = (&directory, &plan, &stop);
                if let Some(share) = share {
                    scope.spawn(move || write(directory, plan, share, stop));
                }
                let mut next = keys.iter().cycle();
                let batch = |_| {
                    let started = Instant::now();
                    for key in next.by_ref().take(BATCH) {
                        let handle = directory.find(key).unwrap();
                        black_box(directory.routing(handle));
                    }
                    started.elapsed().as_nanos() / BATCH as u128
                };
                let batches = (0..2_000).map(batch).collect();
                stop.store(true, Ordering::Relaxed);
                batches
            });
            batches.sort_unstable();
            let (best, median) = (batches[20], batches[batches.len() / 2]);
            println!("read of {size}, {name}: {best} ns in the quietest 1 %, median {median} ns");
        }
    }
}

fn dialled(c: &mut Criterion) {
    let plan = NumberPlan::for_region("DE").unwrap();
    let directory = filled(10_000, &plan);
    let mut group = c.benchmark_group("directory/find_dialled of 10000");
    for user in [
        "2001234",
        "+493020001234",
        "03020001234",
        "0049%2030-2000-1234",
        "unknown",
    ] {
        group.bench_function(user, |b| {
            b.iter(|| black_box(directory.find_dialled(black_box(user.as_bytes()), &plan)));
        });
    }
    group.finish();
    let handle = directory.find(b"2001234").unwrap();
    c.bench_function("directory/mark and unmark", |b| {
        b.iter(|| directory.mark(handle, pointsman::presence::MarkKind::InCall));
    });
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// What this process has used of all cores so far.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit(')').next().unwrap();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

fn clock() -> Clock {
    Arc::new(jiff::Timestamp::now)
}

/// Figures that are taken once: bytes, loading, importing.
fn once(_: &mut Criterion) {
    let plan = NumberPlan::for_region("DE").unwrap();
    for size in [100_000, 1_000_000] {
        let (before, busy) = (resident_bytes(), cpu());
        let directory = filled(size, &plan);
        let bytes = (resident_bytes() - before) / size;
        let each = (cpu() - busy).as_nanos() / size as u128;
        println!("{size} plain subscribers with 3 keys: {bytes} bytes, put in {each} ns each");
        drop(directory);
    }
    load(&plan);
    import(plan);
}

fn load(plan: &NumberPlan) {
    let store = Memory::new([0; 32]);
    let path = tempfile::tempdir().unwrap();
    let seed = Roster::start(
        Arc::new(store.clone()),
        Arc::new(Directory::new(1)),
        plan.clone(),
        clock(),
    )
    .unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for start in (0..1_000_000).step_by(100_000) {
        let answers = runtime.block_on(seed.change_many(puts(start, 100_000)));
        assert!(answers.iter().all(Result::is_ok));
    }
    drop(seed);
    let embedded = Embedded::open(path.path(), Options::default()).unwrap();
    let mut batch = Vec::new();
    store
        .load(&mut |key, value| {
            batch.push(Write::Put {
                key: key.to_owned(),
                value: value.to_vec(),
            });
        })
        .unwrap();
    embedded.write(&batch).unwrap();
    drop((batch, store));
    let directory = Arc::new(Directory::new(1));
    let (started, busy) = (Instant::now(), cpu());
    let roster = Roster::start(
        Arc::new(embedded),
        Arc::clone(&directory),
        plan.clone(),
        clock(),
    );
    println!(
        "{} subscribers loaded from disk: {:?}, {:?} of CPU",
        directory.len(),
        started.elapsed(),
        cpu() - busy
    );
    drop(roster);
}

fn puts(start: usize, count: usize) -> Vec<Change> {
    (start..start + count)
        .map(|n| Change::Put {
            subscriber: Box::new(subscriber(n)),
            if_version: None,
            source: Source::Import,
        })
        .collect()
}

fn import(plan: NumberPlan) {
    let path = tempfile::tempdir().unwrap();
    let store = Embedded::open(path.path(), Options::default()).unwrap();
    let directory = Arc::new(Directory::new(1));
    let roster = Roster::start(Arc::new(store), Arc::clone(&directory), plan, clock()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let changes = puts(0, 100_000);
    let (started, busy) = (Instant::now(), cpu());
    let answers = runtime.block_on(roster.change_many(changes));
    assert!(answers.iter().all(Result::is_ok));
    println!(
        "{} subscribers imported to disk: {:?}, {:?} of CPU",
        directory.len(),
        started.elapsed(),
        cpu() - busy
    );
}

criterion_group!(benches, once, quiet, reads, dialled);
criterion_main!(benches);
