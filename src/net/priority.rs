//! Who goes first where calls and everything else share a processor.
//!
//! A thread that wakes for a datagram waits behind whoever runs there, for as long as that one's slice
//! lasts, some milliseconds. Threads on the call path therefore ask for short slices, which come
//! first (Linux 6.12 and later; before that the request has no effect), and the others weigh less.
//! They still get a tenth of a processor that calls keep busy.
//!
//! Neither helps a thread that has just slept and wakes again at once: it has had its share for the
//! moment, which the scheduler finds out for the next time at its tick only, up to 4 ms later. So who
//! works for long beside the call path gives way now and then.
#![expect(unsafe_code, reason = "sched_setattr has no safe wrapper")]

use std::io;
use std::time::Duration;

use super::clock::stopwatch;

/// The slice of a thread on the call path, nanoseconds: the shortest that the kernel grants.
const SLICE_NS: u64 = 100_000;
/// The slice of the others: longer, so that they do not come first; and not by much, as who gives way
/// gives the rest of it away, which on a busy processor is ten times as long to wait for.
const SLICE_BESIDE_NS: u64 = 200_000;
/// Who gives way for longer than this has a busy processor.
const CROWDED: Duration = Duration::from_millis(1);
/// The nice value of the others: a tenth of the weight of 0.
const NICE: i32 = 10;

/// The calling thread is on the call path: it runs soon after it wakes.
pub(super) fn go_first() {
    if let Err(error) = shorten_slice(SLICE_NS) {
        tracing::debug!(%error, "no short slices for a thread on the call path");
    }
}

/// The calling thread is beside the call path, and so are the threads it starts.
pub(super) fn stand_back() {
    // Whoever started us may have asked for more.
    let before = rustix::process::getpriority_process(None).unwrap_or_default();
    if let Err(error) = rustix::process::setpriority_process(None, before.max(NICE)) {
        tracing::debug!(%error, "a thread beside the call path keeps its priority");
    }
    if let Err(error) = shorten_slice(SLICE_BESIDE_NS) {
        tracing::debug!(%error, "no shorter slices for a thread beside the call path");
    }
}

/// Lets others in between the pieces of some work.
#[derive(Debug, Default)]
pub(super) struct Courtesy {
    is_crowded: bool,
}

impl Courtesy {
    /// Between two pieces of some fifty microseconds: lets in who has come meanwhile, which costs less than
    /// one where nobody has. Not any more once that took longer than a few calls take: on a processor
    /// that calls keep busy the work would get nowhere.
    pub(super) fn give_way(&mut self) {
        if !self.is_crowded {
            let start = stopwatch();
            std::thread::yield_now();
            self.is_crowded = start.elapsed() > CROWDED;
        }
    }
}

/// What another policy than the usual one was chosen for is left as it is.
fn shorten_slice(slice_ns: u64) -> io::Result<()> {
    // SAFETY: all bytes zero is a valid value of a struct of integers.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    let size = size_of_val(&attributes) as libc::c_uint;
    // SAFETY: the struct is ours, of the size that is told, and written during the call; 0 is the
    // calling thread, the last 0 stands for no flags.
    let result = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
    checked(result)?;
    if attributes.sched_policy != libc::SCHED_OTHER as u32 {
        return Ok(());
    }
    attributes.sched_runtime = slice_ns;
    // SAFETY: the struct has its size in it and is read during the call.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    checked(result)
}

fn checked(result: libc::c_long) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a thread of its own, as the priority cannot be raised again.
    fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| scope.spawn(work).join().unwrap())
    }

    #[test]
    fn who_stands_back_is_nicer_and_never_less_nice_than_before() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let before = apart(nice);
        assert_eq!(
            apart(|| {
                stand_back();
                nice()
            }),
            before.max(NICE)
        );
        assert_eq!(apart(nice), before, "others are not touched");
        let nicer = apart(|| {
            rustix::process::setpriority_process(None, 15).unwrap();
            stand_back();
            nice()
        });
        assert_eq!(nicer, 15);
    }

    #[test]
    fn who_goes_first_keeps_policy_and_nice_value() {
        apart(|| {
            let nice = rustix::process::getpriority_process(None).unwrap();
            shorten_slice(SLICE_NS).unwrap();
            assert_eq!(rustix::process::getpriority_process(None).unwrap(), nice);
        });
    }
}
