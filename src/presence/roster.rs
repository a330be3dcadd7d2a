//! The roster: every change of a subscriber goes through here, one writer for all.
//!
//! Whatever waits is checked, written to the store as one batch, and only then shown to readers
//! and answered: what has been acknowledged is on disk.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::change::{Change, ChangeError, Changed, StatusChanged};
use super::directory::Directory;
use super::house::HouseRules;

use super::numbers::NumberPlan;
use super::readings::{Reading, Readings};
use super::stored::{self, LoadError};
use super::writer::Writer;
use crate::auth::Hashing;
use crate::store::Store;

/// How many changes, or groups of an import, may wait.
const QUEUE: usize = 4096;
/// How many changes of an import travel and are written together.
const GROUP: usize = 1000;
/// How many such groups of one import are under way at once.
const GROUPS: usize = 4;
/// How many events a slow listener may lag behind.
const EVENTS: usize = 16_384;

/// Tells the time; the roster does not read a clock of its own.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

type Answers = Vec<Result<Changed, ChangeError>>;

/// Where subscribers are changed. Dropping it ends the writer after what is waiting.
pub struct Roster {
    jobs: Option<mpsc::Sender<Job>>,
    events: broadcast::Sender<StatusChanged>,
    pub(super) directory: Arc<Directory>,
    pub(super) plan: NumberPlan,
    pub(super) clock: Clock,
    pub(super) hashing: Arc<ArcSwap<Hashing>>,
    pub(super) house: Arc<ArcSwap<HouseRules>>,
    readings: Box<Readings>,
    thread: Option<JoinHandle<()>>,
}

/// Changes that are answered together.
pub(super) struct Job {
    pub(super) changes: Vec<Change>,
    pub(super) answer: oneshot::Sender<Answers>,
}

/// Some changes of an import on their way: an error for each that was refused at once.
struct Group {
    refused: Vec<Option<ChangeError>>,
    answered: oneshot::Receiver<Answers>,
}

impl Roster {
    /// Loads the store into the directory and starts the writer.
    ///
    /// # Errors
    /// When the store cannot be read or holds a document that cannot be.
    pub fn start(
        store: Arc<dyn Store>,
        directory: Arc<Directory>,
        plan: NumberPlan,
        clock: Clock,
    ) -> Result<Self, LoadError> {
        Self::start_under(HouseRules::default(), store, (directory, plan), clock)
    }

    /// The same where the administrator has laid down something.
    ///
    /// # Errors
    /// As [`Roster::start`].
    pub fn start_under(
        house: HouseRules,
        store: Arc<dyn Store>,
        (directory, plan): (Arc<Directory>, NumberPlan),
        clock: Clock,
    ) -> Result<Self, LoadError> {
        let now_unix_s = clock().as_second();
        let version = stored::load(&*store, &directory, (&plan, &house), now_unix_s)?;
        let house = Arc::new(ArcSwap::from_pointee(house));
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (events, _) = broadcast::channel(EVENTS);
        let hashing = Arc::new(ArcSwap::from_pointee(Hashing::default()));
        let writer = Writer {
            store,
            directory: Arc::clone(&directory),
            plan: plan.clone(),
            clock: Arc::clone(&clock),
            house: Arc::clone(&house),
            events: events.clone(),
            version,
        };
        let thread = thread::Builder::new()
            .name("roster".to_owned())
            .spawn(move || writer.run(queue))
            .map_err(LoadError::Thread)?;
        Ok(Self {
            jobs: Some(jobs),
            events,
            directory,
            plan,
            clock,
            hashing,
            house,
            readings: Box::default(),
            thread: Some(thread),
        })
    }

    /// How passwords become digests from now on; those that are kept stay as they are.
    pub fn set_hashing(&self, hashing: Hashing) {
        self.hashing.store(Arc::new(hashing));
    }

    /// How passwords become digests.
    pub fn hashing(&self) -> Arc<Hashing> {
        self.hashing.load_full()
    }

