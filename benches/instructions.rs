//! How many instructions and allocations the hot parts take: the figures that do not depend on
//! what else the machine does. `instructions.tsv` holds them; a change that needs more must say so
//! there.
//!
//! `cargo bench --bench instructions` counts under valgrind and compares; with `-- --update` it
//! writes the file anew; with `-- NAME` it runs one part by itself, for a profile.
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

use std::alloc::{GlobalAlloc, Layout};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use calls::Site;
use mimalloc::MiMalloc;
use pointsman::message::{Edits, Index, Message, Reply, check, forward, write_response};
use pointsman::presence::{Directory, Handle, NumberPlan, Subscriber};
use pointsman::routing::{Caller, CallerClass, History, Lookup, Question, decide};

const INVITE: &[u8] = include_bytes!("../fixtures/messages/invite.sip");
/// More of anything than this share of the figure fails.
const MORE: f64 = 1.03;
/// Less than this share asks for a new figure.
const LESS: f64 = 0.95;
/// So many instructions more or less are the compiler's: where it inlines depends on how it
/// divides the crate, which the path of a checkout decides, too.
const INLINING: f64 = 100.0;
/// How often a part is run before and while it is counted.
const WARM: u32 = 2_000;
const COUNTED: u32 = 300;
/// So much time passes with each call: transactions of the last 32 s are kept.
const MS_PER_CALL: u64 = 20;
/// So many calls are held at once to see how large one is.
const HELD: u32 = 4_000;

/// The parts by name; each counts through [`counted`].
const PARTS: [(&str, fn()); 11] = [
    ("message/index", index),
    ("message/check", checked),
    ("message/forward", forwarded),
    ("message/respond", responded),
    ("directory/read", directory),
    ("decide/connect", || decided("plain")),
    ("decide/forward", || decided("away")),
    ("engine/redirect", || refused("redirect")),
    ("engine/reject", || refused("reject")),
    ("engine/call", full_call),
    ("memory", memory),
];

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static LIVE_BYTES: AtomicI64 = AtomicI64::new(0);
static COUNTED_ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[expect(
    unsafe_code,
    reason = "an allocator is an unsafe trait; this one only counts"
)]
// SAFETY: every call is handed on to mimalloc unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        LIVE_BYTES.fetch_add(layout.size() as i64, Relaxed);
        // SAFETY: the caller's promise is mimalloc's.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size() as i64, Relaxed);
        // SAFETY: the memory came from `alloc` above, so from mimalloc.
        unsafe { MiMalloc.dealloc(memory, layout) }
    }
}

/// What is inside is counted: valgrind collects only while this is on the stack.
#[inline(never)]
fn counted(work: &mut dyn FnMut()) {
    let before = ALLOCATIONS.load(Relaxed);
    work();
    COUNTED_ALLOCATIONS.fetch_add(ALLOCATIONS.load(Relaxed) - before, Relaxed);
}

fn each(mut work: impl FnMut()) {
    work();
    counted(&mut || {
        for _ in 0..COUNTED {
            work();
        }
    });
}

