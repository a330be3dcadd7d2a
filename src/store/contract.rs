//! What each engine owes its callers, in words and as one suite of checks.
//!
//! **Documents.** A batch is carried out in its order, wholly or not at all, and is durable when
//! `write` returns: no crash loses it, and a crash during `write` leaves all of it or nothing.
//! `load` hands over each document once, in the byte order of the keys.
//!
//! **Open calls.** A record is a shard's own until it removes it. `insert`, `update` and `remove`
//! take effect at one instant: whoever looks, another thread or the next run after `kill -9`, sees
//! a record as it was before or after, never a mixture, never twice. A power cut may undo about
//! the last second. The next run finds each open call in the shard that `shard_of` names, however
//! many shards there are; calls beyond the limit of a shard are kept, only new ones are refused.
//!
//! **Bindings and subscriptions.** A batch takes effect at one instant, wholly or not at all: the next run after
//! `kill -9` sees all of what was acknowledged and no half of a batch. A power cut may undo about the
//! last second. No more slots are handed out than the limit says, and a slot that was freed is handed
//! out again.
//!
//! **Journal.** Entries survive `kill -9` in the order in which they were appended; a power cut
//! loses at most about the last second. A listing is newest first, across shards, and goes on where
//! it was left whatever is appended or dropped meanwhile. Entries go when their retention has
//! passed or the journal is over its bytes, the oldest first. What is erased is in no listing and
//! does not come back; what others have stays.
//!
//! **Secret.** The same 32 bytes for the life of the store.
//!
//! **Files.** One process at a time; a file that is damaged, or written by a later version, is an
//! error that names it. Nothing is dropped without being counted in `losses`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a suite of checks: what fails has to say so at once"
)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use super::{
    CALL_RECORD_MAX, JOURNAL_ENTRY_MAX, Journal, OpenCalls, Options, Position, Records,
    SLOT_RECORD_MAX, SlotRecords, SlotWrite, Store, Write,
};

type Open<'a> = &'a mut dyn FnMut() -> Box<dyn Store>;

/// The bounds with which [`check`] expects the store to be opened.
#[must_use]
pub fn options() -> Options {
    Options {
        calls_per_shard: 6_000,
        bindings: 3_000,
        subscriptions: 2_000,
        journal_bytes: 8 << 20,
        journal_retention_s: 1_000,
        segment_bytes: 1 << 20,
    }
}

/// Checks an engine against the contract. `open` opens the same store each time, with
/// [`options`], empty the first time; the one opened before has been dropped.
///
/// # Panics
/// At the first promise that is broken.
pub fn check(mut open: impl FnMut() -> Box<dyn Store>) {
    let open: Open<'_> = &mut open;
    the_secret_stays(open);
    documents_are_kept_in_key_order(open);
    a_batch_is_carried_out_in_its_order(open);
    open_calls_survive(open);
    open_calls_are_limited(open);
    open_calls_follow_their_shard(open);
    readers_see_whole_records(open);
    for kind in [Records::Bindings, Records::Subscriptions] {
        records_survive(open, kind);
        records_are_limited(open, kind);
    }
    kinds_of_records_are_apart(open);
    the_journal_is_read_newest_first(open);
    a_listing_goes_on_where_it_was_left(open);
    the_journal_is_bounded(open);
    the_journal_can_be_erased(open);
}

fn the_secret_stays(open: Open<'_>) {
    let secret = open().secret();
    assert_ne!(secret, [0; 32], "the secret is drawn at random");
    assert_eq!(open().secret(), secret, "the secret survives");
}

fn documents_are_kept_in_key_order(open: Open<'_>) {
    assert!(documents(&*open()).is_empty(), "a new store is empty");
    let keys = ["zoe", "anna", "änne", "b", "anna2"];
    let large = vec![7; 300_000];
    let mut batch: Vec<Write> = keys.iter().map(|key| put(key, key.as_bytes())).collect();
    batch.extend([put("empty", b""), put("large", &large)]);
    open().write(&batch).unwrap();
    let store = open();
    let mut seen = Vec::new();
    store.load(&mut |key, _| seen.push(key.to_owned())).unwrap();
    assert_eq!(
        seen,
        ["anna", "anna2", "b", "empty", "large", "zoe", "änne"]
    );
    let mut under = Vec::new();
    let mut note = |key: &str, _: &[u8]| under.push(key.to_owned());
    store.load_under("anna", &mut note).unwrap();
    store.load_under("c", &mut note).unwrap();
    assert_eq!(under, ["anna", "anna2"]);
    let kept = documents(&*store);
    assert!(
        keys.iter()
            .all(|key| kept.get(*key).is_some_and(|v| v == key.as_bytes()))
    );
    assert_eq!(
        (kept.get("empty").unwrap().len(), kept.get("large").unwrap()),
        (0, &large)
    );
}

