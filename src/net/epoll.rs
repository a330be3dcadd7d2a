//! Waiting for sockets, for other threads and for a time: epoll, eventfd and timerfd, behind safe calls.
#![expect(
    unsafe_code,
    reason = "epoll, eventfd and timerfd have no safe wrapper in the standard library"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// How many sockets can be ready at once; one shard has no more.
const EVENTS: usize = 32;

/// A set of descriptors that are waited for together.
pub(super) struct Epoll {
    epoll: OwnedFd,
    events: [libc::epoll_event; EVENTS],
    ready: usize,
}

/// One descriptor that has something to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ready {
    /// The number it was added with.
    pub token: u64,
    /// Whether its error queue has to be read.
    pub has_error: bool,
}

impl Epoll {
    /// An empty set.
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: a plain call; the descriptor it returns is owned by nobody yet.
        let epoll = unsafe { owned(libc::epoll_create1(libc::EPOLL_CLOEXEC))? };
        let events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
        Ok(Self {
            epoll,
            events,
            ready: 0,
        })
    }

    /// Adds a descriptor: ready while there is something to read.
    pub(super) fn add(&self, descriptor: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        self.control(descriptor, token, libc::EPOLLIN)
    }

    /// Adds a descriptor that is ready once each time it is written, or rings.
    pub(super) fn add_edge(&self, descriptor: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        self.control(descriptor, token, libc::EPOLLIN | libc::EPOLLET)
    }

    fn control(&self, descriptor: BorrowedFd<'_>, token: u64, events: i32) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: events as u32,
            u64: token,
        };
        let (epoll, descriptor) = (self.epoll.as_raw_fd(), descriptor.as_raw_fd());
        // SAFETY: both descriptors are open, and the event is read during the call only.
        checked(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, descriptor, &mut event) })?;
        Ok(())
    }

    /// Waits until something is ready or the time is over; `None` waits without end.
    pub(super) fn wait(&mut self, timeout_ms: Option<u64>) -> io::Result<()> {
        let timeout = timeout_ms.map_or(-1, |ms| i32::try_from(ms).unwrap_or(i32::MAX));
        self.ready = 0;
        // SAFETY: the kernel writes at most as many events as the array has.
        let count = unsafe {
            libc::epoll_wait(
                self.epoll.as_raw_fd(),
                self.events.as_mut_ptr(),
                EVENTS as libc::c_int,
                timeout,
            )
        };
        match checked(count) {
            Ok(count) => self.ready = count as usize,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// What the last wait found.
    pub(super) fn ready(&self) -> impl Iterator<Item = Ready> + use<> {
        let error = libc::EPOLLERR as u32;
        let events = self.events;
        events.into_iter().take(self.ready).map(move |event| {
            let (token, events) = (event.u64, event.events);
            Ready {
                token,
                has_error: events & error != 0,
            }
        })
    }
}

/// Lets other threads end a shard's wait, and spares them the system call while it is awake.
pub(super) struct Waker {
    event: OwnedFd,
    may_sleep: AtomicBool,
}

impl Waker {
    pub(super) fn new() -> io::Result<Self> {
        let flags = libc::EFD_CLOEXEC | libc::EFD_NONBLOCK;
        // SAFETY: a plain call; the descriptor it returns is owned by nobody yet.
        let event = unsafe { owned(libc::eventfd(0, flags))? };
        Ok(Self {
            event,
            may_sleep: AtomicBool::new(false),
        })
    }

    /// Wakes the sleeper, where it sleeps; whether a system call was needed. What it is to find
    /// must have been put in place before.
    pub(super) fn wake(&self) -> bool {
        fence(Ordering::SeqCst);
        let sleeps =
            self.may_sleep.load(Ordering::Relaxed) && self.may_sleep.swap(false, Ordering::AcqRel);
        if sleeps {
            let one = 1_u64.to_ne_bytes();
            // SAFETY: eight bytes are passed, as an eventfd wants them. It cannot fail but by a
            // counter that is full, and then the sleeper is woken anyway.
            unsafe { libc::write(self.event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        }
        sleeps
    }

    /// Says that a wait is about to begin. The sleeper must look for work once more after this:
    /// whatever is put in place later, wakes it.
    pub(super) fn about_to_sleep(&self) {
        self.may_sleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Says that the wait is over.
    pub(super) fn awake(&self) {
        self.may_sleep.store(false, Ordering::Relaxed);
    }
}

/// Ends a wait at a time. It goes on running while other things end waits before: to start and stop
/// a timer that is due before the processor's next tick costs several microseconds each time.
pub(super) struct Alarm {
    timer: OwnedFd,
    /// When it rings, on the clock of whoever waits.
    rings_ms: Option<u64>,
}

impl Alarm {
    /// One that does not run.
    pub(super) fn new() -> io::Result<Self> {
        let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
        // SAFETY: a plain call; the descriptor it returns is owned by nobody yet.
        let timer = unsafe { owned(libc::timerfd_create(libc::CLOCK_MONOTONIC, flags))? };
        Ok(Self {
            timer,
            rings_ms: None,
        })
    }

    /// Rings at `at_ms`, which is after `now_ms`; sooner if it was to ring sooner already.
    pub(super) fn ring_by(&mut self, at_ms: u64, now_ms: u64) -> io::Result<()> {
        if self.rings_ms.is_some_and(|rings_ms| rings_ms <= at_ms) {
            return Ok(());
        }
        let wait_ms = at_ms.saturating_sub(now_ms).max(1);
        let once = libc::itimerspec {
            it_interval: libc::timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: libc::timespec {
                tv_sec: i64::try_from(wait_ms / 1_000).unwrap_or(i64::MAX),
                tv_nsec: (wait_ms % 1_000 * 1_000_000) as i64,
            },
        };
        // SAFETY: the descriptor is open, and the time is read during the call only.
        checked(unsafe {
            libc::timerfd_settime(self.timer.as_raw_fd(), 0, &once, std::ptr::null_mut())
        })?;
        self.rings_ms = Some(at_ms);
        Ok(())
    }

    /// It was found ready.
    pub(super) fn has_rung(&mut self) {
        self.rings_ms = None;
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// # Safety
/// A descriptor that is not negative must be open and owned by nobody else.
unsafe fn owned(descriptor: libc::c_int) -> io::Result<OwnedFd> {
    let descriptor = checked(descriptor)?;
    // SAFETY: as the caller promises.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn an_alarm_rings_once_for_each_time_it_is_set() {
        let (mut alarm, mut epoll) = (Alarm::new().unwrap(), Epoll::new().unwrap());
        epoll.add_edge(alarm.as_fd(), 9).unwrap();
        for now_ms in [1_000, 2_000, 3_000] {
            alarm.ring_by(now_ms + 60_000, now_ms).unwrap();
            alarm.ring_by(now_ms + 5, now_ms).unwrap();
            alarm.ring_by(now_ms + 60_000, now_ms).unwrap();
            epoll.wait(Some(10_000)).unwrap();
            let tokens: Vec<_> = epoll.ready().map(|ready| ready.token).collect();
            assert_eq!(tokens, [9]);
            alarm.has_rung();
            epoll.wait(Some(0)).unwrap();
            assert_eq!(epoll.ready().count(), 0);
        }
    }

    #[test]
    fn a_waker_ends_a_wait_once_and_costs_nothing_while_awake() {
        let waker = Arc::new(Waker::new().unwrap());
        let mut epoll = Epoll::new().unwrap();
        epoll.add_edge(waker.as_fd(), 7).unwrap();
        assert!(!waker.wake());
        waker.about_to_sleep();
        assert!(waker.wake());
        assert!(!waker.wake());
        epoll.wait(Some(5_000)).unwrap();
        assert_eq!(
            epoll.ready().collect::<Vec<_>>(),
            [Ready {
                token: 7,
                has_error: false
            }]
        );
        epoll.wait(Some(0)).unwrap();
        assert_eq!(epoll.ready().count(), 0);

        waker.about_to_sleep();
        let other = Arc::clone(&waker);
        let thread = std::thread::spawn(move || other.wake());
        epoll.wait(Some(5_000)).unwrap();
        assert_eq!(epoll.ready().count(), 1);
        assert!(thread.join().unwrap());
    }
}
