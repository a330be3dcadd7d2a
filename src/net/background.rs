//! Threads that do something again and again until they are told to stop.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// The threads of a server beside its shards; dropping it ends them.
#[derive(Default)]
pub(super) struct Background {
    stop: Arc<Stop>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Stop {
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
        let stop = Arc::clone(&self.stop);
        let thread = Builder::new().name(name.to_owned()).spawn(move || {
            loop {
                let is_over = stop.is_over();
                work();
                if is_over {
                    return;
                }
                stop.wait(period);
            }
        })?;
        self.threads.push(thread);
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
    fn is_over(&self) -> bool {
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
}
