//! The embedded store against `kill -9`, damaged files, full disks and second processes.
//!
//! Some tests run this program again as a child: the tests marked as ignored are those children,
//! which do nothing unless their parent started them.
#![expect(
    unsafe_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails where it stands; resource limits have no safe wrapper"
)]

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use pointsman::store::{
    Embedded, OpenCalls, Options, Records, SlotWrite, Store, StoreError, Write,
};

const KINDS: [Records; 2] = [Records::Bindings, Records::Subscriptions];
const DIRECTORY: &str = "POINTSMAN_STORE_TEST_DIRECTORY";
const FIRST: &str = "POINTSMAN_STORE_TEST_FIRST";
const SHARDS: &str = "POINTSMAN_STORE_TEST_SHARDS";

const SUBSCRIBERS: u64 = 5;
/// The child reports at least this often.
const REPORT_EVERY: u64 = 64;

fn options() -> Options {
    Options {
        calls_per_shard: 20_000,
        journal_bytes: 1 << 30,
        journal_retention_s: 1_000,
        segment_bytes: 256 << 10,
        ..Options::default()
    }
}

// --- kill -9 -------------------------------------------------------------------------------------

/// Every step of the child's history is settled by its number and the open calls, so the parent
/// can tell what the store must hold after any number of steps.
enum Step {
    Documents(Vec<Write>),
    Insert { call: u64 },
    Update { call: u64, version: u64 },
    Remove { call: u64 },
    Append { subscriber: u64, record: Vec<u8> },
}

#[derive(Default)]
struct Model {
    steps: u64,
    found: Found,
}

/// What a store holds.
#[derive(Default, PartialEq, Eq)]
struct Found {
    documents: BTreeMap<String, Vec<u8>>,
    /// The version of each open call.
    calls: BTreeMap<u64, u64>,
    /// The entries of each subscriber, oldest first.
    journal: BTreeMap<u64, Vec<Vec<u8>>>,
}

impl Model {
    fn next(&mut self) -> Step {
        let number = self.steps;
        let random = mix(number);
        let calls = &self.found.calls;
        let some_call = calls.range(random % (number + 1)..).next();
        let step = match ((random >> 32) % 256, some_call.map(|(call, _)| *call)) {
            (0, _) => Step::Documents(batch(number)),
            (1..16, _) => Step::Append {
                subscriber: random % SUBSCRIBERS,
                record: filled(number, 0),
            },
            (16..80, Some(call)) => Step::Update {
                call,
                version: number,
            },
            (80..150, Some(call)) => Step::Remove { call },
            (_, Some(call)) if calls.len() >= 10_000 => Step::Remove { call },
            _ => Step::Insert { call: number },
        };
        self.steps += 1;
        self.found.apply(&step);
        step
    }
}

impl Found {
    fn apply(&mut self, step: &Step) {
        match step {
            Step::Documents(batch) => batch.iter().for_each(|write| self.write(write)),
            Step::Insert { call } => _ = self.calls.insert(*call, 0),
            Step::Update { call, version } => _ = self.calls.insert(*call, *version),
            Step::Remove { call } => _ = self.calls.remove(call),
            Step::Append { subscriber, record } => {
                let entries = self.journal.entry(*subscriber).or_default();
                entries.push(record.clone());
            }
        }
    }

    fn write(&mut self, write: &Write) {
        match write {
            Write::Put { key, value } => _ = self.documents.insert(key.clone(), value.clone()),
            Write::Delete { key } => _ = self.documents.remove(key),
        }
    }

    fn in_store(store: &dyn Store) -> Self {
        let mut found = Self::default();
        let documents = &mut found.documents;
        let mut keep = |key: &str, value: &[u8]| _ = documents.insert(key.into(), value.into());
        store.load(&mut keep).unwrap();
        store.open_calls(1, &|_| 0).unwrap();
        store.read_calls(&mut |record| {
            let (call, version) = call_of(record);
            let twice = found.calls.insert(call, version);
            assert_eq!(twice, None, "call {call} is there twice");
        });
        for subscriber in 0..SUBSCRIBERS {
            let listing = store.read_journal(subscriber, None, usize::MAX).unwrap();
            if !listing.is_empty() {
                let oldest_first = listing.into_iter().rev().map(|(_, record)| record);
                found.journal.insert(subscriber, oldest_first.collect());
            }
        }
        found
    }
}

