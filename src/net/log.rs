//! Log lines to standard error, without ever waiting for whoever reads them.
//!
//! Lines are queued and written by a thread of their own. When the reader stalls and the queue is
//! full, lines are dropped and counted, and the next line that gets through says how many.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use super::clock::stopwatch;
use super::priority;
use crate::config::{Log, LogFormat};

/// How many lines wait at most, and how many bytes they have.
const QUEUE_LIMIT: usize = 8_192;
const QUEUE_LIMIT_BYTES: usize = 8 << 20;
/// How much is written at a time.
const CHUNK_BYTES: usize = 64 * 1024;
/// How long the writer lets lines gather after the first: to be woken for each would cost more than to
/// write it.
const GATHER: Duration = Duration::from_millis(5);
/// How long the writer sleeps when nobody wakes it.
const NAP: Duration = Duration::from_secs(1);
/// How long the end of the process waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Keeps the log going; dropping it writes what waits, for at most a second.
pub struct Logging {
    lines: Arc<Lines>,
    thread: Option<JoinHandle<()>>,
    level: reload::Handle<EnvFilter, Registry>,
    is_fixed: bool,
}

/// Starts logging for the whole process, panics included.
///
/// # Errors
/// Logging was started before, or no thread is left.
pub fn start_logging(config: &Log) -> io::Result<Logging> {
    let lines = Arc::new(Lines::default());
    let thread = start_writer(Arc::clone(&lines), io::stderr())?;
    let from_environment = std::env::var("RUST_LOG")
        .ok()
        .filter(|level| !level.is_empty());
    let is_fixed = from_environment.is_some();
    let filter = EnvFilter::new(from_environment.as_deref().unwrap_or(&config.level));
    let (filter, level) = reload::Layer::new(filter);
    let writer = LineWriter(Arc::clone(&lines));
    let format = tracing_subscriber::fmt::layer().with_writer(writer);
    let format = match config.format {
        LogFormat::Human => format.with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => format
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .boxed(),
    };
    let subscriber = tracing_subscriber::registry().with(filter).with(format);
    subscriber.try_init().map_err(io::Error::other)?;
    log_panics();
    Ok(Logging {
        lines,
        thread: Some(thread),
        level,
        is_fixed,
    })
}

impl Logging {
    /// Puts another level in force, unless `RUST_LOG` set it.
    pub fn set_level(&self, level: &str) {
        if !self.is_fixed {
            let _ = self.level.reload(EnvFilter::new(level));
        }
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.lines.is_ending.store(true, Ordering::Release);
        let Some(thread) = self.thread.take() else {
            return;
        };
        let start = stopwatch();
        while !thread.is_finished() && start.elapsed() < LAST_LINES {
            thread.thread().unpark();
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
}

/// A panic is one line of the log, with its place.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or_default();
        tracing::error!(place, message, "panic");
    }));
}

/// What waits to be written.
struct Lines {
    queue: ArrayQueue<Box<[u8]>>,
    queued_bytes: AtomicUsize,
    dropped: AtomicU64,
    is_ending: AtomicBool,
    /// The writer was woken, and has not looked since.
    is_called: AtomicBool,
    writer: std::sync::OnceLock<std::thread::Thread>,
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            queue: ArrayQueue::new(QUEUE_LIMIT),
            queued_bytes: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            is_ending: AtomicBool::new(false),
            is_called: AtomicBool::new(false),
            writer: std::sync::OnceLock::new(),
        }
    }
}