fn a_batch_is_carried_out_in_its_order(open: Open<'_>) {
    let store = open();
    let all: Vec<Write> = documents(&*store).into_keys().map(delete).collect();
    store.write(&all).unwrap();
    store.write(&[]).unwrap();
    store
        .write(&[put("a", b"1"), put("b", b"1"), put("c", b"1")])
        .unwrap();
    let mixed = [
        put("a", b"2"),
        delete("b"),
        delete("c"),
        put("c", b"3"),
        delete("nobody"),
    ];
    store.write(&mixed).unwrap();
    let expected = BTreeMap::from([("a".into(), b"2".to_vec()), ("c".into(), b"3".to_vec())]);
    assert_eq!(documents(&*store), expected);
    drop(store);
    assert_eq!(documents(&*open()), expected);
}

fn open_calls_survive(open: Open<'_>) {
    let store = open();
    let mut calls = one_shard(&*store);
    assert!(calls.is_empty());
    let slots: Vec<u32> = (0..100u32)
        .map(|n| calls.insert(&record(n, 0)).unwrap())
        .collect();
    let longest = [9; CALL_RECORD_MAX];
    let last = calls.insert(&longest).unwrap();
    assert_eq!(calls.insert(&[9; CALL_RECORD_MAX + 1]), None);
    for (n, slot) in (0u32..).zip(&slots) {
        match n % 3 {
            0 => calls.remove(*slot),
            1 => assert!((1..=n).all(|version| calls.update(*slot, &record(n, version)))),
            _ => {}
        }
    }
    let removed = *slots.first().unwrap();
    calls.remove(removed);
    assert!(
        !calls.update(removed, b"nobody's"),
        "a free slot is not updated"
    );
    assert!(!calls.update(last, &[9; CALL_RECORD_MAX + 1]));
    assert!(!calls.update(u32::MAX, b"nobody's"));
    calls.remove(u32::MAX);
    let mut expected: Vec<Vec<u8>> = (0..100u32)
        .filter(|n| n % 3 != 0)
        .map(|n| record(n, if n % 3 == 1 { n } else { 0 }))
        .collect();
    expected.push(longest.to_vec());
    expected.sort();
    assert_eq!(calls.len(), expected.len());
    assert_eq!(records(&*calls), expected);
    assert_eq!(read(&*store), expected);
    drop((calls, store));
    let store = open();
    let mut calls = one_shard(&*store);
    assert_eq!(
        records(&*calls),
        expected,
        "each record survives in its last state"
    );
    assert_eq!(read(&*store), expected);
    clear(&mut *calls);
    assert!(calls.is_empty() && read(&*store).is_empty());
}

fn open_calls_are_limited(open: Open<'_>) {
    let limit = options().calls_per_shard;
    let store = open();
    let mut calls = one_shard(&*store);
    let numbers = 0u32..;
    let slots: Vec<u32> = numbers.map_while(|n| calls.insert(&record(n, 0))).collect();
    assert_eq!((slots.len(), calls.len()), (limit, limit));
    assert!(
        slots
            .iter()
            .all(|slot| calls.update(*slot, b"full, and still updated"))
    );
    calls.remove(*slots.first().unwrap());
    assert!(calls.insert(b"room again").is_some());
    assert_eq!(calls.insert(b"one too many"), None);
    clear(&mut *calls);
}