#[test]
fn kill_9_at_any_moment_leaves_a_prefix_of_what_was_done() {
    let directory = tempfile::tempdir().unwrap();
    let mut model = Model::default();
    let (mut worked, mut most_calls) = (0, 0);
    for round in 0..36u64 {
        let mut child = run("writes_until_killed", directory.path())
            .env(FIRST, model.steps.to_string())
            .env(SHARDS, (1 + mix(round) % 4).to_string())
            .spawn()
            .unwrap();
        let reported = kill_after_a_while(&mut child, round).unwrap_or(model.steps);
        worked += u64::from(reported > model.steps);
        while model.steps < reported {
            model.next();
        }
        let store = Embedded::open(directory.path(), options()).unwrap();
        let found = Found::in_store(&store);
        while found != model.found {
            assert!(
                model.steps <= reported + REPORT_EVERY,
                "round {round}: the store is as after no number of steps from {reported} on"
            );
            model.next();
        }
        assert_eq!(store.losses(), Default::default());
        most_calls = most_calls.max(model.found.calls.len());
    }
    println!("{} steps, {most_calls} calls", model.steps);
    assert!(
        worked > 15 && model.steps > 5_000 && most_calls > 200,
        "too little was done: {worked} rounds, {} steps, {most_calls} calls",
        model.steps
    );
}

/// Kills the child some time after its start, or after it began to work, and returns how many
/// steps it last said it had done.
fn kill_after_a_while(child: &mut Child, round: u64) -> Option<u64> {
    let output = BufReader::new(child.stdout.take().unwrap());
    let (sender, reports) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let lines = output.lines().map_while(Result::ok);
        for steps in lines.filter_map(|line| line.strip_prefix("done ")?.parse::<u64>().ok()) {
            let _ = sender.send(steps);
        }
    });
    let first = match round % 4 {
        0 => None,
        _ => reports.recv_timeout(Duration::from_secs(20)).ok(),
    };
    pause(Duration::from_micros(mix(round + 1_000) % 60_000));
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
    reports.try_iter().last().or(first)
}

#[test]
#[ignore = "the child of kill_9_at_any_moment_leaves_a_prefix_of_what_was_done"]
fn writes_until_killed() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    let number = |name| std::env::var(name).unwrap().parse::<u64>().unwrap();
    let shards = number(SHARDS) as usize;
    let store = Embedded::open(directory, options()).unwrap();
    let shard_of = |record: &[u8]| call_of(record).0 as usize % shards;
    let mut calls = store.open_calls(shards, &shard_of).unwrap();
    let mut journals = store.journals(shards).unwrap();
    let mut model = Model {
        steps: number(FIRST),
        found: Found::default(),
    };
    let mut slots = BTreeMap::new();
    for calls in &calls {
        calls.each(&mut |slot, record| {
            let (call, version) = call_of(record);
            slots.insert(call, slot);
            model.found.calls.insert(call, version);
        });
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for turn in 0.. {
                store.maintain(1_000 + turn / 100).unwrap();
                pause(Duration::from_millis(3));
            }
        });
        report(model.steps);
        loop {
            let shard = model.steps as usize % shards;
            let step = model.next();
            match &step {
                Step::Documents(batch) => store.write(batch).unwrap(),
                Step::Append { subscriber, record } => journals[shard].append(*subscriber, record),
                Step::Insert { call } | Step::Update { call, .. } | Step::Remove { call } => {
                    change(
                        &mut *calls[*call as usize % shards],
                        &mut slots,
                        *call,
                        &step,
                    );
                }
            }
            if matches!(step, Step::Documents(_)) || model.steps.is_multiple_of(REPORT_EVERY) {
                report(model.steps);
            }
        }
    });
}