    /// What the administrator lays down.
    pub fn house(&self) -> Arc<HouseRules> {
        self.house.load_full()
    }

    /// The administrator lays down something else from now on. Whoever it concerns is read anew;
    /// no document changes.
    pub async fn set_house(&self, house: HouseRules) {
        let before = self.house.swap(Arc::new(house));
        let after = self.house.load_full();
        if *before == *after {
            return;
        }
        let concerned = self
            .directory
            .profiles()
            .filter(|profile| after.concern(&before, profile));
        let changes = concerned.map(|profile| Change::Restate {
            id: profile.id().to_owned(),
        });
        self.change_many(changes.collect()).await;
    }

    /// Makes one change; durable on return.
    ///
    /// # Errors
    /// Nothing has changed; the error says why.
    pub async fn change(&self, change: Change) -> Result<Changed, ChangeError> {
        let change = self.check(change)?;
        let (answer, answered) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or(ChangeError::Busy)?;
        jobs.try_send(Job {
            changes: vec![change],
            answer,
        })
        .map_err(|_| ChangeError::Busy)?;
        let answers = answered.await.map_err(|_| writer_gone())?;
        answers
            .into_iter()
            .next()
            .unwrap_or_else(|| Err(writer_gone()))
    }

    /// Makes many changes, each for itself: one that fails keeps no other from happening. Waits
    /// for room in the queue. The answers are in the order of the changes.
    pub async fn change_many(&self, changes: Vec<Change>) -> Vec<Result<Changed, ChangeError>> {
        let mut answers = Vec::with_capacity(changes.len());
        let mut changes = changes.into_iter().peekable();
        let mut under_way = VecDeque::with_capacity(GROUPS);
        while changes.peek().is_some() || !under_way.is_empty() {
            if under_way.len() < GROUPS && changes.peek().is_some() {
                under_way.push_back(self.send_group(changes.by_ref().take(GROUP)).await);
            } else if let Some(group) = under_way.pop_front() {
                answers.extend(group.answers().await);
            }
        }
        answers
    }

    /// Every change of a status from now on.
    pub fn events(&self) -> broadcast::Receiver<StatusChanged> {
        self.events.subscribe()
    }

    /// How calendars were read the last time.
    pub fn readings(&self) -> &Readings {
        &self.readings
    }

    /// Notes how a subscriber's calendars were read, and tells it where it is something new.
    pub fn note_readings(&self, id: &str, readings: Vec<Reading>) {
        let is_news = self.readings.note(id, readings);
        let Some(profile) = self.directory.get(id).filter(|_| is_news) else {
            return;
        };
        let changed = StatusChanged {
            is_shown: false,
            is_inward: true,
            ..StatusChanged::of(&profile, (self.clock)().as_second(), false)
        };
        self.events.send(changed).ok();
    }

    /// Drops every status whose time is over; how many there were. To be called about once a
    /// second; decisions honour `until` by themselves.
    pub async fn expire(&self) -> usize {
        let now = (self.clock)().as_second();
        let expired = self.directory.due(now);
        let ids = expired.iter().filter_map(|handle| {
            let profile = self.directory.profile(*handle)?;
            Some(Change::Expire {
                id: profile.id().to_owned(),
            })
        });
        let answers = self.change_many(ids.collect()).await;
        answers
            .iter()
            .flatten()
            .filter(|changed| changed.is_new)
            .count()
    }

    /// Checks and sends some changes while the writer is at work on others.
    async fn send_group(&self, changes: impl Iterator<Item = Change>) -> Group {
        let mut refused = Vec::new();
        let mut valid = Vec::new();
        for change in changes {
            match self.check(change) {
                Ok(change) => {
                    valid.push(change);
                    refused.push(None);
                }
                Err(error) => refused.push(Some(error)),
            }
        }
        let (answer, answered) = oneshot::channel();
        if let Some(jobs) = self.jobs.as_ref() {
            let job = Job {
                changes: valid,
                answer,
            };
            jobs.send(job).await.ok();
        }
        Group { refused, answered }
    }
}

