//! What the load generator asks of the system: a core of its own, exact waits, large buffers.
#![expect(
    unsafe_code,
    reason = "affinity, timer slack and ppoll have no safe wrapper in the standard library"
)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

/// How many descriptors are waited for together.
const MOST_WAITED: usize = 64;
/// What the kernel tells times to programs in, milliseconds.
pub(super) const TICK_MS: u64 = 10;

/// Keeps the calling thread on one core.
///
/// # Errors
/// There is no such core, or this process may not use it.
pub(super) fn pin(cpu: usize) -> io::Result<()> {
    // SAFETY: all bytes zero is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    if cpu >= libc::CPU_SETSIZE as usize {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: the set is ours, and the number lies within it.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: the set is read during the call, with its size; 0 is the calling thread.
    let result = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) };
    checked(result)
}

/// Makes the calling thread's waits end when they are over, not up to 50 µs later.
pub(super) fn be_exact() {
    // SAFETY: a plain call without pointers.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_u64) };
}

/// Asks for socket buffers beyond the system's limit, where this process may.
pub(super) fn enlarge(socket: BorrowedFd<'_>, bytes: i32) {
    for option in [libc::SO_RCVBUFFORCE, libc::SO_SNDBUFFORCE] {
        // SAFETY: the value is a C int, as these options want it, and is read during the call.
        unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                ptr::from_ref(&bytes).cast(),
                size_of_val(&bytes) as libc::socklen_t,
            )
        };
    }
}

/// Waits until there is something to read, or the time is over.
pub(super) fn wait<'fd>(sockets: impl Iterator<Item = BorrowedFd<'fd>>, timeout_ns: u64) {
    let mut polled: smallvec::SmallVec<[libc::pollfd; MOST_WAITED]> = sockets
        .map(|socket| libc::pollfd {
            fd: socket.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    let timeout = libc::timespec {
        tv_sec: (timeout_ns / 1_000_000_000) as libc::time_t,
        tv_nsec: (timeout_ns % 1_000_000_000) as libc::c_long,
    };
    // SAFETY: the entries and the time are ours, and as many as said; no signal mask is passed.
    unsafe {
        libc::ppoll(
            polled.as_mut_ptr(),
            polled.len() as libc::nfds_t,
            &timeout,
            ptr::null(),
        )
    };
}

/// How long a hypervisor has given each of this machine's processors to others, milliseconds since the
/// machine started; nothing where it does not tell.
pub(super) fn stolen_ms() -> Vec<u64> {
    stolen_ms_of(&std::fs::read_to_string("/proc/stat").unwrap_or_default())
}

/// The eighth number of each processor's line, in ticks of 10 ms (proc_stat(5)).
fn stolen_ms_of(stat: &str) -> Vec<u64> {
    let lines = stat.lines().filter_map(|line| {
        let mut fields = line.strip_prefix("cpu")?.split(' ');
        // The first line is of all of them together.
        fields.next().filter(|number| !number.is_empty())?;
        fields.nth(7)?.parse::<u64>().ok()
    });
    lines.map(|ticks| ticks * TICK_MS).collect()
}

fn checked(result: libc::c_int) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_does_not_exist_is_refused() {
        assert!(pin(1_023).is_err());
        assert!(pin(100_000).is_err());
    }

    #[test]
    fn what_a_hypervisor_took_is_the_eighth_number_of_each_processor() {
        let stat = "cpu  10 11 12 13 14 15 16 90 18 19\ncpu0 1 2 3 4 5 6 7 80 9 10\n\
                    cpu1 1 2 3 4 5 6 7 10 9 10\nintr 1 2 3 4 5 6 7 8 9\n";
        assert_eq!(stolen_ms_of(stat), [800, 100]);
        assert!(stolen_ms_of("cpu0 1 2 3 4").is_empty());
        assert!(stolen_ms_of("").is_empty());
    }

    #[test]
    fn a_wait_without_sockets_ends() {
        wait(std::iter::empty(), 1_000);
    }
}
