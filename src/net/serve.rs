//! A whole run of the server: start, ready, reload on SIGHUP, drain on SIGTERM, end.

use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::log::start_logging;
use super::priority;
use super::server::{Reader, Server, StartError};

/// How often it is looked whether calls are over, or a shard has failed.
const LOOK: Duration = Duration::from_millis(200);
/// Threads that serve the API.
const API_THREADS: usize = 2;

/// The API while it is served.
pub struct RunningApi {
    /// Where.
    pub address: SocketAddr,
    /// Ends soon after `ending` became true.
    pub task: JoinHandle<()>,
}

/// Serves until SIGTERM or SIGINT. `start_api` is given the server and what tells the end; it
/// listens on `api.listen`. A line that begins with `READY` goes to standard output as soon as
/// calls and requests are answered.
///
/// # Errors
/// Something cannot be started, or a shard failed.
pub fn serve<A, F>(read: Reader, start_api: A) -> Result<(), StartError>
where
    A: FnOnce(Arc<Server>, watch::Receiver<bool>) -> F,
    F: Future<Output = io::Result<RunningApi>>,
{
    let config = read().map_err(StartError::Config)?;
    let logging = start_logging(&config.log).map_err(StartError::Logging)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(API_THREADS)
        .thread_name("api")
        .on_thread_start(priority::stand_back)
        .enable_all()
        .build()
        .map_err(StartError::Thread)?;
    let api_address = config.api.listen;
    // Signals are caught from here on, so that one that comes during the start is not lost.
    let entered = runtime.enter();
    let mut signals = Signals::new().map_err(StartError::Thread)?;
    drop(entered);
    let server = Arc::new(Server::start(config, read)?);
    server.on_reload(move |config| logging.set_level(&config.log.level));
    let result = runtime.block_on(async {
        let (ending, told) = watch::channel(false);
        let failed = |source| StartError::Api {
            address: api_address,
            source,
        };
        let api = start_api(Arc::clone(&server), told).await.map_err(failed)?;
        take_small_pages();
        say(&ready_line(&server, api.address));
        tracing::info!(listeners = listeners(&server), api = %api.address, "ready");
        let result = signals.serve_until_end(&server).await;
        ending.send_replace(true);
        tokio::select! {
            _ = api.task => {}
            () = signals.end() => {}
        }
        result
    });
    runtime.shutdown_timeout(LOOK);
    tracing::info!("ended");
    result
}

/// What the directory was loaded into may be huge pages (2 MB), of which reading is faster. What calls
/// take from now on shall not be: the kernel clears a page when it is first touched, in the middle of
/// some call, and where a virtual machine has given free memory back, its host does so as well, for
/// milliseconds.
fn take_small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "the kernel may use huge pages for what calls take");
    }
}

/// The line that tells scripts that the server is ready:
/// `READY sip=udp:127.0.0.1:5060,udp:[::1]:5060 api=http://127.0.0.1:8080`.
fn ready_line(server: &Server, api: SocketAddr) -> String {
    format!("READY sip={} api=http://{api}", listeners(server))
}

/// Writes a line to standard output; that nobody reads it is no fault.
fn say(line: &str) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

fn listeners(server: &Server) -> String {
    let listeners = server.listeners().into_iter();
    let listeners: Vec<_> = listeners
        .map(|(transport, address)| format!("{}:{address}", transport.param()))
        .collect();
    listeners.join(",")
}

/// The signals a server listens to.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn serve_until_end(&mut self, server: &Arc<Server>) -> Result<(), StartError> {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => break,
                _ = self.interrupt.recv() => break,
                _ = self.hangup.recv() => reload(server).await,
                () = sleep(LOOK) => {}
            }
            if server.has_failed() {
                return Err(StartError::ShardFailed);
            }
        }
        let grace = Duration::from_secs(server.config().shutdown.grace_s.into());
        tokio::select! {
            () = drain(server, grace) => {}
            () = self.end() => tracing::warn!(calls = server.calls_open(), "ending at once"),
        }
        Ok(())
    }

    /// SIGTERM or SIGINT.
    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn reload(server: &Arc<Server>) {
    let server = Arc::clone(server);
    let reloaded = tokio::task::spawn_blocking(move || server.reload()).await;
    match reloaded {
        Ok(Ok(reloaded)) if reloaded.needs_restart.is_empty() => {
            tracing::info!("the configuration was reloaded");
        }
        Ok(Ok(reloaded)) => {
            let keys = reloaded.needs_restart.join(", ");
            tracing::warn!(
                keys,
                "the configuration was reloaded; these keys need a restart"
            );
        }
        Ok(Err(errors)) => {
            for fault in &errors.0 {
                tracing::error!(%fault, "not reloaded, the running configuration stays");
            }
        }
        Err(error) => tracing::error!(%error, "not reloaded"),
    }
}

/// Refuses new calls, and waits until the open ones are over or the grace ends.
async fn drain(server: &Server, grace: Duration) {
    server.begin_drain();
    let deadline = Instant::now() + grace;
    tracing::info!(
        grace_s = grace.as_secs(),
        "ending: new calls are answered 503"
    );
    let over = async {
        loop {
            // The shards show what is being set up after their next batch, so look afterwards.
            sleep(LOOK).await;
            if server.calls_open() == 0 {
                return;
            }
        }
    };
    tokio::select! {
        () = over => {}
        () = sleep_until(deadline) => {
            let calls = server.calls_open();
            if calls > 0 {
                tracing::warn!(calls, "the grace is over before these calls are");
            }
        }
    }
}