fn change(calls: &mut dyn OpenCalls, slots: &mut BTreeMap<u64, u32>, call: u64, step: &Step) {
    match step {
        Step::Insert { .. } => _ = slots.insert(call, calls.insert(&filled(call, 0)).unwrap()),
        Step::Update { version, .. } => {
            assert!(calls.update(slots[&call], &filled(call, *version)));
        }
        _ => calls.remove(slots.remove(&call).unwrap()),
    }
}

fn report(steps: u64) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\ndone {steps}").unwrap();
    out.flush().unwrap();
}

/// Waits for as long, by listening to nobody.
fn pause(time: Duration) {
    let (_silent, nothing) = mpsc::channel::<()>();
    let _ = nothing.recv_timeout(time);
}

/// Eight documents of a group change together, and some of another are deleted.
fn batch(number: u64) -> Vec<Write> {
    let group = mix(number) % 40;
    let key = |group: u64, n: u64| format!("{group}-{n}");
    let put = |n| Write::Put {
        key: key(group, n),
        value: filled(number, n),
    };
    let delete = |n| Write::Delete {
        key: key((group + 1) % 40, n),
    };
    (0..8).map(put).chain((0..3).map(delete)).collect()
}

/// A record that names its number and version, and whose length and bytes follow from them.
fn filled(number: u64, version: u64) -> Vec<u8> {
    let mut record = number.to_le_bytes().to_vec();
    record.extend(version.to_le_bytes());
    let random = mix(number ^ version.rotate_left(32));
    record.extend((0..random % 450).map(|n| (random >> (n % 50)) as u8));
    record
}

fn call_of(record: &[u8]) -> (u64, u64) {
    let number = u64::from_le_bytes(record[..8].try_into().unwrap());
    let version = u64::from_le_bytes(record[8..16].try_into().unwrap());
    assert_eq!(record, filled(number, version), "a half-written record");
    (number, version)
}

/// splitmix64
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// This program again, to run one of the ignored tests in `directory`.
fn run(child: &str, directory: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", child, "--ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    command
}

// --- damage --------------------------------------------------------------------------------------

#[test]
fn torn_slots_are_dropped_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let store = Embedded::open(directory.path(), options()).unwrap();
    let mut calls = store.open_calls(1, &|_| 0).unwrap().remove(0);
    let slots: Vec<u32> = (0..10).map(|n| calls.insert(&[n; 100]).unwrap()).collect();
    drop((calls, store));
    let path = directory.path().join("calls-1-0.slots");
    let flip = |slot: u32, byte: u64| flip(&path, 4096 + u64::from(slot) * 512 + byte);
    flip(slots[2], 24);
    flip(slots[3], 123);
    flip(slots[4], 8);
    flip(slots[5], 0);
    flip(slots[6], 16);
    flip(slots[7], 24 + 100);
    let store = Embedded::open(directory.path(), options()).unwrap();
    let calls = store.open_calls(1, &|_| 0).unwrap().remove(0);
    let mut left = Vec::new();
    calls.each(&mut |_, record| left.push(record.to_vec()));
    let expected = [0, 1, 7, 8, 9].map(|n| vec![n; 100]);
    assert_eq!(left, expected, "what stands behind a record does not count");
    assert_eq!(store.losses().torn_calls, 5);
}