impl Group {
    /// Waits for the writer. What was refused before has its answer in its place.
    async fn answers(self) -> Answers {
        let mut answered = self.answered.await.unwrap_or_default().into_iter();
        let answer = |refused: Option<ChangeError>| match refused {
            Some(error) => Err(error),
            None => answered.next().unwrap_or_else(|| Err(writer_gone())),
        };
        self.refused.into_iter().map(answer).collect()
    }
}

impl Drop for Roster {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn writer_gone() -> ChangeError {
    ChangeError::Store("the writer has ended".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

    use serde_json::{Value, json};

    use super::*;
    use crate::presence::{Conflict, Language, Source, Status, StatusSettings, Subscriber};
    use crate::store::{self, Memory, StoreError, Write};

    /// A store in memory that can be told to fail, and counts its writes.
    struct Fickle {
        memory: Memory,
        fails: AtomicBool,
        writes: AtomicUsize,
    }

    impl Store for Fickle {
        fn load(&self, each: &mut dyn FnMut(&str, &[u8])) -> Result<(), StoreError> {
            self.memory.load(each)
        }
        fn write(&self, batch: &[Write]) -> Result<(), StoreError> {
            if self.fails.load(Ordering::Relaxed) {
                return Err(StoreError::Taken("disk"));
            }
            self.writes.fetch_add(batch.len(), Ordering::Relaxed);
            self.memory.write(batch)
        }
        fn secret(&self) -> [u8; 32] {
            self.memory.secret()
        }
        fn open_calls(
            &self,
            shards: usize,
            shard_of: &dyn Fn(&[u8]) -> usize,
        ) -> Result<Vec<Box<dyn store::OpenCalls>>, StoreError> {
            self.memory.open_calls(shards, shard_of)
        }
        fn read_calls(&self, each: &mut dyn FnMut(&[u8])) {
            self.memory.read_calls(each);
        }
        fn records(&self, kind: store::Records) -> Result<Box<dyn store::SlotRecords>, StoreError> {
            self.memory.records(kind)
        }
        fn journals(&self, shards: usize) -> Result<Vec<Box<dyn store::Journal>>, StoreError> {
            self.memory.journals(shards)
        }
        fn erase_journal(&self, subscriber: u64) -> Result<u64, StoreError> {
            self.memory.erase_journal(subscriber)
        }
        fn read_journal(
            &self,
            subscriber: u64,
            before: Option<store::Position>,
            limit: usize,
        ) -> Result<Vec<(store::Position, Vec<u8>)>, StoreError> {
            self.memory.read_journal(subscriber, before, limit)
        }
        fn maintain(&self, now_unix_s: i64) -> Result<(), StoreError> {
            self.memory.maintain(now_unix_s)
        }
        fn losses(&self) -> store::Losses {
            self.memory.losses()
        }
    }

    struct House {
        store: Arc<Fickle>,
        directory: Arc<Directory>,
        roster: Roster,
        now: Arc<AtomicI64>,
    }

    impl House {
        fn new() -> Self {
            let memory = Memory::new([0; 32]);
            let (fails, writes) = (AtomicBool::new(false), AtomicUsize::new(0));
            Self::over(Arc::new(Fickle {
                memory,
                fails,
                writes,
            }))
        }

        fn over(store: Arc<Fickle>) -> Self {
            let directory = Arc::new(Directory::new(1));
            let plan = NumberPlan::for_region("DE").unwrap();
            let now = Arc::new(AtomicI64::new(1_000));
            let told = Arc::clone(&now);
            let clock: Clock =
                Arc::new(move || Timestamp::from_second(told.load(Ordering::Relaxed)).unwrap());
            let shared: Arc<dyn Store> = Arc::clone(&store) as _;
            let roster = Roster::start(shared, Arc::clone(&directory), plan, clock).unwrap();
            Self {
                store,
                directory,
                roster,
                now,
            }
        }

        fn restarted(self) -> Self {
            let store = Arc::clone(&self.store);
            drop(self);
            Self::over(store)
        }

        async fn put(&self, document: Value) -> Result<Changed, ChangeError> {
            self.roster.change(put(document)).await
        }

        async fn set(&self, id: &str, status: Status) -> Result<Changed, ChangeError> {
            self.roster.change(set(id, status, None)).await
        }
    }

    fn put(document: Value) -> Change {
        let subscriber = Box::new(Subscriber::from_json(&document).unwrap());
        Change::Put {
            subscriber,
            if_version: None,
            source: Source::Api,
        }
    }

    fn set(id: &str, status: Status, until: Option<i64>) -> Change {
        Change::SetStatus {
            id: id.into(),
            status,
            own_status: None,
            message: Some("Back soon".into()),
            hold: false,
            until: until.map(|at| Timestamp::from_second(at).unwrap()),
            source: Source::Web,
            if_version: None,
        }
    }

    #[tokio::test]
    async fn what_was_acknowledged_is_there_after_a_restart() {
        let house = House::new();
        house
            .put(json!({"id": "Anna", "aliases": ["030 123456"]}))
            .await
            .unwrap();
        house.put(json!({"id": "bob"})).await.unwrap();
        let away = house.set("anna", Status::Away).await.unwrap();
        let delete = Change::Delete {
            id: "bob".into(),
            if_version: None,
        };
        house.roster.change(delete).await.unwrap();
        let before = house.directory.get("anna").unwrap().to_subscriber();
        let house = house.restarted();
        let anna = house.directory.get("anna").unwrap();
        assert_eq!(anna.to_subscriber(), before);
        assert_eq!(anna.version(), away.profile.version());
        assert_eq!(
            (anna.status(), anna.status_message()),
            (Status::Away, Some("Back soon"))
        );
        assert!(house.directory.find(b"+4930123456").is_some());
        assert!(house.directory.get("bob").is_none());
        let next = house.set("anna", Status::Dnd).await.unwrap();
        assert!(next.profile.version() > before.version);
    }

    #[tokio::test]
    async fn in_call_is_refused_and_nothing_changes() {
        let house = House::new();
        house.put(json!({"id": "anna"})).await.unwrap();
        let error = house.set("anna", Status::InCall).await.unwrap_err();
        assert!(matches!(&error, ChangeError::Refused(text) if text.contains("by calls only")));
        let in_call = json!({"id": "anna", "status": "in_call"});
        assert!(matches!(
            house.put(in_call).await,
            Err(ChangeError::Invalid(_))
        ));
        assert_eq!(
            house.directory.get("anna").unwrap().status(),
            Status::Available
        );
    }

    #[tokio::test]
    async fn an_alias_of_somebody_else_is_a_conflict_that_names_the_owner() {
        let house = House::new();
        house
            .put(json!({"id": "Anna", "aliases": ["101"]}))
            .await
            .unwrap();
        for wrong in [
            json!({"id": "bob", "aliases": ["101"]}),
            json!({"id": "101"}),
        ] {
            let taken = Conflict::Taken {
                key: "101".into(),
                owner: "Anna".into(),
            };
            assert_eq!(house.put(wrong).await, Err(ChangeError::Conflict(taken)));
        }
        let clash = vec![
            put(json!({"id": "cleo", "aliases": ["103"]})),
            put(json!({"id": "dora", "aliases": ["103"]})),
            put(json!({"id": "cleo"})),
            put(json!({"id": "dora", "aliases": ["103"]})),
        ];
        let answers = house.roster.change_many(clash).await;
        let fared: Vec<bool> = answers.iter().map(Result::is_ok).collect();
        assert_eq!(fared, [true, false, true, true]);
        let dora = house
            .directory
            .find(b"103")
            .and_then(|h| house.directory.profile(h))
            .unwrap();
        assert_eq!(dora.id(), "dora");
    }

    #[tokio::test]
    async fn the_same_content_again_makes_no_version_and_no_write() {
        let house = House::new();
        let document =
            json!({"id": "anna", "status": "away", "settings": {"all": {"busy": "missed"}}});
        let first = house.put(document.clone()).await.unwrap();
        house.now.store(2_000, Ordering::Relaxed);
        let again = house.put(document).await.unwrap();
        assert!(first.is_new && !again.is_new);
        assert_eq!(first.profile, again.profile);
        let answer = serde_json::to_value(first.profile.to_subscriber()).unwrap();
        assert!(!house.put(answer).await.unwrap().is_new);
        assert!(house.set("anna", Status::Dnd).await.unwrap().is_new);
        assert!(!house.set("anna", Status::Dnd).await.unwrap().is_new);
        assert_eq!(house.store.writes.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_change_of_an_older_version_is_a_conflict() {
        let house = House::new();
        let version = house
            .put(json!({"id": "anna"}))
            .await
            .unwrap()
            .profile
            .version();
        let clear = |if_version| Change::ClearStatus {
            id: "anna".into(),
            source: Source::Web,
            if_version: Some(if_version),
        };
        let current = house
            .set("anna", Status::Away)
            .await
            .unwrap()
            .profile
            .version();
        let conflict = Conflict::Version {
            id: "anna".into(),
            current,
        };
        let error = house.roster.change(clear(version)).await.unwrap_err();
        assert_eq!(error, ChangeError::Conflict(conflict));
        let cleared = house.roster.change(clear(current)).await.unwrap().profile;
        assert_eq!(
            (cleared.status(), cleared.status_message()),
            (Status::Available, None)
        );
        let create = |id: &str| Change::Create {
            subscriber: Box::new(Subscriber {
                id: id.into(),
                ..Subscriber::default()
            }),
            source: Source::Admin,
        };
        let error = house.roster.change(create("ANNA")).await.unwrap_err();
        assert!(matches!(
            error,
            ChangeError::Conflict(Conflict::Exists { .. })
        ));
        let delete = Change::Delete {
            id: "anna".into(),
            if_version: None,
        };
        house.roster.change(delete).await.unwrap();
        let created = house.roster.change(create("anna")).await.unwrap().profile;
        assert!(created.version() > current);
        assert_eq!(created.source(), Some(Source::Admin));
    }

    #[tokio::test]
    async fn a_store_that_fails_changes_nothing() {
        let house = House::new();
        house.put(json!({"id": "anna"})).await.unwrap();
        let mut events = house.roster.events();
        house.store.fails.store(true, Ordering::Relaxed);
        assert!(matches!(
            house.set("anna", Status::Away).await,
            Err(ChangeError::Store(_))
        ));
        assert!(matches!(
            house.put(json!({"id": "bob"})).await,
            Err(ChangeError::Store(_))
        ));
        assert_eq!(
            house.directory.get("anna").unwrap().status(),
            Status::Available
        );
        assert!(house.directory.get("bob").is_none() && events.try_recv().is_err());
        house.store.fails.store(false, Ordering::Relaxed);
        assert!(house.set("anna", Status::Away).await.is_ok());
        assert_eq!(events.try_recv().unwrap().status, Status::Away);
    }

    #[tokio::test]
    async fn a_status_ends_by_itself_and_takes_its_message_along() {
        let house = House::new();
        house.put(json!({"id": "anna"})).await.unwrap();
        let past = house
            .roster
            .change(set("anna", Status::Away, Some(1_000)))
            .await
            .unwrap_err();
        assert_eq!(past.to_string(), "until: lies in the past");
        house
            .roster
            .change(set("anna", Status::Away, Some(1_600)))
            .await
            .unwrap();
        let mut events = house.roster.events();
        assert_eq!(house.roster.expire().await, 0);
        house.now.store(1_700, Ordering::Relaxed);
        assert_eq!(house.roster.expire().await, 1);
        assert_eq!(house.roster.expire().await, 0);
        let anna = house.directory.get("anna").unwrap();
        assert_eq!(
            (anna.status(), anna.status_message()),
            (Status::Available, None)
        );
        assert_eq!(
            (anna.until(), anna.since().unwrap().as_second()),
            (None, 1_600)
        );
        let event = events.try_recv().unwrap();
        assert_eq!(
            (event.status, event.source),
            (Status::Available, Some(Source::Trigger))
        );
    }

    #[tokio::test]
    async fn who_and_since_when_follow_the_status() {
        let house = House::new();
        let first = house.put(json!({"id": "anna"})).await.unwrap().profile;
        assert_eq!(
            (first.source(), first.since().unwrap().as_second()),
            (Some(Source::Api), 1_000)
        );
        house.now.store(2_000, Ordering::Relaxed);
        let away = house.set("anna", Status::Away).await.unwrap().profile;
        assert_eq!(
            (away.source(), away.since().unwrap().as_second()),
            (Some(Source::Web), 2_000)
        );
        house.now.store(3_000, Ordering::Relaxed);
        let mut edited = serde_json::to_value(away.to_subscriber()).unwrap();
        edited["display_name"] = json!("Anna A.");
        let renamed = house.put(edited.clone()).await.unwrap().profile;
        assert_eq!(
            (renamed.source(), renamed.since()),
            (away.source(), away.since())
        );
        edited["status"] = json!("dnd");
        let dnd = house.put(edited).await.unwrap().profile;
        assert_eq!(
            (dnd.source(), dnd.since().unwrap().as_second()),
            (Some(Source::Api), 3_000)
        );
    }

    #[tokio::test]
    async fn a_forwarding_that_goes_in_a_circle_is_saved_with_a_warning() {
        let house = House::new();
        let forwards = |id: &str, status: &str, to: &str| {
            let name = format!("{}{}", id[..1].to_uppercase(), &id[1..]);
            json!({"id": id, "display_name": name,
                   "settings": {status: {"immediate": {"forward": to}}}})
        };
        let warned = async |document: Value, language: Language| {
            let saved = house.put(document).await.unwrap().profile;
            house.roster.warnings(&saved, language)
        };
        let (de, en) = (Language::De, Language::En);
        assert_eq!(warned(forwards("bob", "away", "101"), en).await, [""; 0]);
        let mut anna = forwards("anna", "break", "bob");
        anna["aliases"] = json!(["101"]);
        assert_eq!(
            warned(anna.clone(), en).await,
            ["Bob forwards to you while away"]
        );
        assert_eq!(
            warned(anna, de).await,
            ["Bob leitet bei Abwesenheit an Sie weiter"]
        );
        assert_eq!(warned(forwards("cleo", "all", "anna"), en).await, [""; 0]);
        let dora = json!({"id": "dora", "settings": {"all": {"busy": {"forward": "DORA"}}}});
        assert_eq!(warned(dora, de).await, ["Sie leiten an sich selbst weiter"]);
    }

    #[tokio::test]
    async fn who_forwards_to_somebody_who_is_deleted_is_known_and_warned() {
        let house = House::new();
        for document in [
            json!({"id": "bob", "aliases": ["102"]}),
            json!({"id": "anna", "settings": {"away": {"immediate": {"forward": "Bob"}}}}),
            json!({"id": "cleo", "exceptions": {"rules": [
                {"name": "x", "callers": ["+49*"], "action": {"forward": "102"}}]}}),
            json!({"id": "dora", "settings": {"away": {"immediate": {"forward": "+4930777"}}}}),
        ] {
            house.put(document).await.unwrap();
        }
        let warned = |id: &str| {
            let profile = house.directory.get(id).unwrap();
            house.roster.warnings(&profile, Language::En)
        };
        assert_eq!(warned("anna"), [""; 0]);
        let (total, ids) = house.roster.forwarding_to("BOB");
        assert_eq!(
            (total, ids),
            (2, vec!["anna".to_owned(), "cleo".to_owned()])
        );
        let gone = Change::Delete {
            id: "bob".to_owned(),
            if_version: None,
        };
        house.roster.change(gone).await.unwrap();
        assert_eq!(
            warned("anna"),
            ["You forward to Bob, and nobody here has that name"]
        );
        // Numbers may be anybody's.
        assert_eq!((warned("cleo"), warned("dora")), (vec![], vec![]));
        assert_eq!(house.roster.forwarding_to("bob"), (0, vec![]));
        house.put(json!({"id": "bob"})).await.unwrap();
        assert_eq!(warned("anna"), [""; 0]);
    }

    #[tokio::test]
    async fn a_client_that_reports_again_is_no_news() {
        let house = House::new();
        house.put(json!({"id": "anna"})).await.unwrap();
        let report = |until_s: i64| {
            let second = |at: i64| Timestamp::from_second(at).unwrap().to_string();
            let signal = json!({"kind": "client", "id": "desk", "idle_since": second(100),
                                "until": second(until_s), "source": "trigger"});
            house.roster.change(Change::Report {
                id: "anna".into(),
                signal: Box::new(serde_json::from_value(signal).unwrap()),
            })
        };
        let mut events = house.roster.events();
        report(1_200).await.unwrap();
        let told = events.try_recv().unwrap();
        assert_eq!((told.status, told.until), (Status::Away, None));
        report(1_300).await.unwrap();
        assert!(events.try_recv().is_err(), "away, as before");
    }

    #[tokio::test]
    async fn settings_of_one_status_are_replaced_alone() {
        let house = House::new();
        house
            .put(json!({"id": "anna", "settings": {"away": {"busy": "missed"}}}))
            .await
            .unwrap();
        let part = |rule: Value| Box::new(StatusSettings::from_json(&rule).unwrap());
        let change = |name: &str, rule| Change::PutSettings {
            id: "anna".into(),
            part: name.into(),
            settings: part(rule),
            if_version: None,
        };
        house
            .roster
            .change(change("all", json!({"ring_for_s": 20})))
            .await
            .unwrap();
        let done = change("dnd", json!({"immediate": {"forward": "030 1-2"}}));
        let profile = house.roster.change(done).await.unwrap().profile;
        assert_eq!(
            serde_json::to_value(profile.settings()).unwrap(),
            json!({"all": {"ring_for_s": 20}, "away": {"busy": "missed"},
                   "dnd": {"immediate": {"forward": "03012"}}})
        );
        let wrong = change("all", json!({"ring_for_s": 200}));
        assert!(matches!(
            house.roster.change(wrong).await,
            Err(ChangeError::Invalid(_))
        ));
        let nobody = Change::ClearStatus {
            id: "nobody".into(),
            source: Source::Web,
            if_version: None,
        };
        let error = house.roster.change(nobody).await.unwrap_err();
        assert_eq!(
            error,
            ChangeError::NotFound {
                id: "nobody".into()
            }
        );
    }

    #[tokio::test]
    async fn one_bad_line_of_an_import_loses_nothing_else() {
        let house = House::new();
        let lines = (0..2_500).map(|n| {
            let id = if n == 1_234 {
                "not an id".to_owned()
            } else {
                format!("s{n}")
            };
            put(json!({"id": id, "aliases": [format!("{}", 10_000 + n)]}))
        });
        let answers = house.roster.change_many(lines.collect()).await;
        assert_eq!(answers.len(), 2_500);
        let bad: Vec<usize> = answers
            .iter()
            .enumerate()
            .filter(|(_, a)| a.is_err())
            .map(|(n, _)| n)
            .collect();
        assert_eq!((bad, house.directory.len()), (vec![1_234], 2_499));
        assert_eq!(house.restarted().directory.len(), 2_499);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn concurrent_changes_are_all_carried_out() {
        let house = Arc::new(House::new());
        house.put(json!({"id": "anna"})).await.unwrap();
        let tasks: Vec<_> = (0..200)
            .map(|n| {
                let house = Arc::clone(&house);
                tokio::spawn(async move { house.put(json!({"id": format!("s{n}")})).await })
            })
            .collect();
        for task in tasks {
            assert!(task.await.unwrap().unwrap().is_new);
        }
        assert_eq!(house.directory.len(), 201);
    }
}