fn open_calls_follow_their_shard(open: Open<'_>) {
    let limit = u32::try_from(options().calls_per_shard).unwrap();
    let shard = |record: &[u8], shards: usize| usize::from(*record.first().unwrap()) % shards;
    let mut expected = Vec::new();
    for (n, shards) in (0u32..).zip([1usize, 4, 2, 3, 1]) {
        let store = open();
        let mut dealt = store
            .open_calls(shards, &|record| shard(record, shards))
            .unwrap();
        assert_eq!(dealt.len(), shards);
        let mut seen = Vec::new();
        for (number, calls) in dealt.iter().enumerate() {
            let own = records(&**calls);
            assert!(own.iter().all(|record| shard(record, shards) == number));
            seen.extend(own);
        }
        seen.sort();
        assert_eq!(
            seen, expected,
            "each call is dealt out once, to {shards} shards"
        );
        assert_eq!(read(&*store), expected);
        let first = n * limit / 2;
        for record in (first..first + limit / 2).map(|number| record(number, 0)) {
            let Some(calls) = dealt.get_mut(shard(&record, shards)) else {
                continue;
            };
            if calls.insert(&record).is_some() {
                expected.push(record);
            }
        }
        expected.sort();
        assert_eq!(read(&*store), expected);
    }
    assert!(expected.len() > limit as usize);
    let store = open();
    let mut calls = one_shard(&*store);
    assert_eq!(
        calls.len(),
        expected.len(),
        "more than the limit, and none is lost"
    );
    assert_eq!(calls.insert(b"one too many"), None);
    clear(&mut *calls);
}

fn readers_see_whole_records(open: Open<'_>) {
    const CALLS: u8 = 50;
    let store = open();
    let mut calls = one_shard(&*store);
    let slots: Vec<u32> = (0..CALLS)
        .map(|n| calls.insert(&marked(n, 0)).unwrap())
        .collect();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for version in (0..u32::MAX).take_while(|_| !done.load(Relaxed)) {
                let passing = calls.insert(&marked(CALLS, version)).unwrap();
                for (n, slot) in (0..CALLS).zip(&slots) {
                    assert!(calls.update(*slot, &marked(n, version)));
                }
                calls.remove(passing);
            }
        });
        let whole = (0..500).all(|_| each_is_read_whole_and_once(&*store, CALLS));
        done.store(true, Relaxed);
        assert!(whole, "a record was torn, missing or seen twice");
    });
    clear(&mut *calls);
}

fn each_is_read_whole_and_once(store: &dyn Store, calls: u8) -> bool {
    let (mut seen, mut passing, mut torn) = (vec![0; calls.into()], 0, false);
    store.read_calls(&mut |record| {
        let (number, version) = (record.first().unwrap(), record.last().unwrap());
        torn |= !record.iter().skip(1).all(|byte| byte == version);
        *seen.get_mut(usize::from(*number)).unwrap_or(&mut passing) += 1;
    });
    !torn && passing <= 1 && seen.iter().all(|times| *times == 1)
}

fn records_survive(open: Open<'_>, kind: Records) {
    let store = open();
    let mut records = store.records(kind).unwrap();
    assert!(records.is_empty());
    let slots: Vec<u32> = (0..200).map_while(|_| records.reserve()).collect();
    let longest = [9; SLOT_RECORD_MAX];
    let texts: Vec<Vec<u8>> = (0..200u32).map(|n| record(n, 0)).collect();
    let all: Vec<SlotWrite<'_>> = slots
        .iter()
        .zip(&texts)
        .map(|(slot, record)| SlotWrite {
            slot: *slot,
            record,
        })
        .collect();
    assert!(records.write(&all), "a batch of many");
    let (first, second, third) = (slots[0], slots[1], slots[2]);
    let mixed = [
        SlotWrite::free(first),
        SlotWrite {
            slot: second,
            record: &longest,
        },
    ];
    assert!(records.write(&mixed));
    let too_long = [
        SlotWrite::free(third),
        SlotWrite {
            slot: second,
            record: &[9; SLOT_RECORD_MAX + 1],
        },
    ];
    assert!(!records.write(&too_long), "and nothing of it was done");
    let abandoned = records.reserve();
    assert_eq!(
        abandoned,
        Some(first),
        "a slot that was freed is used again"
    );
    let mut expected: Vec<(u32, Vec<u8>)> = slots.into_iter().zip(texts).skip(1).collect();
    expected[0].1 = longest.to_vec();
    assert_eq!(bound(&*records), expected);
    drop((records, store));
    let store = open();
    let mut records = store.records(kind).unwrap();
    assert_eq!(bound(&*records), expected, "each in its last state");
    assert_eq!(
        records.len(),
        expected.len(),
        "what was only reserved is free"
    );
    for (slot, _) in expected {
        assert!(records.write(&[SlotWrite::free(slot)]));
    }
    assert!(records.is_empty() && bound(&*records).is_empty());
}

