//! The API's listener: bounded connections, timed, drained at the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::auth::PeerAddress;

/// How many connections are open at once; further ones wait to be accepted.
pub const CONNECTION_LIMIT: usize = 8_192;
/// How long a client may take over a request's head, or stay idle between requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The most bytes of a request's head.
const HEAD_LIMIT_BYTES: usize = 32 * 1024;
/// How long requests under way may take when the server ends.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause after a connection could not be accepted (too many open files).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers connections until `ending` is true; then lets the requests under way finish.
pub async fn serve(listener: TcpListener, router: Router, mut ending: watch::Receiver<bool>) {
    let seats = Arc::new(Semaphore::new(CONNECTION_LIMIT));
    let mut connections = JoinSet::new();
    loop {
        let seat = tokio::select! {
            seat = seats.clone().acquire_owned() => seat,
            () = ended(&mut ending) => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ended(&mut ending) => break,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, peer)) => {
                let (router, ending) = (router.clone(), ending.clone());
                connections.spawn(async move {
                    answer(stream, peer, router, ending).await;
                    drop(seat);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the API cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, drained).await;
}

/// Answers the requests of one connection.
async fn answer(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    mut ending: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(PeerAddress(peer));
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_LIMIT_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = ended(&mut ending) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "a connection of the API ended early");
    }
}

/// Waits for the end of the server; its sender being gone is the end, too.
pub(super) async fn ended(ending: &mut watch::Receiver<bool>) {
    let _ = ending.wait_for(|ending| *ending).await;
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::{Body, Bytes};
    use axum::extract::Extension;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::task::JoinHandle;
    use tokio_stream::wrappers::ReceiverStream;

    use super::*;

    struct Running {
        address: SocketAddr,
        stop: watch::Sender<bool>,
        task: JoinHandle<()>,
    }

    /// Serves the address of who asks at `/`, and a stream that ends with the server at `/stream`.
    async fn start() -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, ending) = watch::channel(false);
        let told = ending.clone();
        let router = Router::new()
            .route(
                "/",
                get(
                    |Extension(PeerAddress(peer)): Extension<PeerAddress>| async move {
                        peer.ip().to_string()
                    },
                ),
            )
            .route("/stream", get(|| async move { stream(told.clone()) }));
        let task = tokio::spawn(serve(listener, router, ending));
        Running {
            address,
            stop,
            task,
        }
    }

    fn stream(mut ending: watch::Receiver<bool>) -> Body {
        let (sender, parts) = tokio::sync::mpsc::channel::<Result<Bytes, Infallible>>(1);
        tokio::spawn(async move {
            let _ = sender.send(Ok("begun".into())).await;
            ended(&mut ending).await;
        });
        Body::from_stream(ReceiverStream::new(parts))
    }

    impl Running {
        /// A connection on which `text` was sent, and what came back first.
        async fn say(&self, text: &str) -> (TcpStream, String) {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(text.as_bytes()).await.unwrap();
            let mut answer = vec![0; 4_096];
            let length = stream.read(&mut answer).await.unwrap();
            answer.truncate(length);
            (stream, String::from_utf8(answer).unwrap())
        }
    }

    #[tokio::test]
    async fn a_handler_knows_who_asks() {
        let running = start().await;
        let (_, answer) = running.say("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert!(answer.ends_with("127.0.0.1"), "{answer}");
    }

    #[tokio::test]
    async fn what_is_no_http_is_refused_and_disturbs_nobody() {
        let running = start().await;
        let (_, answer) = running.say("INVITE sip:a@b SIP/2.0\r\n\r\n").await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
            "{answer}"
        );
        let long = format!(
            "GET / HTTP/1.1\r\nx: {}\r\n\r\n",
            "y".repeat(2 * HEAD_LIMIT_BYTES)
        );
        let (_, answer) = running.say(&long).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
        let (_, answer) = running.say("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    }

    #[tokio::test]
    async fn the_end_waits_neither_for_idle_connections_nor_for_streams() {
        let running = start().await;
        let (_idle, _) = running.say("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let (mut open, begun) = running.say("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(begun.contains("200 OK"), "{begun}");
        running.stop.send(true).unwrap();
        tokio::time::timeout(DRAIN_TIMEOUT / 2, running.task)
            .await
            .expect("the listener ends at once")
            .unwrap();
        let mut rest = String::new();
        open.read_to_string(&mut rest).await.unwrap();
        assert!(
            rest.ends_with("0\r\n\r\n"),
            "the stream has its end: {rest}"
        );
        assert!(TcpStream::connect(running.address).await.is_err());
    }
}
