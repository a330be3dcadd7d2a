//! SIP on a byte stream: TCP and TLS (RFC 3261 §18.3).

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use super::connections::Connections;
use super::counters::Closed;
use super::inbox::Inbox;
use super::link::Link;
use super::queue::Batch;
use super::refuse::refuse;
use crate::config::Limits;
use crate::message::{Frame, Framer};

/// How much is read at once: little at first, more where much comes.
const READ_BYTES: usize = 4 << 10;
const READ_LIMIT_BYTES: usize = 64 << 10;
/// How long the last messages and the end may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long a connection whose bytes cannot be cut into messages is kept for answers.
const LINGER: Duration = Duration::from_millis(300);

/// Speaks over an open connection until it ends, and takes it out of all tables.
pub(super) async fn speak<S>(connections: &Arc<Connections>, link: &Arc<Link>, stream: S)
where
    S: AsyncRead + AsyncWrite,
{
    let (mut reader, writer) = tokio::io::split(stream);
    let limits = connections.limits();
    let mut writing = Writing {
        connections,
        link,
        writer,
        stall: Duration::from_secs(limits.connection_stall_s.into()),
        batch: Batch::default(),
        written: 0,
    };
    let reading = Reading {
        connections,
        link,
        limits,
        inbox: Inbox::new(connections, link),
        opened: Instant::now(),
        began: None,
        has_sent: false,
    };
    let closed = tokio::select! {
        closed = reading.run(&mut reader) => closed,
        closed = writing.run() => closed,
    };
    if closed == Closed::Unframed {
        writing.linger(&mut reader).await;
    }
    connections.retire(link, closed);
    if !matches!(closed, Closed::Broken | Closed::Stalled | Closed::QueueFull) {
        writing.end().await;
    }
}

/// The reading half.
struct Reading<'a> {
    connections: &'a Arc<Connections>,
    link: &'a Arc<Link>,
    limits: Limits,
    inbox: Inbox,
    opened: Instant,
    /// When the first byte of the message came that is not whole yet.
    began: Option<Instant>,
    has_sent: bool,
}

impl Reading<'_> {
    async fn run(mut self, reader: &mut (impl AsyncRead + Unpin)) -> Closed {
        let mut framer = Framer::new(self.limits.message_bytes);
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let (deadline, late) = self.deadline();
            let read = match timeout_at(deadline, reader.read(&mut buffer)).await {
                Ok(Ok(0)) => return Closed::ByPeer,
                Ok(Ok(read)) => read,
                Ok(Err(_)) => return Closed::Broken,
                Err(_) if late == Closed::Idle && !self.is_idle() => continue,
                Err(_) => return late,
            };
            let bytes = buffer.get(..read).unwrap_or_default();
            if let Err(closed) = self.take(&mut framer, bytes).await {
                return closed;
            }
            if read == buffer.len() && read < READ_LIMIT_BYTES {
                buffer.resize(read * 2, 0);
            }
        }
    }

    async fn take(&mut self, framer: &mut Framer, bytes: &[u8]) -> Result<(), Closed> {
        self.has_sent = true;
        let (counters, link) = (self.connections.counters(), self.link);
        counters.received(link.transport, bytes.len());
        link.touch(self.connections.now_ms());
        let unframed = |why| {
            counters.unframed(why);
            tracing::info!(peer = %link.peer, transport = link.transport.param(), %why,
                "a connection is closed: what came cannot be cut into messages");
            Closed::Unframed
        };
        framer.push(bytes).map_err(unframed)?;
        let mut has_message = false;
        loop {
            let frame = match framer.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(why) => {
                    if let Some(head) = framer.take_refused() {
                        refuse(self.connections, link, &head, why);
                    }
                    return Err(unframed(why));
                }
            };
            match frame {
                Frame::Message(message) => {
                    has_message = true;
                    self.inbox.take(message).await;
                }
                Frame::Ping => {
                    counters.ping();
                    let _ = link.queue.push(b"\r\n");
                }
                Frame::Pong => {}
            }
        }
        if framer.buffered() == 0 {
            self.began = None;
        } else if has_message || self.began.is_none() {
            self.began = Some(Instant::now());
        }
        Ok(())
    }

    /// Until when something must come, and what it is called when nothing does.
    fn deadline(&self) -> (Instant, Closed) {
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        match self.began {
            Some(began) => (began + seconds(self.limits.message_s), Closed::SlowMessage),
            None if !self.has_sent && !self.link.is_outgoing => {
                let deadline = self.opened + seconds(self.limits.first_message_s);
                (deadline, Closed::Silent)
            }
            None => {
                let idle_ms = self.idle_ms();
                let left = self.idle_limit_ms().saturating_sub(idle_ms).max(1);
                let left = Duration::from_millis(left);
                (Instant::now() + left, Closed::Idle)
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.idle_ms() >= self.idle_limit_ms()
            && !self.link.is_kept()
            && !self.link.queue.has_some()
    }

    fn idle_ms(&self) -> u64 {
        let now_ms = self.connections.now_ms();
        now_ms.saturating_sub(self.link.active_ms())
    }

    fn idle_limit_ms(&self) -> u64 {
        u64::from(self.limits.connection_idle_s) * 1_000
    }
}

/// The writing half: everything that waits goes out at once, in its order. It can be stopped at any
/// time and go on where it was.
struct Writing<'a, W> {
    connections: &'a Connections,
    link: &'a Link,
    writer: W,
    /// How long the other side may take nothing.
    stall: Duration,
    batch: Batch,
    /// So much of the batch is written.
    written: usize,
}