/// Each time the INVITE is read and checked anew: what is read once is remembered.
fn with_invite(work: impl Fn(&Message<'_>, &mut Edits, &mut Vec<u8>)) {
    let (mut index, mut edits, mut out) = (Index::new(), Edits::new(), Vec::with_capacity(2048));
    each(|| {
        let message = index.parse(black_box(INVITE)).unwrap();
        check(&message).unwrap();
        edits.clear();
        out.clear();
        work(&message, &mut edits, &mut out);
        black_box(out.len());
    });
}

fn index() {
    let mut index = Index::new();
    each(|| {
        black_box(index.parse(black_box(INVITE)).unwrap().headers_end());
    });
}

fn checked() {
    with_invite(|message, _, _| {
        black_box(message.uri());
    });
}

fn forwarded() {
    let source = "192.0.2.77:5062".parse().unwrap();
    with_invite(|message, edits, out| {
        forward::stamp_top_via(message, edits, source).unwrap();
        forward::push_via(message, edits, |out| {
            out.extend_from_slice(b"SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK0123456789abcdef");
        });
        forward::count_hop(message, edits).unwrap();
        edits.apply(message.bytes(), out);
    });
}

fn responded() {
    let reply = Reply {
        to_tag: Some(b"0123456789abcdef"),
        ..Reply::new(480)
    };
    with_invite(|message, _, out| write_response(message, &reply, out));
}

fn some_directory(plan: &NumberPlan) -> Directory {
    let directory = Directory::new(7);
    let put = |json: &str| {
        let subscriber: Subscriber = serde_json::from_str(json).unwrap();
        let subscriber = subscriber.validate(plan).unwrap();
        directory.put(&subscriber, plan).unwrap();
    };
    put(r#"{"id": "plain"}"#);
    put(r#"{"id": "away", "status": "away",
        "settings": {"away": {"immediate": {"forward": "+491701234567"}}}}"#);
    for number in 0..1_000 {
        put(&format!(r#"{{"id": "{number:08}"}}"#));
    }
    directory
}

fn directory() {
    let plan = NumberPlan::for_region("DE").unwrap();
    let directory = some_directory(&plan);
    let mut number = 0;
    let mut key = *b"00000000";
    each(|| {
        number = (number + 7) % 1_000;
        key[7] = b'0' + (number % 10) as u8;
        key[6] = b'0' + (number / 10 % 10) as u8;
        key[5] = b'0' + (number / 100) as u8;
        let handle = directory.find_dialled(black_box(&key), &plan).unwrap();
        black_box(directory.routing(handle).calls);
    });
}

fn decided(id: &str) {
    let plan = NumberPlan::for_region("DE").unwrap();
    let directory = some_directory(&plan);
    let domains = ["example.com".into()];
    let lookup = Lookup {
        directory: &directory,
        plan: &plan,
        domains: &domains,
    };
    let history = History::default();
    let caller = Caller {
        class: CallerClass::External,
        subscriber: None,
        key: b"+4989999999",
        uri: b"sip:+4989999999@trunk.example",
    };
    let callee: Handle = directory.handle_of_id(id).unwrap();
    each(|| {
        let question = Question::new(caller, black_box(callee), &history, 1_000);
        black_box(decide(&question, &lookup));
    });
}

fn refused(kind: &str) {
    let mut site = Site::new(kind, 1_000, MS_PER_CALL);
    (0..WARM).for_each(|_| site.refused());
    site.measure_with(counted);
    (0..COUNTED).for_each(|_| site.refused());
}

fn full_call() {
    let mut site = Site::new("call", 1_000, MS_PER_CALL);
    (0..WARM).for_each(|_| site.full_call());
    site.measure_with(counted);
    (0..COUNTED).for_each(|_| site.full_call());
}

/// How large a call is that rings, and one that was answered long ago.
fn memory() {
    let mut site = Site::new("call", HELD, 0);
    let start = LIVE_BYTES.load(Relaxed);
    (0..HELD).for_each(|_| drop(site.pending()));
    let pending = LIVE_BYTES.load(Relaxed) - start;
    println!("bytes memory/pending {}", pending / i64::from(HELD));
    drop(site);
    let mut site = Site::new("call", HELD, 0);
    let start = LIVE_BYTES.load(Relaxed);
    for _ in 0..HELD {
        site.answered();
        site.pass_time();
    }
    (0..400).for_each(|_| site.pass(100));
    assert_eq!(site.calls(), HELD as usize);
    let open = LIVE_BYTES.load(Relaxed) - start;
    println!("bytes memory/call {}", open / i64::from(HELD));
}

/// Figures by what they count and of which part.
type Figures = BTreeMap<String, f64>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let wanted = arguments.iter().find(|a| !a.starts_with("--"));
    if let Some((name, part)) = wanted.and_then(|name| PARTS.iter().find(|part| part.0 == name)) {
        part();
        let allocations = COUNTED_ALLOCATIONS.load(Relaxed) as f64 / f64::from(COUNTED);
        println!("allocations {name} {allocations:.2}");
        return ExitCode::SUCCESS;
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!("valgrind, which counts the instructions, is not installed: nothing checked");
        return ExitCode::FAILURE;
    }
    let now: Figures = PARTS.iter().flat_map(|(name, _)| count(name)).collect();
    if arguments.iter().any(|a| a == "--update") {
        let mut text = format!("# {}\n", compiler());
        for (name, figure) in &now {
            text.push_str(&format!("{name}\t{figure}\n"));
        }
        std::fs::write(figures_path(), text).unwrap();
        return ExitCode::SUCCESS;
    }
    compare(&now)
}

/// Runs a part under valgrind.
fn count(name: &str) -> Figures {
    let output = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--toggle-collect=*instructions::counted*",
        ])
        .arg("--callgrind-out-file=/dev/null")
        .args([std::env::current_exe().unwrap().as_os_str(), name.as_ref()])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{name}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut figures = Figures::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let mut words = line.split(' ');
        let what = words.next().unwrap();
        let (part, figure) = (words.next().unwrap(), words.next().unwrap());
        figures.insert(format!("{what}\t{part}"), figure.parse().unwrap());
    }
    let log = String::from_utf8_lossy(&output.stderr);
    let collected = log.lines().find_map(|line| line.split_once("Collected : "));
    let collected: f64 = collected.unwrap().1.trim().parse().unwrap();
    if collected > 0.0 {
        let each = (collected / f64::from(COUNTED)).round();
        figures.insert(format!("instructions\t{name}"), each);
    }
    if figures.keys().any(|key| key.starts_with("bytes")) {
        figures.retain(|key, _| key.starts_with("bytes"));
    }
    figures
}

fn figures_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.tsv")
}

/// What made the figures: another compiler makes others.
fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Whether nothing needs more than it is known to. With another compiler than the figures' only
/// shows what there is.
fn compare(now: &Figures) -> ExitCode {
    let text = std::fs::read_to_string(figures_path()).unwrap_or_default();
    let known: Figures = text
        .lines()
        .filter_map(|line| line.rsplit_once('\t'))
        .map(|(name, figure)| (name.to_owned(), figure.parse().unwrap()))
        .collect();
    let (mut has_more, mut has_less) = (false, false);
    for (name, figure) in now {
        let before = known.get(name).copied().unwrap_or_default();
        let slack = if name.starts_with("instructions") {
            INLINING
        } else {
            0.05
        };
        let is_more = *figure > before * MORE + slack;
        let is_less = *figure < before * LESS - slack;
        (has_more, has_less) = (has_more | is_more, has_less | is_less);
        let verdict = match (is_more, is_less) {
            (true, _) => "MORE than it was",
            (_, true) => "less than it was",
            _ => "",
        };
        println!(
            "{:<36}{before:>9} -> {figure:>9} {verdict}",
            name.replace('\t', " ")
        );
    }
    if has_more || has_less {
        println!("`make instructions-update` writes these figures to benches/instructions.tsv");
    }
    let is_same_compiler = text.starts_with(&format!("# {}\n", compiler()));
    if has_more && !is_same_compiler {
        println!("the figures are another compiler's: not taken for a fault");
    }
    ExitCode::from(u8::from(has_more && is_same_compiler))
}
