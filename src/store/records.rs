//! A file of records in slots: `bindings.slots` and `subscriptions.slots`.
//!
//! ```text
//! 0      header: magic, slot bytes, checksum; at 64 the batch being carried out: slots, checksum
//! 4096   the batch itself: up to 256 slots
//! 266240 slots of 1024 bytes:
//!          state: 0 free, 1 taken; length u32, CRC-32 u32 (over number and record); number; record
//! ```
//!
//! It is written with `pwrite`, not mapped: a million bindings shall not count as our memory. What
//! was written is the kernel's, and survives `kill -9`. A slot never crosses a page, so a write of
//! one slot is whole or not there. A batch of several is written aside first, then named in the
//! header, then carried out; the next run finishes what the header names. A power cut may undo about
//! the last second, and the checksum finds what does not belong together.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::map::reserve;
use super::{Records, SLOT_RECORD_MAX, SlotRecords, SlotWrite, StoreError};

const SLOT_BYTES: usize = 1_024;
const HEAD_BYTES: usize = 24;
const PAGE: u64 = 4_096;
/// Where the header names the batch being carried out.
const BATCH_AT: u64 = 64;
/// The most slots of one batch.
pub(super) const BATCH_LIMIT: usize = 256;
const SLOTS_AT: u64 = PAGE + (BATCH_LIMIT * SLOT_BYTES) as u64;
/// The file grows by so many slots.
const GROWTH: u32 = 1_024;

const _: () = assert!(SLOT_RECORD_MAX == SLOT_BYTES - HEAD_BYTES);

type Image = [u8; SLOT_BYTES];

/// What the writer and the background share.
pub(super) struct RecordFile {
    path: PathBuf,
    file: File,
    is_dirty: AtomicBool,
}

/// The one writer.
pub(super) struct RecordSlots {
    shared: Arc<RecordFile>,
    limit: usize,
    live: usize,
    free: Vec<u32>,
    /// The first slot that was never used, and the end of those that the file has room for.
    fresh: u32,
    end: u32,
    /// The directory's lock.
    _lock: Arc<File>,
}

/// What a slot holds.
enum Content<'a> {
    Free,
    Record(&'a [u8]),
    Torn,
}

impl RecordFile {
    /// Everything written so far on the disk.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        if self.is_dirty.swap(false, Relaxed) {
            let synced = self.file.sync_data();
            return synced.map_err(|error| {
                self.is_dirty.store(true, Relaxed);
                StoreError::io("write to", &self.path, error)
            });
        }
        Ok(())
    }
}

impl RecordSlots {
    /// Opens the file in `directory`, or makes it: finishes a batch that was cut off, and counts
    /// and frees the slots that are torn.
    pub(super) fn open(
        directory: &Path,
        (kind, limit): (Records, usize),
        lock: Arc<File>,
    ) -> Result<(Self, u64), StoreError> {
        let path = directory.join(file_name(kind));
        let failed = |error| StoreError::io("open", &path, error);
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file = options.open(&path).map_err(failed)?;
        prepare(&file, &path, magic(kind))?;
        finish_batch(&file).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        let end = bytes.saturating_sub(SLOTS_AT) / SLOT_BYTES as u64;
        let mut slots = Self {
            shared: Arc::new(RecordFile {
                path: path.clone(),
                file,
                is_dirty: AtomicBool::new(false),
            }),
            limit,
            live: 0,
            free: Vec::new(),
            fresh: 0,
            end: u32::try_from(end).unwrap_or(u32::MAX - 1),
            _lock: lock,
        };
        let torn = slots.scan().map_err(failed)?;
        Ok((slots, torn))
    }

    pub(super) fn shared(&self) -> Arc<RecordFile> {
        Arc::clone(&self.shared)
    }

    fn scan(&mut self) -> io::Result<u64> {
        let (mut torn, mut free) = (Vec::new(), Vec::new());
        let (mut live, mut fresh) = (0, 0);
        self.read_each(&mut |slot, content| match content {
            Content::Free => free.push(slot),
            Content::Torn => torn.push(slot),
            Content::Record(_) => {
                live += 1;
                fresh = slot + 1;
            }
        })?;
        for slot in &torn {
            self.shared
                .file
                .write_all_at(&[0; HEAD_BYTES], offset(*slot))?;
        }
        free.extend(&torn);
        free.retain(|slot| *slot < fresh);
        free.sort_unstable_by_key(|slot| std::cmp::Reverse(*slot));
        // Slots behind the last one taken are given back to the disk.
        let end = fresh.next_multiple_of(GROWTH);
        if end < self.end {
            self.shared.file.set_len(offset(end))?;
            self.end = end;
        }
        (self.live, self.fresh, self.free) = (live, fresh, free);
        Ok(torn.len() as u64)
    }