impl Lines {
    fn push(&self, line: &[u8]) {
        let length = line.len();
        let before = self.queued_bytes.fetch_add(length, Ordering::Relaxed);
        let fits = before + length <= QUEUE_LIMIT_BYTES;
        if !fits || self.queue.push(line.into()).is_err() {
            self.queued_bytes.fetch_sub(length, Ordering::Relaxed);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        // Before the first line there may be no writer to call.
        if let Some(writer) = self.writer.get()
            && !self.is_called.swap(true, Ordering::AcqRel)
        {
            writer.unpark();
        }
    }

    /// Moves lines into `chunk`, until it is full or none waits.
    fn take(&self, chunk: &mut Vec<u8>) {
        while chunk.len() < CHUNK_BYTES {
            let Some(line) = self.queue.pop() else { return };
            self.queued_bytes.fetch_sub(line.len(), Ordering::Relaxed);
            chunk.extend_from_slice(&line);
        }
    }
}

fn start_writer(lines: Arc<Lines>, to: impl Write + Send + 'static) -> io::Result<JoinHandle<()>> {
    let name = "log".to_owned();
    let of_thread = Arc::clone(&lines);
    let thread = Builder::new().name(name).spawn(move || {
        priority::stand_back();
        write_lines(&of_thread, to);
    })?;
    let _ = lines.writer.set(thread.thread().clone());
    Ok(thread)
}

fn write_lines(lines: &Lines, mut to: impl Write) {
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    let mut told = 0;
    loop {
        chunk.clear();
        lines.is_called.swap(false, Ordering::AcqRel);
        lines.take(&mut chunk);
        let dropped = lines.dropped.load(Ordering::Relaxed);
        if dropped > told && !chunk.is_empty() {
            let _ = writeln!(
                chunk,
                "pointsman: {} log lines were dropped here",
                dropped - told
            );
            told = dropped;
        }
        if !chunk.is_empty() {
            let _ = to.write_all(&chunk);
        } else if lines.is_ending.load(Ordering::Acquire) {
            return;
        } else {
            std::thread::park_timeout(NAP);
            if !lines.is_ending.load(Ordering::Acquire) {
                std::thread::park_timeout(GATHER);
            }
        }
    }
}

/// Hands each line to [`Lines`].
#[derive(Clone)]
struct LineWriter(Arc<Lines>);

impl<'a> MakeWriter<'a> for LineWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for LineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// A reader that takes each chunk only when it is allowed to.
    struct Stalled(mpsc::Receiver<()>, mpsc::Sender<Vec<u8>>);

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            let _ = self.1.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    type Writing = (Arc<Lines>, JoinHandle<()>);

    /// A writer whose reader waits to be allowed, and the chunks that it took.
    fn stalled() -> (Writing, mpsc::Sender<()>, mpsc::Receiver<Vec<u8>>) {
        let (allow, allowed) = mpsc::channel();
        let (written, chunks) = mpsc::channel();
        let lines = Arc::new(Lines::default());
        let thread = start_writer(Arc::clone(&lines), Stalled(allowed, written)).unwrap();
        ((lines, thread), allow, chunks)
    }

    #[test]
    fn a_stalled_reader_costs_lines_and_nobodys_time() {
        let ((lines, thread), allow, chunks) = stalled();
        let line = [&[b'x'; 99][..], b"\n"].concat();
        for _ in 0..20_000 {
            LineWriter(Arc::clone(&lines)).write_all(&line).unwrap();
        }
        let dropped = lines.dropped.load(Ordering::Relaxed);
        assert!(dropped >= 20_000 - QUEUE_LIMIT as u64 - 1_000, "{dropped}");
        lines.is_ending.store(true, Ordering::Release);
        drop(allow);
        thread.join().unwrap();
        let text: Vec<u8> = chunks.iter().flatten().collect();
        let text = String::from_utf8(text).unwrap();
        let told = text
            .lines()
            .find(|line| line.starts_with("pointsman: "))
            .unwrap();
        assert!(told.contains("log lines were dropped"), "{told}");
        let whole = text.lines().filter(|line| line.len() == 99).count() as u64;
        assert_eq!(whole + dropped, 20_000);
    }

    #[test]
    fn lines_that_come_together_are_written_together_and_soon() {
        let ((lines, thread), allow, chunks) = stalled();
        drop(allow);
        for round in 0..20 {
            for _ in 0..50 {
                lines.push(b"line\n");
            }
            let mut got = 0;
            let mut pieces = 0;
            while got < 50 * 5 {
                got += chunks.recv_timeout(NAP / 2).unwrap().len();
                pieces += 1;
            }
            assert!(pieces < 25, "{round}: {pieces}");
        }
        lines.is_ending.store(true, Ordering::Release);
        thread.thread().unpark();
        thread.join().unwrap();
    }

    #[test]
    fn lines_are_bounded_in_bytes() {
        let lines = Lines::default();
        for _ in 0..200 {
            lines.push(&[b'x'; 100_000]);
        }
        assert_eq!(lines.queue.len(), QUEUE_LIMIT_BYTES / 100_000);
    }
}