fn records_are_limited(open: Open<'_>, kind: Records) {
    let store = open();
    let mut records = store.records(kind).unwrap();
    let slots: Vec<u32> = (0..u32::MAX).map_while(|_| records.reserve()).collect();
    assert_eq!(slots.len(), options().limit_of(kind));
    for slot in &slots {
        assert!(records.write(&[SlotWrite {
            slot: *slot,
            record: b"taken"
        }]));
    }
    assert!(records.write(&[SlotWrite::free(slots[7])]));
    assert_eq!(records.reserve(), Some(slots[7]));
    assert_eq!(records.reserve(), None);
    records.release(slots[7]);
    for slot in slots.iter().filter(|slot| **slot != slots[7]) {
        assert!(records.write(&[SlotWrite::free(*slot)]));
    }
}

fn kinds_of_records_are_apart(open: Open<'_>) {
    const KINDS: [Records; 2] = [Records::Bindings, Records::Subscriptions];
    let store = open();
    let written = KINDS.map(|kind| {
        let mut records = store.records(kind).unwrap();
        assert!(records.is_empty());
        let (slot, record) = (records.reserve().unwrap(), kind.name().as_bytes());
        assert!(records.write(&[SlotWrite { slot, record }]));
        slot
    });
    drop(store);
    let store = open();
    for (kind, slot) in KINDS.into_iter().zip(written) {
        let mut records = store.records(kind).unwrap();
        assert_eq!(bound(&*records), [(slot, kind.name().as_bytes().to_vec())]);
        assert!(records.write(&[SlotWrite::free(slot)]));
    }
}

/// The slots with their records, in their order.
fn bound(records: &dyn SlotRecords) -> Vec<(u32, Vec<u8>)> {
    let mut all = Vec::new();
    records.each(&mut |slot, record| all.push((slot, record.to_vec())));
    all.sort();
    all
}

fn the_journal_is_read_newest_first(open: Open<'_>) {
    let store = open();
    store.maintain(1_000).unwrap();
    let mut journals = store.journals(2).unwrap();
    let lost = store.losses().journal_entries;
    let twins = [5, 5 + (1 << 32)];
    for n in 0..40u32 {
        let journal = journals.get_mut(n as usize % 2).unwrap();
        twins
            .iter()
            .for_each(|subscriber| journal.append(*subscriber, &record(n, 0)));
    }
    append_to_last(&mut journals, 6, &vec![1; JOURNAL_ENTRY_MAX]);
    append_to_last(&mut journals, 6, &vec![1; JOURNAL_ENTRY_MAX + 1]);
    append_to_last(&mut journals, 6, b"");
    let lost = store.losses().journal_entries - lost;
    assert_eq!(lost, 1, "the entry that was too long");
    expect_newest_first(&*store, twins);
    drop((journals, store));
    expect_newest_first(&*open(), twins);
}

fn expect_newest_first(store: &dyn Store, twins: [u64; 2]) {
    let newest_first: Vec<Vec<u8>> = (0..40).rev().map(|n| record(n, 0)).collect();
    for subscriber in twins {
        assert_eq!(listing(store, subscriber), newest_first);
    }
    let lengths: Vec<usize> = listing(store, 6).iter().map(Vec::len).collect();
    assert_eq!(lengths, [0, JOURNAL_ENTRY_MAX]);
    assert!(listing(store, 7).is_empty());
    let newest = store.read_journal(5, None, 3).unwrap();
    assert_eq!(newest.first().unwrap().1, record(39, 0));
    assert_eq!(newest.len(), 3);
}

fn a_listing_goes_on_where_it_was_left(open: Open<'_>) {
    let store = open();
    let mut journals = store.journals(3).unwrap();
    for n in 40..60u32 {
        journals
            .get_mut(n as usize % 3)
            .unwrap()
            .append(5, &record(n, 0));
    }
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let page = store.read_journal(5, before, 7).unwrap();
        let Some((last, _)) = page.last() else { break };
        before = Some(*last);
        seen.extend(page);
        append_to_last(&mut journals, 5, b"meanwhile");
    }
    let positions: Vec<Position> = seen.iter().map(|(position, _)| *position).collect();
    assert!(positions.is_sorted_by(|newer, older| newer > older));
    let seen: Vec<Vec<u8>> = seen.into_iter().map(|(_, record)| record).collect();
    assert_eq!(
        seen,
        (0..60).rev().map(|n| record(n, 0)).collect::<Vec<_>>()
    );
}