    fn read_each(&self, each: &mut dyn FnMut(u32, Content<'_>)) -> io::Result<()> {
        let mut block = vec![0; GROWTH as usize * SLOT_BYTES];
        let mut slot = 0;
        while slot < self.end {
            let slots = GROWTH.min(self.end - slot);
            let part = block
                .get_mut(..slots as usize * SLOT_BYTES)
                .unwrap_or_default();
            self.shared.file.read_exact_at(part, offset(slot))?;
            for (number, image) in (slot..).zip(part.as_chunks::<SLOT_BYTES>().0) {
                each(number, content(number, image));
            }
            slot += slots;
        }
        Ok(())
    }

    fn grow(&mut self) -> Option<()> {
        let end = self.end.checked_add(GROWTH)?;
        let bytes = u64::from(GROWTH) * SLOT_BYTES as u64;
        reserve(&self.shared.file, offset(self.end), bytes).ok()?;
        self.end = end;
        Some(())
    }

    fn carry_out(&self, batch: &[SlotWrite<'_>]) -> io::Result<()> {
        let file = &self.shared.file;
        if let [single] = batch {
            return write_slot(file, single);
        }
        let mut images = Vec::with_capacity(batch.len() * SLOT_BYTES);
        for write in batch {
            images.extend_from_slice(&image(write));
        }
        file.write_all_at(&images, PAGE)?;
        file.write_all_at(&batch_header(batch.len(), &images), BATCH_AT)?;
        batch.iter().try_for_each(|write| write_slot(file, write))?;
        file.write_all_at(&[0; 16], BATCH_AT)
    }
}

impl SlotRecords for RecordSlots {
    fn reserve(&mut self) -> Option<u32> {
        if self.live >= self.limit {
            return None;
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                if self.fresh == self.end {
                    self.grow()?;
                }
                self.fresh += 1;
                self.fresh - 1
            }
        };
        self.live += 1;
        Some(slot)
    }

    fn release(&mut self, slot: u32) {
        self.free.push(slot);
        self.live = self.live.saturating_sub(1);
    }

    fn write(&mut self, batch: &[SlotWrite<'_>]) -> bool {
        let fits = |write: &SlotWrite<'_>| {
            write.slot < self.fresh && write.record.len() <= SLOT_RECORD_MAX
        };
        if batch.len() > BATCH_LIMIT || !batch.iter().all(fits) {
            return false;
        }
        self.shared.is_dirty.store(true, Relaxed);
        if self.carry_out(batch).is_err() {
            return false;
        }
        for write in batch.iter().filter(|write| write.record.is_empty()) {
            self.release(write.slot);
        }
        true
    }

    fn each(&self, f: &mut dyn FnMut(u32, &[u8])) {
        let read = self.read_each(&mut |slot, content| {
            if let Content::Record(record) = content {
                f(slot, record);
            }
        });
        if let Err(error) = read {
            tracing::error!(path = %self.shared.path.display(), %error, "records were not read");
        }
    }

    fn len(&self) -> usize {
        self.live
    }
}

fn file_name(kind: Records) -> &'static str {
    match kind {
        Records::Bindings => "bindings.slots",
        Records::Subscriptions => "subscriptions.slots",
    }
}

fn magic(kind: Records) -> &'static [u8; 8] {
    match kind {
        Records::Bindings => b"PMBINDS1",
        Records::Subscriptions => b"PMSUBSC1",
    }
}

/// Makes the header of a new file, or checks that of an old one.
fn prepare(file: &File, path: &Path, magic_of_kind: &[u8; 8]) -> Result<(), StoreError> {
    let failed = |error| StoreError::io("open", path, error);
    let mut header = [0; 16];
    let (magic, slot_bytes) = header.split_at_mut(8);
    magic.copy_from_slice(magic_of_kind);
    slot_bytes.copy_from_slice(&(SLOT_BYTES as u64).to_le_bytes());
    if file.metadata().map_err(failed)?.len() < SLOTS_AT {
        reserve(file, 0, SLOTS_AT).map_err(failed)?;
        file.write_all_at(&header, 0).map_err(failed)?;
        return file.sync_all().map_err(failed);
    }
    let mut found = [0; 16];
    file.read_exact_at(&mut found, 0).map_err(failed)?;
    match found == header {
        true => Ok(()),
        false => Err(StoreError::damaged(path, "its header is wrong")),
    }
}

/// Carries out again what the header names, if it was written whole.
fn finish_batch(file: &File) -> io::Result<()> {
    let mut header = [0; 16];
    file.read_exact_at(&mut header, BATCH_AT)?;
    if header == [0; 16] {
        return Ok(());
    }
    let count = u64::from_le_bytes(*header.first_chunk().unwrap_or(&[0; 8]));
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count <= BATCH_LIMIT {
        let mut images = vec![0; count * SLOT_BYTES];
        file.read_exact_at(&mut images, PAGE)?;
        if batch_header(count, &images) == header {
            for image in images.as_chunks::<SLOT_BYTES>().0 {
                file.write_all_at(image, offset(number_of(image)))?;
            }
        }
    }
    file.write_all_at(&[0; 16], BATCH_AT)
}

