//! Threads that do something again and again until they are told to stop.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::priority;

/// The threads of a server beside its shards; dropping it ends them.
#[derive(Default)]
pub(super) struct Background {
    stop: Arc<Stop>,
    threads: Vec<JoinHandle<()>>,
}

/// Whether the end has come.
#[derive(Default)]
pub(super) struct Stop {
    is_over: Mutex<bool>,
    changed: Condvar,
}

impl Background {
    /// Starts a thread that does `work` now and after every `period`, and once more at the end.
    pub(super) fn every(
        &mut self,
        name: &str,
        period: Duration,
        mut work: impl FnMut() + Send + 'static,
    ) -> io::Result<()> {
        self.start(name, move |stop| {
            loop {
                let is_over = stop.is_over();
                work();
                if is_over {
                    return;
                }
                stop.wait(period);
            }
        })
    }

    /// Starts a thread that does `work` now and after every `period`, and not any more at the end.
    /// `work` should ask now and then whether that has come.
    pub(super) fn until_the_end(
        &mut self,
        name: &str,
        period: Duration,
        mut work: impl FnMut(&Stop) + Send + 'static,
    ) -> io::Result<()> {
        self.start(name, move |stop| {
            while !stop.is_over() {
                work(stop);
                stop.wait(period);
            }
        })
    }

    fn start(&mut self, name: &str, run: impl FnOnce(&Stop) + Send + 'static) -> io::Result<()> {
        let stop = Arc::clone(&self.stop);
        let thread = Builder::new().name(name.to_owned());
        self.threads.push(thread.spawn(move || {
            priority::stand_back();
            run(&stop);
        })?);
        Ok(())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        *self
            .stop
            .is_over
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.changed.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Stop {
    /// Whether the end has come.
    pub(super) fn is_over(&self) -> bool {
        *self.is_over.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, period: Duration) {
        let is_over = self.is_over.lock().unwrap_or_else(PoisonError::into_inner);
        if !*is_over {
            drop(self.changed.wait_timeout(is_over, period));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn the_end_does_not_wait_for_the_period_and_works_once_more() {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let mut background = Background::default();
        let work = move || {
            counted.fetch_add(1, Ordering::SeqCst);
        };
        background
            .every("test", Duration::from_secs(3_600), work)
            .unwrap();
        while count.load(Ordering::SeqCst) == 0 {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        drop(background);
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn what_is_done_until_the_end_is_not_done_at_it() {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let mut background = Background::default();
        let work = move |stop: &Stop| {
            counted.fetch_add(1, Ordering::SeqCst);
            while !stop.is_over() {
                std::thread::park_timeout(Duration::from_millis(1));
            }
        };
        background
            .until_the_end("test", Duration::from_millis(1), work)
            .unwrap();
        while count.load(Ordering::SeqCst) == 0 {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        drop(background);
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }
}