fn the_journal_is_bounded(open: Open<'_>) {
    let store = open();
    let mut journals = store.journals(1).unwrap();
    let lost = store.losses().journal_entries;
    let entry = [3; 1_000];
    let most = options().journal_bytes / entry.len() as u64;
    for n in 0..most * 2 {
        append_to_last(&mut journals, 8, &entry);
        if n % 100 == 0 {
            store.maintain(2_000).unwrap();
        }
    }
    store.maintain(2_000).unwrap();
    assert!(listing(&*store, 5).is_empty(), "the oldest went");
    let kept = listing(&*store, 8).len() as u64;
    assert!(
        (most / 2..=most).contains(&kept),
        "{kept} of at most {most} kept"
    );
    append_to_last(&mut journals, 8, b"newest");
    store.maintain(10_000).unwrap();
    assert!(
        listing(&*store, 8).len() as u64 <= most / 4,
        "the retention of most has passed"
    );
    append_to_last(&mut journals, 9, b"within its retention");
    store.maintain(10_500).unwrap();
    assert_eq!(listing(&*store, 9), [b"within its retention"]);
    assert_eq!(store.losses().journal_entries, lost);
}

fn the_journal_can_be_erased(open: Open<'_>) {
    let store = open();
    let mut journals = store.journals(2).unwrap();
    let lost = store.losses().journal_entries;
    for n in 0..40 {
        for subscriber in [20, 21] {
            let journal = journals.get_mut(n as usize % 2).unwrap();
            journal.append(subscriber, &record(n, 0));
        }
    }
    assert_eq!(store.erase_journal(20).unwrap(), 40);
    assert_eq!(store.erase_journal(20).unwrap(), 0);
    append_to_last(&mut journals, 20, b"later");
    assert_eq!(listing(&*store, 20), [b"later"]);
    assert_eq!(listing(&*store, 21).len(), 40, "others stay");
    assert_eq!(store.losses().journal_entries, lost);
    drop((journals, store));
    let store = open();
    assert_eq!(listing(&*store, 20), [b"later"], "nothing comes back");
    assert_eq!(listing(&*store, 21).len(), 40);
}

fn put(key: &str, value: &[u8]) -> Write {
    Write::Put {
        key: key.into(),
        value: value.into(),
    }
}

fn delete(key: impl Into<String>) -> Write {
    Write::Delete { key: key.into() }
}

fn documents(store: &dyn Store) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut twice = false;
    store
        .load(&mut |key, value| twice |= all.insert(key.into(), value.into()).is_some())
        .unwrap();
    assert!(!twice, "each document once");
    all
}

/// A record of its own for each number and version, of 8 to 308 bytes.
fn record(number: u32, version: u32) -> Vec<u8> {
    let mut record = number.to_le_bytes().to_vec();
    record.extend(version.to_le_bytes());
    record.extend((0..number % 301).map(|n| n.to_le_bytes()[0]));
    record
}

/// A record whose bytes after the first are all its version.
fn marked(number: u8, version: u32) -> Vec<u8> {
    let [version, ..] = version.to_le_bytes();
    let mut record = vec![version; 100 + usize::from(version)];
    record.insert(0, number);
    record
}

fn one_shard(store: &dyn Store) -> Box<dyn OpenCalls> {
    store.open_calls(1, &|_| 0).unwrap().pop().unwrap()
}

fn records(calls: &dyn OpenCalls) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    calls.each(&mut |_, record| all.push(record.to_vec()));
    all.sort();
    all
}

fn read(store: &dyn Store) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    store.read_calls(&mut |record| all.push(record.to_vec()));
    all.sort();
    all
}

fn clear(calls: &mut dyn OpenCalls) {
    let mut slots = Vec::new();
    calls.each(&mut |slot, _| slots.push(slot));
    slots.iter().for_each(|slot| calls.remove(*slot));
}

fn append_to_last(journals: &mut [Box<dyn Journal>], subscriber: u64, record: &[u8]) {
    journals.last_mut().unwrap().append(subscriber, record);
}

fn listing(store: &dyn Store, subscriber: u64) -> Vec<Vec<u8>> {
    let all = store.read_journal(subscriber, None, usize::MAX).unwrap();
    all.into_iter().map(|(_, record)| record).collect()
}