impl<W: AsyncWrite + Unpin> Writing<'_, W> {
    async fn run(&mut self) -> Closed {
        loop {
            if let Err(closed) = self.write_batch().await {
                return closed;
            }
            self.written = 0;
            if !self.link.queue.take(&mut self.batch).await {
                return match self.link.queue.is_full() {
                    true => Closed::QueueFull,
                    false => Closed::Ending,
                };
            }
        }
    }

    async fn write_batch(&mut self) -> Result<(), Closed> {
        if self.batch.ends.is_empty() {
            return Ok(());
        }
        while let Some(rest) = self.batch.bytes.get(self.written..)
            && !rest.is_empty()
        {
            let written = timeout(self.stall, self.writer.write(rest)).await;
            let written = written.map_err(|_| Closed::Stalled)?;
            match written.map_err(|_| Closed::Broken)? {
                0 => return Err(Closed::Broken),
                written => self.written += written,
            }
            self.link.touch(self.connections.now_ms());
        }
        let flushed = timeout(self.stall, self.writer.flush()).await;
        let flushed = flushed.map_err(|_| Closed::Stalled)?;
        flushed.map_err(|_| Closed::Broken)?;
        let (messages, bytes) = (self.batch.ends.len(), self.batch.bytes.len());
        let counters = self.connections.counters();
        counters.sent(self.link.transport, messages, bytes);
        Ok(())
    }

    /// Waits a moment for the answers to what came before the fault. What comes after it is thrown
    /// away, so that the end of the connection does not overtake the answers.
    async fn linger(&mut self, reader: &mut (impl AsyncRead + Unpin)) {
        let mut rest = vec![0; READ_BYTES];
        let drained = async { while matches!(reader.read(&mut rest).await, Ok(1..)) {} };
        let both = async {
            tokio::select! {
                () = drained => {}
                _ = self.run() => {}
            }
        };
        let _ = timeout(LINGER, both).await;
    }

    /// Sends what still waits, such as the answer to what ended the connection, and closes.
    async fn end(mut self) {
        let _ = timeout(FAREWELL, self.run()).await;
        let _ = timeout(FAREWELL, self.writer.shutdown()).await;
    }
}