#[test]
fn an_update_cut_off_is_finished_from_the_pending_slot() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("calls-1-0.slots");
    let left = || {
        let store = Embedded::open(directory.path(), options()).unwrap();
        store.open_calls(1, &|_| 0).unwrap();
        let mut left = Vec::new();
        store.read_calls(&mut |record| left.push(String::from_utf8(record.to_vec()).unwrap()));
        (left, store.losses().torn_calls)
    };
    let store = Embedded::open(directory.path(), options()).unwrap();
    let mut calls = store.open_calls(1, &|_| 0).unwrap().remove(0);
    let slot = calls.insert(b"before").unwrap();
    calls.update(slot, b"after");
    drop((calls, store));
    // The update is the last write: its record stands in the pending slot, which was freed again.
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).open(&path).unwrap();
    let (mut slot, mut pending) = ([0; 512], [0; 512]);
    file.read_exact_at(&mut slot, 4096).unwrap();
    file.read_exact_at(&mut pending, 512).unwrap();
    assert_eq!(pending[..8], [0; 8]);
    assert_eq!(pending[8..29], slot[8..29]);
    pending[..8].copy_from_slice(&slot[..8]);
    let mut half_replaced = slot;
    half_replaced[0] |= 1;
    half_replaced[24..28].copy_from_slice(b"befo");
    file.write_all_at(&pending, 512).unwrap();
    file.write_all_at(&half_replaced, 4096).unwrap();
    assert_eq!(left(), (vec!["after".to_owned()], 0));
    // A pending slot that is not whole is of no use, but then the old record is.
    pending[26] ^= 1;
    file.write_all_at(&pending, 512).unwrap();
    assert_eq!(left(), (vec!["after".to_owned()], 0));
}

#[test]
fn torn_records_are_counted_for_their_file() {
    let whole = tempfile::tempdir().unwrap();
    fill(whole.path());
    for (name, expected) in [("bindings.slots", (1, 0)), ("subscriptions.slots", (0, 1))] {
        let copy = copy(whole.path());
        flip(&copy.path().join(name), 266_240 + 24);
        let store = Embedded::open(copy.path(), options()).unwrap();
        let left = KINDS.map(|kind| store.records(kind).unwrap().len());
        let losses = store.losses();
        let torn = (losses.torn_bindings, losses.torn_subscriptions);
        assert_eq!((torn, left.iter().sum()), (expected, 1));
        let taken = KINDS.map(|kind| store.records(kind).err().unwrap().to_string());
        assert!(taken[0].contains("the bindings") && taken[1].contains("the subscriptions"));
    }
}

#[test]
fn damaged_and_truncated_files_are_named() {
    use Damage::{Cut, Flip, Gone, Zero};
    let whole = tempfile::tempdir().unwrap();
    fill(whole.path());
    let damages = [
        ("calls-1-0.slots", vec![Cut(0), Cut(100), Cut(90_000)]),
        ("calls-1-1.slots", vec![Flip(3), Flip(17), Gone]),
        ("bindings.slots", vec![Flip(0), Flip(8)]),
        ("subscriptions.slots", vec![Flip(0), Flip(8)]),
        ("journal-0-0.log", vec![Cut(0), Cut(20), Cut(65_536)]),
        ("journal-0-0.log", vec![Flip(0), Flip(9), Flip(25)]),
        ("documents.redb", vec![Cut(0), Cut(40), Cut(5_000)]),
        (
            "documents.redb",
            vec![Flip(0), Zero(0, 4_096), Zero(64, 256)],
        ),
        ("documents.redb", vec![Gone]),
        ("lock", vec![Flip(0), Flip(16)]),
    ];
    for (name, damages) in damages {
        for damage in damages {
            let copy = copy(whole.path());
            damage.inflict(&copy.path().join(name));
            let Err(error) = open_all(copy.path()) else {
                panic!("{name} after {damage:?} was taken for whole");
            };
            let text = error.to_string();
            assert!(text.contains(name), "{damage:?}: {text}");
            let named = matches!(error, StoreError::Damaged { .. });
            assert!(named, "{damage:?}: {error:?}");
        }
    }
    assert_eq!(open_all(whole.path()).unwrap(), 100);
}

#[test]
fn damage_anywhere_in_the_documents_is_an_error_or_does_not_matter() {
    let whole = tempfile::tempdir().unwrap();
    fill(whole.path());
    let length = fs::metadata(whole.path().join("documents.redb"))
        .unwrap()
        .len();
    for n in 0..60 {
        let copy = copy(whole.path());
        let place = mix(n) % length.min(100_000) / 512 * 512;
        Damage::Zero(place, 512).inflict(&copy.path().join("documents.redb"));
        if let Ok(documents) = open_all(copy.path()) {
            assert_eq!(documents, 100, "documents were lost by damage at {place}");
        }
    }
}

