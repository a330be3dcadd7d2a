//! What the shards and the roster tell becomes what listeners hear.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::calls::{Call, instant};
use super::document::StatusDocument;
use super::events::EventKind;
use super::serve::ended;
use super::state::ApiState;
use crate::call::CallRecord;
use crate::presence::{Profile, StatusChanged};
use crate::proxy::{CallEvent, Standing};

/// How often traces are collected and the readers are counted.
const TICK: Duration = Duration::from_secs(1);
/// After so many ticks without a reader the shards stop telling of calls.
const IDLE_TICKS: u32 = 60;

/// Passes on what happens until `ending` is true.
pub async fn run(state: ApiState, mut ending: watch::Receiver<bool>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut changes = state.roster().events();
    let mut idle_ticks = 0;
    loop {
        tokio::select! {
            () = state.shared().event_queued.notified() => {
                tell_calls(&state);
                tell_peers(&state);
            }
            change = changes.recv() => match change {
                Ok(changed) => tell_changed(&state, changed),
                Err(RecvError::Lagged(_)) => state.events().skip(),
                Err(RecvError::Closed) => return,
            },
            _ = ticks.tick() => {
                state.collect_traces();
                idle_ticks = count_readers(&state, idle_ticks);
                tell_calls(&state);
                tell_peers(&state);
            }
            () = ended(&mut ending) => return,
        }
    }
}

/// Tells the shards whether anybody wants to hear of calls; hands back for how long nobody did.
fn count_readers(state: &ApiState, idle_ticks: u32) -> u32 {
    let watchers = &state.shared().watchers;
    if state.events().listeners() > 0 {
        watchers.store(1, Relaxed);
        return 0;
    }
    if idle_ticks == IDLE_TICKS {
        watchers.store(0, Relaxed);
        state.events().skip();
        // Who sat down between the two lines above counts.
        watchers.store(usize::from(state.events().listeners() > 0), Relaxed);
    }
    idle_ticks.saturating_add(1)
}

/// Publishes the calls that the shards told of.
fn tell_calls(state: &ApiState) {
    for shard in &state.shared().shards {
        for _ in 0..shard.events.capacity() {
            let Some(event) = shard.events.pop() else {
                break;
            };
            tell_call(state, &event);
        }
    }
}

/// Publishes which systems went up or down.
fn tell_peers(state: &ApiState) {
    let changes = &state.shared().health.changes;
    for _ in 0..changes.capacity() {
        let Some(change) = changes.pop() else {
            return;
        };
        let is_up = change.standing == Standing::Up;
        let document = json!({
            "name": &*change.name,
            "transport": change.target.0.param(),
            "address": change.target.1.to_string(),
            "state": if is_up { "up" } else { "down" },
            "status": Some(change.status).filter(|status| *status > 0),
            "at": instant(change.at_unix_ms).to_string(),
        });
        state
            .events()
            .publish(EventKind::Peer, Vec::new(), document);
    }
}

fn tell_call(state: &ApiState, event: &CallEvent) {
    let Some(record) = CallRecord::decode(&event.record) else {
        return;
    };
    let mut document = serde_json::to_value(Call::of(&record)).unwrap_or_default();
    if let Some(map) = document.as_object_mut() {
        let what = if event.is_open { "began" } else { "ended" };
        map.insert("state".to_owned(), what.into());
        map.insert("at".to_owned(), state.now().to_string().into());
    }
    let parties = [record.caller, record.callee, record.first_called];
    let named = parties.into_iter().filter(|party| !party.is_empty());
    let subscribers = named
        .map(|id| String::from_utf8_lossy(id).into_owned())
        .collect();
    state
        .events()
        .publish(EventKind::Call, subscribers, document);
    for id in [record.caller, record.callee] {
        tell_status_of(state, &String::from_utf8_lossy(id));
    }
}

/// Publishes what a change of a document means, if anybody listens: to all what they see, to the
/// subscriber what only they see.
fn tell_changed(state: &ApiState, changed: StatusChanged) {
    if changed.is_shown {
        publish_status_of(state, &changed.id, changed.regrouped);
    }
    if changed.is_inward && state.shared().watchers.load(Relaxed) > 0 {
        let at = state.now().to_string();
        let document = json!({"id": changed.id, "version": changed.version, "at": at});
        let whose = vec![changed.id];
        state.events().publish(EventKind::Document, whose, document);
    }
}

/// Publishes how a subscriber is now, if anybody listens.
fn tell_status_of(state: &ApiState, id: &str) {
    publish_status_of(state, id, None);
}

fn publish_status_of(state: &ApiState, id: &str, regrouped: Option<Arc<Profile>>) {
    if id.is_empty() || state.shared().watchers.load(Relaxed) == 0 {
        return;
    }
    if let Some(profile) = state.directory().get(id) {
        let status = StatusDocument::of(state, &profile, false);
        let document = serde_json::to_value(&status).unwrap_or_default();
        publish_status(state, status.id, document, regrouped);
    }
}

/// Publishes that a subscriber is gone.
pub(super) fn tell_deleted(state: &ApiState, id: &str) {
    if state.shared().watchers.load(Relaxed) == 0 {
        return;
    }
    let document = json!({ "id": id, "deleted": true });
    publish_status(state, id.to_owned(), document, None);
}

fn publish_status(
    state: &ApiState,
    id: String,
    mut document: Value,
    regrouped: Option<Arc<Profile>>,
) {
    if let Some(map) = document.as_object_mut() {
        map.insert("at".to_owned(), state.now().to_string().into());
    }
    state
        .events()
        .publish_regrouped(EventKind::Status, vec![id], document, regrouped);
}
