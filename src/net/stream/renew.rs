//! Certificates that change while the server runs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::connections::Connections;
use super::tls::Tls;
use crate::config::Config;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// What tells that files changed: when each was written, and how long it is.
type Mark = BTreeMap<PathBuf, Option<(SystemTime, u64)>>;

/// Puts new certificates in force until the server ends. One that cannot be used is told of once,
/// and the old one stays.
pub(super) async fn watch(connections: Arc<Connections>) {
    let mut ending = connections.ending();
    let mut seen = mark(connections.config().load_full()).await;
    loop {
        tokio::select! {
            () = sleep(LOOK) => {}
            _ = ending.wait_for(|ending| *ending) => return,
        }
        let config = connections.config().load_full();
        let found = mark(Arc::clone(&config)).await;
        // Files are often written one after the other: what is in flux is left alone for once.
        if found != seen {
            seen = found;
            sleep(LOOK / 4).await;
            let settled = mark(Arc::clone(&config)).await;
            if settled == seen {
                renew(&connections, config).await;
            } else {
                seen = Mark::new();
            }
        }
    }
}

async fn mark(config: Arc<Config>) -> Mark {
    spawn_blocking(move || mark_of(&config))
        .await
        .unwrap_or_default()
}

fn mark_of(config: &Config) -> Mark {
    let tls = &config.tls;
    let files = [
        &tls.certificate,
        &tls.private_key,
        &tls.client_ca,
        &tls.server_ca,
        &tls.client_certificate,
        &tls.client_key,
    ];
    let look = |path: &PathBuf| {
        let found = std::fs::metadata(path).ok();
        found.and_then(|found| Some((found.modified().ok()?, found.len())))
    };
    let files = files.into_iter().flatten();
    files.map(|path| (path.clone(), look(path))).collect()
}

async fn renew(connections: &Arc<Connections>, config: Arc<Config>) {
    let now_unix_s = connections.now_unix_s();
    let loaded = spawn_blocking(move || Tls::load(&config, now_unix_s)).await;
    match loaded {
        Ok(Ok(tls)) => {
            tracing::info!("the certificates changed and are in force");
            connections.put_tls(tls);
        }
        Ok(Err(errors)) => {
            for fault in &errors.0 {
                tracing::error!(%fault, "the certificates changed and cannot be used; those of before stay");
            }
        }
        Err(error) => tracing::error!(%error, "the certificates cannot be read"),
    }
}
