//! Files in memory: the one place of the store with `unsafe`. Outside it a mapped file is a slice
//! of atomic words, so that a reader in another thread is no data race and a store, once done,
//! survives the process.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use memmap2::{Advice, MmapOptions, MmapRaw};

/// The bytes of one word.
pub(super) const WORD: usize = size_of::<u64>();

/// A part of a file, shared with the kernel: what is stored is in the file even if the process is
/// killed with the next instruction.
pub(super) struct Mapping {
    raw: MmapRaw,
    words: usize,
}

impl Mapping {
    /// Maps `bytes` bytes from `offset`, which must be a multiple of 4096. The blocks must have been
    /// reserved and must never be cut off: to touch memory without a block behind it ends the
    /// process. The directory's lock keeps other stores away.
    pub(super) fn new(file: &File, offset: u64, bytes: usize) -> io::Result<Self> {
        if file.metadata()?.len() < offset.saturating_add(bytes as u64) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let raw = MmapOptions::new().offset(offset).len(bytes).map_raw(file)?;
        if !raw.as_mut_ptr().cast::<AtomicU64>().is_aligned() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let words = bytes / WORD;
        Ok(Self { raw, words })
    }

    /// The mapped words.
    #[expect(unsafe_code, reason = "a mapped file seen as atomic words")]
    pub(super) fn words(&self) -> &[AtomicU64] {
        // SAFETY: `raw` maps at least `words * 8` readable and writable bytes for as long as `self`
        // lives; the start is aligned (checked above); every bit pattern is a valid `AtomicU64`;
        // and nothing in this process accesses the mapping but through these atomics, since `raw`
        // never leaves this file.
        unsafe { std::slice::from_raw_parts(self.raw.as_mut_ptr().cast(), self.words) }
    }

    /// Brings the pages in, writable, so that the first store to each needs no page fault. Only
    /// saves time: kernels that cannot (before 5.14) are forgiven.
    pub(super) fn populate(&self) {
        let _ = self.raw.advise(Advice::PopulateWrite);
    }
}

/// Reserves the blocks of a part of a file, extending it if need be. Afterwards a store into a
/// mapping of that part cannot fail for want of space.
#[expect(
    unsafe_code,
    reason = "posix_fallocate has no safe wrapper in the standard library"
)]
pub(super) fn reserve(file: &File, offset: u64, bytes: u64) -> io::Result<()> {
    let too_large = |_| io::Error::from(io::ErrorKind::FileTooLarge);
    let offset = libc::off_t::try_from(offset).map_err(too_large)?;
    let bytes = libc::off_t::try_from(bytes).map_err(too_large)?;
    loop {
        // SAFETY: the descriptor is open for as long as `file` is borrowed; no memory is passed.
        match unsafe { libc::posix_fallocate(file.as_raw_fd(), offset, bytes) } {
            0 => return Ok(()),
            libc::EINTR => {}
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// Copies bytes into words, filling the last up with zeros. Words that are missing are left out.
pub(super) fn store_bytes(words: &[AtomicU64], bytes: &[u8]) {
    let (whole, rest) = bytes.as_chunks::<WORD>();
    let mut words = words.iter();
    for (chunk, word) in whole.iter().zip(&mut words) {
        word.store(u64::from_le_bytes(*chunk), Relaxed);
    }
    if let (false, Some(word)) = (rest.is_empty(), words.next()) {
        let mut last = [0; WORD];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        word.store(u64::from_le_bytes(last), Relaxed);
    }
}

/// Copies words into bytes, the opposite of [`store_bytes`].
pub(super) fn load_bytes(words: &[AtomicU64], bytes: &mut [u8]) {
    let (whole, rest) = bytes.as_chunks_mut::<WORD>();
    let mut words = words.iter();
    for (chunk, word) in whole.iter_mut().zip(&mut words) {
        *chunk = word.load(Relaxed).to_le_bytes();
    }
    if let Some(word) = words.next() {
        let last = word.load(Relaxed).to_le_bytes();
        rest.iter_mut().zip(last).for_each(|(to, from)| *to = from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_every_length_come_back() {
        let words: Vec<AtomicU64> = (0..5).map(|_| AtomicU64::new(u64::MAX)).collect();
        for length in 0..=40 {
            let bytes: Vec<u8> = (1..=length).collect();
            let mut back = vec![0; bytes.len()];
            store_bytes(&words, &bytes);
            load_bytes(&words, &mut back);
            assert_eq!(back, bytes);
        }
    }

    #[test]
    fn what_is_stored_is_in_the_file() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        assert!(
            Mapping::new(&file, 0, 4096).is_err(),
            "no block behind the memory"
        );
        reserve(&file, 0, 8192).unwrap();
        let mapping = Mapping::new(&file, 4096, 4096).unwrap();
        mapping.populate();
        store_bytes(mapping.words(), b"kept");
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!((bytes.len(), &bytes[4096..4100]), (8192, &b"kept"[..]));
    }
}
