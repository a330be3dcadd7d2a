//! The event stream: what changes is told to whoever listens, as server-sent events.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::body::Bytes;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::broadcast;
use utoipa::ToSchema;

use super::colleagues::mask;
use crate::presence::{Level, Profile};

/// How many events are kept for listeners that are behind or come back.
pub const BACKLOG: usize = 1_024;
/// How many listeners there may be at once.
pub const LISTENER_LIMIT: usize = 4_096;

/// The kinds of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A subscriber's status, its message or its end changed, or a call began or ended.
    Status,
    /// A call began to ring, was answered, was decided otherwise, or ended.
    Call,
    /// A system that calls are sent to went up or down.
    Peer,
    /// A subscriber's document changed in what no `status` tells: settings, exceptions, layers
    /// beneath the status in force.
    Document,
}

/// Something that changed.
#[derive(Debug)]
pub struct Event {
    /// Grows by one with each event.
    pub number: u64,
    /// What it is about.
    pub kind: EventKind,
    /// The subscribers it is about; a subscriber's own stream has only calls that name them.
    pub subscribers: Vec<String>,
    /// The JSON document.
    pub document: Value,
    /// The subscriber before, where that says who must hear that they see nothing any more.
    pub regrouped: Option<Arc<Profile>>,
    /// The name on the wire.
    id: String,
    /// As it is sent to those who see everything, to those of each level, and to those who see
    /// nothing any more.
    frames: [OnceLock<Option<Bytes>>; 5],
}

impl Event {
    /// As it is sent to those who see so much of whom it is about; everything with `None`. Written
    /// once, and shared by all. Who sees nothing is told just that.
    pub(super) fn frame(&self, level: Option<Level>) -> Option<Bytes> {
        let place = match level {
            None => 0,
            Some(Level::None) => 4,
            Some(Level::FreeBusy) => 1,
            Some(Level::Status) => 2,
            Some(Level::Full) => 3,
        };
        let written = self.frames.get(place)?.get_or_init(|| {
            let seen = match level {
                None => self.document.to_string(),
                Some(Level::None) => {
                    json!({"id": self.subscribers.first()?, "shows": Level::None.name()})
                        .to_string()
                }
                Some(level) => mask(self.document.clone(), level)?.to_string(),
            };
            let (kind, id) = (self.kind.name(), &self.id);
            Some(format!("event: {kind}\nid: {id}\ndata: {seen}\n\n").into())
        });
        written.clone()
    }
}

impl EventKind {
    /// The name on the wire.
    const fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Call => "call",
            Self::Peer => "peer",
            Self::Document => "document",
        }
    }
}

/// Passes events to every listener; never waits for one.
pub struct Events {
    /// Tells the events of this run from those of another.
    epoch: String,
    sender: broadcast::Sender<Heard>,
    recent: Mutex<Recent>,
    listeners: AtomicUsize,
}

#[derive(Default)]
struct Recent {
    next: u64,
    events: VecDeque<Arc<Event>>,
}

impl Events {
    /// A stream whose events are named after `epoch`, which must differ from run to run.
    pub fn new(epoch: impl Into<String>) -> Self {
        Self {
            epoch: epoch.into(),
            sender: broadcast::Sender::new(BACKLOG),
            recent: Mutex::default(),
            listeners: AtomicUsize::new(0),
        }
    }

    /// Tells all listeners; the oldest event kept is forgotten.
    pub fn publish(&self, kind: EventKind, subscribers: Vec<String>, document: Value) {
        self.publish_regrouped(kind, subscribers, document, None);
    }