#[test]
fn a_damaged_journal_entry_is_left_out_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let store = Embedded::open(directory.path(), options()).unwrap();
    let mut journal = store.journals(1).unwrap().remove(0);
    for n in 0..2_000 {
        journal.append(7, &filled(n, 0));
    }
    store.maintain(1).unwrap();
    drop((journal, store));
    flip(&directory.path().join("journal-0-0.log"), 64 + 32 + 4);
    let store = Embedded::open(directory.path(), options()).unwrap();
    let listing = store.read_journal(7, None, usize::MAX).unwrap();
    assert_eq!(listing.len(), 1_999);
    assert_eq!(store.losses().journal_entries, 1);
}

#[test]
fn a_redistribution_cut_off_is_done_again() {
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path());
    let later = copy(directory.path());
    let deal = |path: &Path, shards: usize| {
        let store = Embedded::open(path, options()).unwrap();
        let shard_of = |record: &[u8]| usize::from(record[0]) % shards;
        store.open_calls(shards, &shard_of).unwrap();
        let mut calls = 0;
        store.read_calls(&mut |_| calls += 1);
        assert_eq!(calls, 100);
    };
    deal(later.path(), 4);
    // Some files of the next generation have their names, one is written in part.
    for name in ["calls-2-0.slots", "calls-2-1.slots", "calls-2-2.slots"] {
        fs::copy(later.path().join(name), directory.path().join(name)).unwrap();
    }
    fs::write(directory.path().join("calls-2-3.slots.new"), b"half").unwrap();
    let earlier = copy(directory.path());
    deal(directory.path(), 2);
    assert_eq!(names(directory.path(), "calls-").len(), 2);
    deal(directory.path(), 4);
    // All files of the next generation are there, the old ones were not deleted yet.
    let last = "calls-2-3.slots";
    fs::copy(later.path().join(last), earlier.path().join(last)).unwrap();
    deal(earlier.path(), 4);
    assert_eq!(names(earlier.path(), "calls-2-").len(), 4);
    assert_eq!(names(earlier.path(), "calls-").len(), 4);
}

// --- other processes and full disks --------------------------------------------------------------

#[test]
fn a_second_process_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = Embedded::open(directory.path(), options()).unwrap();
    let journals = store.journals(1).unwrap();
    let refused = || {
        let output = run("opens_once", directory.path()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let path = directory.path().display().to_string();
        text.contains(&format!("refused: {path} is in use by another process"))
    };
    assert!(refused());
    drop(store);
    assert!(refused(), "an appender still writes");
    drop(journals);
    assert!(!refused());
}

#[test]
#[ignore = "the child of a_second_process_is_refused"]
fn opens_once() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    match Embedded::open(directory, options()) {
        Ok(_) => println!("opened"),
        Err(error) => println!("\nrefused: {error}"),
    }
}

#[test]
fn a_full_disk_is_an_error_and_loses_nothing_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let output = run("fills_the_disk", directory.path()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && text.contains("went on"),
        "{text}"
    );
}

