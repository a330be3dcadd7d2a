//! SIP over WebSocket (RFC 7118): one message in each WebSocket message, text or binary.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Interval, interval_at, timeout, timeout_at};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::http::header::{
    HeaderValue, SEC_WEBSOCKET_PROTOCOL as PROTOCOL,
};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

use super::connections::Connections;
use super::counters::{Closed, Refusal};
use super::inbox::Inbox;
use super::link::Link;
use super::queue::Batch;
use crate::config::Limits;
use crate::message::Unframed;

/// The subprotocol (RFC 7118 §4).
const SIP: &str = "sip";
/// How often the other side is asked whether it lives, and for how long it may be silent.
const PING: Duration = Duration::from_secs(25);
const ALIVE: Duration = Duration::from_secs(90);
/// How long the last messages and the end may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// Buffers of a connection; the library would take 128 KiB each.
const BUFFER_BYTES: usize = 4 << 10;

/// Does the handshake with somebody who has connected.
pub(super) async fn welcome<S>(stream: S, limits: Limits) -> Result<WebSocketStream<S>, Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let bounds = WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_write_buffer_size(limits.connection_queue_bytes.saturating_mul(2))
        .max_message_size(Some(limits.message_bytes))
        .max_frame_size(Some(limits.message_bytes));
    let accepted = accept_hdr_async_with_config(stream, choose_sip, Some(bounds)).await;
    accepted.map_err(|_| Refusal::WebSocket)
}

/// Chooses the subprotocol; who does not offer it is told so (RFC 7118 §4.1).
#[expect(clippy::result_large_err, reason = "the library's callback")]
fn choose_sip(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let offered = request.headers().get_all(PROTOCOL).into_iter();
    let mut offered = offered
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    if offered.any(|name| name.trim().eq_ignore_ascii_case(SIP)) {
        let headers = response.headers_mut();
        headers.insert(PROTOCOL, HeaderValue::from_static(SIP));
        return Ok(response);
    }
    let text = "the WebSocket subprotocol \"sip\" is needed (RFC 7118)\n";
    let mut refusal = ErrorResponse::new(Some(text.to_owned()));
    *refusal.status_mut() = StatusCode::BAD_REQUEST;
    let headers = refusal.headers_mut();
    headers.insert(PROTOCOL, HeaderValue::from_static(SIP));
    Err(refusal)
}

/// Speaks over an open connection until it ends, and takes it out of all tables.
pub(super) async fn speak<S>(
    connections: &Arc<Connections>,
    link: &Arc<Link>,
    stream: WebSocketStream<S>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (writer, reader) = stream.split();
    let limits = connections.limits();
    let mut writing = Writing {
        connections,
        link,
        writer,
        stall: Duration::from_secs(limits.connection_stall_s.into()),
        pings: interval_at(Instant::now() + PING, PING),
    };
    let mut inbox = Inbox::new(connections, link);
    let first = Duration::from_secs(limits.first_message_s.into());
    let closed = tokio::select! {
        closed = read(connections, link, &mut inbox, (reader, first)) => closed,
        closed = writing.run() => closed,
    };
    connections.retire(link, closed);
    if !matches!(closed, Closed::Broken | Closed::Stalled | Closed::QueueFull) {
        let _ = timeout(FAREWELL, writing.run()).await;
        let _ = timeout(FAREWELL, writing.writer.close()).await;
    }
}

async fn read(
    connections: &Arc<Connections>,
    link: &Arc<Link>,
    inbox: &mut Inbox,
    (mut reader, first): (impl Stream<Item = Result<Message, Error>> + Unpin, Duration),
) -> Closed {
    let counters = connections.counters();
    let (mut patience, mut late) = (first, Closed::Silent);
    loop {
        let next = timeout_at(Instant::now() + patience, reader.next());
        let message = match next.await {
            Ok(Some(Ok(message))) => message,
            Ok(None | Some(Err(Error::ConnectionClosed))) => return Closed::ByPeer,
            Ok(Some(Err(Error::Capacity(_)))) => {
                counters.unframed(Unframed::TooLong);
                return Closed::Unframed;
            }
            Ok(Some(Err(_))) => return Closed::Broken,
            Err(_) => return late,
        };
        (patience, late) = (ALIVE, Closed::Unanswered);
        link.touch(connections.now_ms());
        let bytes = match message {
            Message::Text(text) => Bytes::from(text),
            Message::Binary(bytes) => bytes,
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => continue,
        };
        counters.received(link.transport, bytes.len());
        match bytes.as_ref() {
            b"\r\n\r\n" => {
                counters.ping();
                let _ = link.queue.push(b"\r\n");
            }
            b"\r\n" => {}
            _ => inbox.take(bytes).await,
        }
    }
}

/// The writing half.
struct Writing<'a, W> {
    connections: &'a Connections,
    link: &'a Link,
    writer: W,
    /// How long the other side may take nothing.
    stall: Duration,
    pings: Interval,
}

impl<W: Sink<Message> + Unpin> Writing<'_, W> {
    async fn run(&mut self) -> Closed {
        let mut batch = Batch::default();
        loop {
            let has_some = tokio::select! {
                has_some = self.link.queue.take(&mut batch) => has_some,
                _ = self.pings.tick() => {
                    if let Err(closed) = self.send([Message::Ping(Bytes::new())]).await {
                        return closed;
                    }
                    continue;
                }
            };
            if !has_some {
                return match self.link.queue.is_full() {
                    true => Closed::QueueFull,
                    false => Closed::Ending,
                };
            }
            if let Err(closed) = self.send(batch.messages().map(frame)).await {
                return closed;
            }
            let counters = self.connections.counters();
            counters.sent(self.link.transport, batch.ends.len(), batch.bytes.len());
            self.link.touch(self.connections.now_ms());
        }
    }

    /// Sends messages together; the other side must take each within the limit.
    async fn send(&mut self, messages: impl IntoIterator<Item = Message>) -> Result<(), Closed> {
        for message in messages {
            let fed = timeout(self.stall, self.writer.feed(message)).await;
            fed.map_err(|_| Closed::Stalled)?
                .map_err(|_| Closed::Broken)?;
        }
        let flushed = timeout(self.stall, self.writer.flush()).await;
        let flushed = flushed.map_err(|_| Closed::Stalled)?;
        flushed.map_err(|_| Closed::Broken)
    }
}

/// A message as text, or as binary where it is none (RFC 7118 §3).
fn frame(message: &[u8]) -> Message {
    match std::str::from_utf8(message) {
        Ok(text) => Message::text(text),
        Err(_) => Message::binary(message.to_vec()),
    }
}