fn batch_header(count: usize, images: &[u8]) -> [u8; 16] {
    let mut header = [0; 16];
    let (slots, checksum) = header.split_at_mut(8);
    slots.copy_from_slice(&(count as u64).to_le_bytes());
    checksum.copy_from_slice(&u64::from(crc32fast::hash(images)).to_le_bytes());
    header
}

fn write_slot(file: &File, write: &SlotWrite<'_>) -> io::Result<()> {
    let image = image(write);
    let bytes = image.get(..HEAD_BYTES + write.record.len());
    file.write_all_at(bytes.unwrap_or(&image), offset(write.slot))
}

fn image(write: &SlotWrite<'_>) -> Image {
    let mut image = [0; SLOT_BYTES];
    let state = u64::from(!write.record.is_empty());
    let length = write.record.len() as u32;
    let fields = state.to_le_bytes().into_iter();
    let fields = fields.chain(length.to_le_bytes());
    let fields = fields.chain(checksum(write.slot, write.record).to_le_bytes());
    let fields = fields.chain(u64::from(write.slot).to_le_bytes());
    let bytes = fields.chain(write.record.iter().copied());
    image
        .iter_mut()
        .zip(bytes)
        .for_each(|(to, from)| *to = from);
    image
}

fn number_of(image: &Image) -> u32 {
    let number = image.get(16..20).and_then(|bytes| bytes.first_chunk());
    u32::from_le_bytes(*number.unwrap_or(&[0; 4]))
}

fn content(slot: u32, image: &Image) -> Content<'_> {
    let (head, rest) = image.split_at(HEAD_BYTES);
    let [state, lengths, _] = head.as_chunks::<8>().0 else {
        return Content::Torn;
    };
    if *state == [0; 8] {
        return Content::Free;
    }
    let [length, crc] = lengths.as_chunks::<4>().0 else {
        return Content::Torn;
    };
    let record = rest.get(..u32::from_le_bytes(*length) as usize);
    match record {
        Some(record)
            if number_of(image) == slot && checksum(slot, record) == u32::from_le_bytes(*crc) =>
        {
            Content::Record(record)
        }
        _ => Content::Torn,
    }
}

fn checksum(slot: u32, record: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&slot.to_le_bytes());
    crc.update(record);
    crc.finalize()
}

fn offset(slot: u32) -> u64 {
    SLOTS_AT + u64::from(slot) * SLOT_BYTES as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(directory: &Path) -> (RecordSlots, u64) {
        let lock = Arc::new(File::open(directory).unwrap());
        RecordSlots::open(directory, (Records::Bindings, 10), lock).unwrap()
    }

    fn records(slots: &RecordSlots) -> Vec<(u32, Vec<u8>)> {
        let mut all = Vec::new();
        slots.each(&mut |slot, record| all.push((slot, record.to_vec())));
        all
    }

    #[test]
    fn a_batch_that_was_named_is_finished_and_one_that_was_not_is_forgotten() {
        for named in [false, true] {
            let directory = tempfile::tempdir().unwrap();
            let (mut slots, _) = opened(directory.path());
            let (a, b) = (slots.reserve().unwrap(), slots.reserve().unwrap());
            let write = |slot, record| SlotWrite { slot, record };
            assert!(slots.write(&[write(a, b"a1")]) && slots.write(&[write(b, b"b1")]));
            // Killed after the batch was written aside, or after it was named as well.
            let batch = [SlotWrite::free(a), write(b, b"b2")];
            let images: Vec<u8> = batch.iter().flat_map(image).collect();
            slots.shared.file.write_all_at(&images, PAGE).unwrap();
            if named {
                let header = batch_header(2, &images);
                slots.shared.file.write_all_at(&header, BATCH_AT).unwrap();
            }
            drop(slots);
            let (slots, torn) = opened(directory.path());
            let expected = match named {
                false => vec![(a, b"a1".to_vec()), (b, b"b1".to_vec())],
                true => vec![(b, b"b2".to_vec())],
            };
            assert_eq!((records(&slots), torn), (expected, 0));
        }
    }

    #[test]
    fn a_torn_slot_is_counted_and_free() {
        let directory = tempfile::tempdir().unwrap();
        let (mut slots, _) = opened(directory.path());
        let slot = slots.reserve().unwrap();
        let record = b"a record";
        assert!(slots.write(&[SlotWrite { slot, record }]));
        slots
            .shared
            .file
            .write_all_at(b"X", offset(slot) + HEAD_BYTES as u64)
            .unwrap();
        drop(slots);
        let (mut slots, torn) = opened(directory.path());
        assert_eq!((torn, slots.len(), records(&slots).len()), (1, 0, 0));
        assert_eq!(slots.reserve(), Some(slot));
    }

    #[test]
    fn a_file_of_another_kind_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        drop(opened(directory.path()));
        let path = directory.path().join("bindings.slots");
        let file = File::options().write(true).open(&path).unwrap();
        file.write_all_at(b"?", 0).unwrap();
        let lock = Arc::new(file);
        let error = RecordSlots::open(directory.path(), (Records::Bindings, 10), lock)
            .err()
            .unwrap();
        assert!(error.to_string().contains("bindings.slots"), "{error}");
    }
}