#[test]
#[ignore = "the child of a_full_disk_is_an_error_and_loses_nothing_acknowledged"]
fn fills_the_disk() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    let store = Embedded::open(&directory, options()).unwrap();
    let mut calls = store.open_calls(1, &|_| 0).unwrap().remove(0);
    let mut journal = store.journals(1).unwrap().remove(0);
    store.maintain(1).unwrap();

    limit_file_size(3 << 20);
    let insertions = (0u64..).map_while(|n| calls.insert(&n.to_le_bytes()));
    let slots: Vec<u32> = insertions.collect();
    assert_eq!(slots.len(), 4096, "the first chunk, and no more");
    assert!(
        slots
            .iter()
            .all(|slot| calls.update(*slot, b"still updated"))
    );
    assert!(
        store.maintain(2).is_err(),
        "there is no room for the next chunk"
    );

    let document = |n: u64| Write::Put {
        key: n.to_string(),
        value: vec![1; 100_000],
    };
    let kept = (0..)
        .take_while(|n| store.write(&[document(*n)]).is_ok())
        .count();
    assert!((5..30).contains(&kept), "{kept} documents in 3 MiB");
    let error = store.write(&[document(99)]).unwrap_err();
    assert!(error.to_string().contains("documents.redb"), "{error}");
    assert_eq!(count(&store), kept);

    limit_file_size(100 << 10);
    (0..3_000).for_each(|n| journal.append(1, &filled(n, 0)));
    let lost = store.losses().journal_entries;
    let listing = store.read_journal(1, None, usize::MAX).unwrap();
    assert!(lost > 100 && listing.len() as u64 + lost == 3_000);

    limit_file_size(libc::RLIM_INFINITY);
    store.maintain(3).unwrap();
    journal.append(1, b"room again");
    assert_eq!(store.read_journal(1, None, 1).unwrap()[0].1, b"room again");
    assert!(calls.insert(b"room again").is_some());
    store.write(&[document(99)]).unwrap();
    assert_eq!(count(&store), kept + 1);
    drop((calls, journal, store));
    let store = Embedded::open(&directory, options()).unwrap();
    assert_eq!(count(&store), kept + 1);
    println!("went on");
}

fn limit_file_size(bytes: u64) {
    let limit = libc::rlimit {
        rlim_cur: bytes,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: no handler is installed, and the limit is only read.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &limit), 0);
    }
}

// --- files ---------------------------------------------------------------------------------------

#[derive(Debug, Clone, Copy)]
enum Damage {
    Cut(u64),
    Flip(u64),
    Zero(u64, usize),
    Gone,
}

impl Damage {
    fn inflict(self, path: &Path) {
        let open = || OpenOptions::new().write(true).open(path).unwrap();
        match self {
            Self::Cut(bytes) => open().set_len(bytes).unwrap(),
            Self::Flip(place) => flip(path, place),
            Self::Zero(place, bytes) => open().write_all_at(&vec![0; bytes], place).unwrap(),
            Self::Gone => fs::remove_file(path).unwrap(),
        }
    }
}

fn flip(path: &Path, place: u64) {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, place).unwrap();
    file.write_all_at(&[byte[0] ^ 0x41], place).unwrap();
}

/// 100 documents, calls in two shards, a record of each kind, and journal entries.
fn fill(directory: &Path) {
    let store = Embedded::open(directory, options()).unwrap();
    let put = |n: u64| Write::Put {
        key: n.to_string(),
        value: filled(n, 0),
    };
    store.write(&(0..100).map(put).collect::<Vec<_>>()).unwrap();
    let shard_of = |record: &[u8]| usize::from(record[0]) % 2;
    let mut calls = store.open_calls(2, &shard_of).unwrap();
    for n in 0..100u8 {
        calls[usize::from(n) % 2].insert(&[n; 30]).unwrap();
    }
    for kind in KINDS {
        let mut records = store.records(kind).unwrap();
        let (slot, record) = (records.reserve().unwrap(), b"a record");
        assert!(records.write(&[SlotWrite { slot, record }]));
    }
    let mut journals = store.journals(1).unwrap();
    (0..50).for_each(|n| journals[0].append(1, &filled(n, 0)));
}

/// Opens everything there is; how many documents there are.
fn open_all(directory: &Path) -> Result<usize, StoreError> {
    let store = Embedded::open(directory, options())?;
    store.open_calls(2, &|record| usize::from(record[0]) % 2)?;
    for kind in KINDS {
        store.records(kind)?;
    }
    let mut documents = 0;
    store.load(&mut |key, value| {
        assert_eq!(value, filled(key.parse().unwrap(), 0));
        documents += 1;
    })?;
    Ok(documents)
}

fn count(store: &dyn Store) -> usize {
    let mut documents = 0;
    store.load(&mut |_, _| documents += 1).unwrap();
    documents
}

fn copy(directory: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for path in names(directory, "") {
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}

fn names(directory: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let named = |path: &PathBuf| {
        path.file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with(prefix)
    };
    paths.filter(named).collect()
}