    /// The same of a subscriber whom others saw before.
    pub fn publish_regrouped(
        &self,
        kind: EventKind,
        subscribers: Vec<String>,
        document: Value,
        regrouped: Option<Arc<Profile>>,
    ) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let event = Arc::new(Event {
            number: recent.next,
            kind,
            subscribers,
            document,
            regrouped,
            id: format!("{}-{}", self.epoch, recent.next),
            frames: Default::default(),
        });
        recent.next += 1;
        if recent.events.len() == BACKLOG {
            recent.events.pop_front();
        }
        recent.events.push_back(event.clone());
        // Sent under the lock, so that numbers grow in the order of the stream.
        let _ = self.sender.send(Heard::Event(event));
    }

    /// Leaves a gap: for a while nobody took note of what happened. Listeners are told, and who
    /// comes back later as well.
    pub fn skip(&self) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.next += 1;
        recent.events.clear();
        let _ = self.sender.send(Heard::Gap(Gap { missed: None }));
    }

    /// Listens from now on, or from the event after `last` (a `Last-Event-ID`).
    /// `None` where there are too many listeners.
    pub fn listen(self: &Arc<Self>, last: Option<&str>) -> Option<Listener> {
        let seat = Seat::take(self)?;
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let receiver = self.sender.subscribe();
        let (waiting, gap) = match last {
            None => (VecDeque::new(), None),
            Some(last) => self.since(last, &recent),
        };
        Some(Listener {
            seat,
            receiver,
            waiting,
            gap,
        })
    }

    /// How many listen.
    pub fn listeners(&self) -> usize {
        self.listeners.load(Relaxed)
    }

    fn since(&self, last: &str, recent: &Recent) -> (VecDeque<Arc<Event>>, Option<Gap>) {
        let number = last
            .rsplit_once('-')
            .filter(|(epoch, _)| *epoch == self.epoch)
            .and_then(|(_, number)| number.parse::<u64>().ok());
        let Some(number) = number else {
            return (VecDeque::new(), Some(Gap { missed: None }));
        };
        let newer = recent.events.iter().filter(|event| event.number > number);
        let waiting: VecDeque<_> = newer.cloned().collect();
        let oldest = waiting.front().map_or(recent.next, |event| event.number);
        let missed = oldest.saturating_sub(number.saturating_add(1));
        let gap = (missed > 0).then_some(Gap {
            missed: Some(missed),
        });
        (waiting, gap)
    }
}

/// Events that a listener did not get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Gap {
    /// How many; absent where nobody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed: Option<u64>,
}

/// What a listener gets next.
#[derive(Debug, Clone)]
pub enum Heard {
    /// An event.
    Event(Arc<Event>),
    /// Some were lost: what is shown should be read again.
    Gap(Gap),
}

/// One listener's end.
pub struct Listener {
    #[expect(dead_code, reason = "held for its drop")]
    seat: Seat,
    receiver: broadcast::Receiver<Heard>,
    waiting: VecDeque<Arc<Event>>,
    gap: Option<Gap>,
}

impl Listener {
    /// Waits for the next; `None` at the end of the stream. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Heard> {
        if let Some(gap) = self.gap.take() {
            return Some(Heard::Gap(gap));
        }
        if let Some(event) = self.waiting.pop_front() {
            return Some(Heard::Event(event));
        }
        match self.receiver.recv().await {
            Ok(heard) => Some(heard),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Heard::Gap(Gap {
                missed: Some(missed),
            })),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

/// A listener's place among [`LISTENER_LIMIT`].
struct Seat(Arc<Events>);

impl Seat {
    fn take(events: &Arc<Events>) -> Option<Self> {
        events
            .listeners
            .fetch_update(Relaxed, Relaxed, |taken| {
                (taken < LISTENER_LIMIT).then_some(taken + 1)
            })
            .ok()
            .map(|_| Self(events.clone()))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.listeners.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn publish(events: &Events, count: u64) {
        for n in 0..count {
            events.publish(EventKind::Status, vec!["anna".into()], json!({ "n": n }));
        }
    }

    async fn number(listener: &mut Listener) -> u64 {
        match listener.next().await {
            Some(Heard::Event(event)) => event.number,
            other => panic!("{other:?}"),
        }
    }

    async fn gap(listener: &mut Listener) -> Option<u64> {
        match listener.next().await {
            Some(Heard::Gap(gap)) => gap.missed,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_listener_hears_what_comes_after_it() {
        let events = Arc::new(Events::new("a"));
        publish(&events, 2);
        let mut listener = events.listen(None).unwrap();
        publish(&events, 1);
        assert_eq!(number(&mut listener).await, 2);
    }

    #[tokio::test]
    async fn a_slow_listener_is_told_how_many_it_missed() {
        let events = Arc::new(Events::new("a"));
        let mut listener = events.listen(None).unwrap();
        publish(&events, BACKLOG as u64 + 10);
        assert_eq!(gap(&mut listener).await, Some(10));
        assert_eq!(number(&mut listener).await, 10);
    }

    #[tokio::test]
    async fn a_listener_that_comes_back_hears_what_it_missed() {
        let events = Arc::new(Events::new("a"));
        publish(&events, 5);
        let mut listener = events.listen(Some("a-2")).unwrap();
        assert_eq!(number(&mut listener).await, 3);
        assert_eq!(number(&mut listener).await, 4);
        publish(&events, 1);
        assert_eq!(number(&mut listener).await, 5);
    }

    #[tokio::test]
    async fn what_is_forgotten_or_of_another_run_is_a_gap() {
        let events = Arc::new(Events::new("a"));
        publish(&events, BACKLOG as u64 + 5);
        let mut late = events.listen(Some("a-0")).unwrap();
        assert_eq!(gap(&mut late).await, Some(4));
        assert_eq!(number(&mut late).await, 5);
        let mut other_run = events.listen(Some("b-3")).unwrap();
        assert_eq!(gap(&mut other_run).await, None);
    }

    #[tokio::test]
    async fn a_pause_in_the_stream_is_a_gap_for_who_comes_back() {
        let events = Arc::new(Events::new("a"));
        publish(&events, 3);
        let mut listening = events.listen(None).unwrap();
        events.skip();
        publish(&events, 1);
        assert_eq!(gap(&mut listening).await, None);
        assert_eq!(number(&mut listening).await, 4);
        let mut listener = events.listen(Some("a-2")).unwrap();
        assert_eq!(gap(&mut listener).await, Some(1));
        assert_eq!(number(&mut listener).await, 4);
    }

    #[tokio::test]
    async fn an_event_is_written_once_for_all_who_see_as_much() {
        let events = Arc::new(Events::new("a"));
        let mut listener = events.listen(None).unwrap();
        let document = json!({"id": "anna", "status": "away", "effective_status": "away",
                              "message": "Lunch", "calls": 0});
        events.publish(EventKind::Status, vec!["anna".into()], document);
        let Some(Heard::Event(event)) = listener.next().await else {
            panic!("nothing is heard");
        };
        let whole = event.frame(None).unwrap();
        assert!(whole.starts_with(b"event: status\nid: a-0\ndata: {"));
        assert!(whole.ends_with(b"}\n\n"));
        let text = |level| String::from_utf8(event.frame(Some(level)).unwrap().to_vec()).unwrap();
        assert!(text(Level::Full).contains("Lunch"));
        assert!(!text(Level::Status).contains("Lunch"));
        assert!(!text(Level::FreeBusy).contains("away"));
        let nothing = r#"{"id":"anna","shows":"none"}"#;
        assert!(text(Level::None).contains(nothing), "{}", text(Level::None));
        let again = event.frame(Some(Level::Full)).unwrap();
        assert_eq!(
            again.as_ptr(),
            event.frame(Some(Level::Full)).unwrap().as_ptr()
        );
    }

    #[test]
    fn listeners_are_limited_and_leave_their_seats() {
        let events = Arc::new(Events::new("a"));
        let seats: Vec<_> = (0..LISTENER_LIMIT)
            .map(|_| events.listen(None).unwrap())
            .collect();
        assert!(events.listen(None).is_none());
        drop(seats);
        assert_eq!(events.listeners(), 0);
        assert!(events.listen(None).is_some());
    }
}
