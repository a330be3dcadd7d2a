//! The one writer behind the roster: batches of changes, from the queue to the store to readers.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::{broadcast, mpsc};

use super::bequest::Bequest;
use super::change::{Change, ChangeError, Changed, Conflict, StatusChanged};
use super::directory::Directory;
use super::hours::HOURS_SIGNAL;
use super::house::HouseRules;
use super::layers::{Override, SignalKind};
use super::model::{Source, Status, Subscriber};
use super::numbers::NumberPlan;
use super::profile::Profile;
use super::record::SUBSCRIBER_LIMIT;
use super::reported::{dismiss_hours, report, report_calendar};
use super::roster::{Clock, Job};
use super::shown;
use super::stored::{store_key, to_stored};
use crate::store::{Store, Write};

/// How many jobs are taken from the queue at once.
const JOBS: usize = 1024;
/// How many changes one write of the store has at most, a group of an import aside.
const BATCH: usize = 4096;

pub(super) struct Writer {
    pub(super) store: Arc<dyn Store>,
    pub(super) directory: Arc<Directory>,
    pub(super) plan: NumberPlan,
    pub(super) clock: Clock,
    /// What the administrator lays down.
    pub(super) house: Arc<ArcSwap<HouseRules>>,
    pub(super) events: broadcast::Sender<StatusChanged>,
    /// The greatest version given so far. One count for all, so that a subscriber who was deleted
    /// and created again never has an old version.
    pub(super) version: u64,
}

/// What a batch will have changed, as those see it who come later in the same batch.
#[derive(Default)]
struct Pending {
    documents: HashMap<String, Option<Arc<Profile>>>,
    keys: HashMap<String, Option<String>>,
    created: usize,
    writes: Vec<Write>,
    steps: Vec<Step>,
}

/// One change of a batch, to be shown to readers when the batch is on disk.
struct Step {
    before: Option<Arc<Profile>>,
    after: Option<Arc<Profile>>,
}

/// What a change makes of a document.
enum Outcome {
    Same(Arc<Profile>),
    Next(Box<Subscriber>),
    /// The same document, compiled anew.
    Again(Box<Subscriber>),
    Gone(Arc<Profile>),
}

impl Writer {
    /// Works until the roster is dropped and the queue is empty.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut jobs = Vec::new();
        while queue.blocking_recv_many(&mut jobs, JOBS) > 0 {
            let mut waiting = jobs.drain(..).peekable();
            while waiting.peek().is_some() {
                let mut batch: Vec<Job> = Vec::new();
                let mut changes = 0;
                while let Some(job) = waiting.next_if(|_| changes < BATCH) {
                    changes += job.changes.len();
                    batch.push(job);
                }
                self.carry_out(batch);
            }
        }
    }

    fn carry_out(&mut self, jobs: Vec<Job>) {
        let now = (self.clock)();
        let mut pending = Pending::default();
        let answers: Vec<_> = jobs
            .into_iter()
            .map(|job| {
                let changes = job.changes.into_iter();
                let results: Vec<_> = changes
                    .map(|change| self.prepare(change, now, &mut pending))
                    .collect();
                (job.answer, results)
            })
            .collect();
        let written = if pending.writes.is_empty() {
            Ok(())
        } else {
            self.store
                .write(&pending.writes)
                .map_err(|error| error.to_string())
        };
        if written.is_ok() {
            self.show(pending.steps, now.as_second());
        }
        for (answer, results) in answers {
            let results = results.into_iter().map(|result| conclude(result, &written));
            answer.send(results.collect()).ok();
        }
    }

    /// Checks a change against what is there, the batch so far included, and notes what to write.
    fn prepare(
        &mut self,
        change: Change,
        now: Timestamp,
        pending: &mut Pending,
    ) -> Result<Changed, ChangeError> {
        let key = store_key(change.id());
        let current = match pending.documents.get(&key) {
            Some(document) => document.clone(),
            None => self.directory.get(change.id()),
        };
        check_version(&change, current.as_deref())?;
        match apply(change, current.as_ref(), now)? {
            Outcome::Same(profile) => Ok(Changed {
                profile,
                is_new: false,
            }),
            Outcome::Gone(profile) => {
                pending.writes.push(Write::Delete { key: key.clone() });
                pending.note(key, current, None);
                self.end_grants(profile.id(), now, pending)?;
                Ok(Changed {
                    profile,
                    is_new: true,
                })
            }
            Outcome::Again(same) => {
                let profile = self.compile(&same, now);
                pending.note(key, current, Some(Arc::clone(&profile)));
                Ok(Changed {
                    profile,
                    is_new: true,
                })
            }
            Outcome::Next(mut next) => {
                self.refuse_taken(&next, &key, pending)?;
                self.refuse_beyond_limit(current.as_deref(), pending)?;
                let profile = self.put(&mut next, (key, current), now, pending)?;
                Ok(Changed {
                    profile,
                    is_new: true,
                })
            }
        }
    }

    /// Notes a new version of a document, to be written.
    fn put(
        &mut self,
        next: &mut Subscriber,
        (key, current): (String, Option<Arc<Profile>>),
        now: Timestamp,
        pending: &mut Pending,
    ) -> Result<Arc<Profile>, ChangeError> {
        next.version = self.version.saturating_add(1);
        let value = to_stored(next).map_err(ChangeError::Store)?;
        self.version = next.version;
        let profile = self.compile(next, now);
        pending.writes.push(Write::Put {
            key: key.clone(),
            value,
        });
        pending.note(key, current, Some(Arc::clone(&profile)));
        Ok(profile)
    }

    /// What others granted to the id of somebody who is gone ends in the same write.
    fn end_grants(
        &mut self,
        id: &str,
        now: Timestamp,
        pending: &mut Pending,
    ) -> Result<(), ChangeError> {
        let house = self.house.load_full();
        let bequest = Bequest {
            id,
            domains: &house.domains,
        };
        let in_batch = pending.documents.values().flatten().cloned();
        let kept = self.directory.profiles();
        let kept = kept.filter(|profile| {
            let key = store_key(profile.id());
            bequest.is_in(profile) && !pending.documents.contains_key(&key)
        });
        let granting: Vec<Arc<Profile>> = in_batch
            .filter(|profile| bequest.is_in(profile))
            .chain(kept)
            .collect();
        for profile in granting {
            let mut next = profile.to_subscriber();
            bequest.take_out_of(&mut next);
            let key = store_key(profile.id());
            self.put(&mut next, (key, Some(profile)), now, pending)?;
        }
        Ok(())
    }

    fn compile(&self, subscriber: &Subscriber, now: Timestamp) -> Arc<Profile> {
        let house = self.house.load();
        let profile = Profile::under(&house, subscriber, &self.plan, now.as_second());
        Arc::new(profile)
    }

    fn refuse_taken(
        &self,
        next: &Subscriber,
        own: &str,
        pending: &Pending,
    ) -> Result<(), ChangeError> {
        for key in std::iter::once(own).chain(next.aliases.iter().map(String::as_str)) {
            let owner = match pending.keys.get(key) {
                Some(owner) => owner.clone(),
                None => self.owner_of(key),
            };
            if let Some(owner) = owner.filter(|owner| !owner.eq_ignore_ascii_case(own)) {
                let taken = Conflict::Taken {
                    key: key.to_owned(),
                    owner,
                };
                return Err(ChangeError::Conflict(taken));
            }
        }
        Ok(())
    }

    fn owner_of(&self, key: &str) -> Option<String> {
        let owner = self
            .directory
            .profile(self.directory.find(key.as_bytes())?)?;
        Some(owner.id().to_owned())
    }

    /// Some records rest or are marked by calls, so not quite all can be used.
    fn refuse_beyond_limit(
        &self,
        current: Option<&Profile>,
        pending: &Pending,
    ) -> Result<(), ChangeError> {
        let count = self.directory.len().saturating_add(pending.created);
        if current.is_none() && count >= SUBSCRIBER_LIMIT / 16 * 15 {
            return Err(ChangeError::Refused(format!(
                "no room for more than {count} subscribers"
            )));
        }
        Ok(())
    }

    /// Shows what is on disk to readers and tells who listens.
    fn show(&self, steps: Vec<Step>, now_unix_s: i64) {
        for Step { before, after } in steps {
            match (before, &after) {
                (before, Some(after)) => {
                    // `prepare` has refused whatever the directory would refuse.
                    let put = self.directory.put_profile(Arc::clone(after));
                    debug_assert!(put.is_ok(), "{put:?}");
                    if let Some(changed) = shown::compare(before.as_ref(), after, now_unix_s) {
                        self.events.send(changed).ok();
                    }
                }
                (Some(before), None) => {
                    self.directory.remove(before.id());
                    let changed = StatusChanged::of(&before, now_unix_s, true);
                    self.events.send(changed).ok();
                }
                (None, None) => {}
            }
        }
    }
}

fn conclude(
    result: Result<Changed, ChangeError>,
    written: &Result<(), String>,
) -> Result<Changed, ChangeError> {
    let changed = result?;
    match written {
        Ok(()) => Ok(changed),
        Err(error) => Err(ChangeError::Store(error.clone())),
    }
}

impl Pending {
    fn note(&mut self, id: String, before: Option<Arc<Profile>>, after: Option<Arc<Profile>>) {
        for key in before.iter().flat_map(|profile| profile.keys()) {
            self.keys.insert(key.into_owned(), None);
        }
        if let Some(profile) = &after {
            for key in profile.keys() {
                self.keys
                    .insert(key.into_owned(), Some(profile.id().to_owned()));
            }
            self.created += usize::from(before.is_none());
        }
        self.documents.insert(id, after.clone());
        self.steps.push(Step { before, after });
    }
}

fn check_version(change: &Change, current: Option<&Profile>) -> Result<(), ChangeError> {
    let version = current.map_or(0, Profile::version);
    match change.if_version() {
        Some(expected) if expected != version => {
            let id = change.id().to_owned();
            Err(ChangeError::Conflict(Conflict::Version {
                id,
                current: version,
            }))
        }
        _ => Ok(()),
    }
}

/// What the change makes of the document that is there.
fn apply(
    change: Change,
    current: Option<&Arc<Profile>>,
    now: Timestamp,
) -> Result<Outcome, ChangeError> {
    let (subscriber, source) = match change {
        Change::Put {
            subscriber, source, ..
        } => (subscriber, source),
        Change::Create { subscriber, source } => match current {
            Some(_) => {
                return Err(ChangeError::Conflict(Conflict::Exists {
                    id: subscriber.id,
                }));
            }
            None => (subscriber, source),
        },
        other => {
            let not_found = || ChangeError::NotFound {
                id: other.id().to_owned(),
            };
            let current = current.ok_or_else(not_found)?;
            return adjust(other, current, now);
        }
    };
    Ok(match current {
        None => Outcome::Next(Box::new(created(*subscriber, source, now))),
        Some(current) => compared(current, replaced(*subscriber, current, source, now)),
    })
}

/// A change of somebody who is there and whose document is not replaced.
fn adjust(change: Change, current: &Arc<Profile>, now: Timestamp) -> Result<Outcome, ChangeError> {
    let mut next = current.to_subscriber();
    match change {
        Change::SetStatus {
            status,
            own_status,
            message,
            until,
            hold,
            source,
            ..
        } => {
            let chosen = Chosen {
                status,
                own_status,
                message,
                until,
                hold,
            };
            set_status(&mut next, chosen, (source, now));
        }
        Change::ClearStatus { source, .. } => {
            set_status(&mut next, Chosen::default(), (source, now));
        }
        Change::Overrule { order, .. } => overrule(&mut next, order, now),
        Change::Report { signal, .. } => report(&mut next, *signal)?,
        Change::ReportCalendar { signals, .. } => report_calendar(&mut next, signals),
        Change::Withdraw { kind, signal, .. } => next
            .signals
            .retain(|other| other.kind != kind || other.id != signal),
        Change::Dismiss {
            kind,
            signal,
            dismissed,
            ..
        } => {
            if kind == SignalKind::Schedule && signal == HOURS_SIGNAL {
                dismiss_hours(&mut next, current.hours_signal(now.as_second()), dismissed)?;
                return Ok(compared(current, next));
            }
            let mut signals = next.signals.iter_mut();
            let found = signals.find(|s| s.kind == kind && s.id == signal);
            let missing = || {
                let kind = kind.name();
                ChangeError::Refused(format!("there is no {kind} `{signal}` now"))
            };
            found.ok_or_else(missing)?.dismissed = dismissed;
        }
        Change::PutExceptions { exceptions, .. } => next.exceptions = *exceptions,
        Change::PutHours { hours, .. } => next.hours = hours.map(|hours| *hours),
        Change::PutTriggers { triggers, .. } => next.triggers = *triggers,
        Change::Expire { .. } => {
            if !current.is_due(now.as_second()) {
                return Ok(Outcome::Same(Arc::clone(current)));
            }
            end_what_is_over(&mut next, now);
            // What has only begun, as hours do, is in no document.
            return Ok(match next == current.to_subscriber() {
                true => Outcome::Again(Box::new(next)),
                false => Outcome::Next(Box::new(next)),
            });
        }
        Change::PutSettings { part, settings, .. } => next.settings.set_part(&part, *settings),
        Change::Restate { .. } => return Ok(Outcome::Again(Box::new(next))),
        Change::Delete { .. } => return Ok(Outcome::Gone(Arc::clone(current))),
        Change::Put { .. } | Change::Create { .. } => {}
    }
    Ok(compared(current, next))
}

fn created(mut next: Subscriber, source: Source, now: Timestamp) -> Subscriber {
    next.password = next.password.over(None);
    next.source = next.source.or(Some(source));
    next.since = next.since.or_else(|| Some(whole(now)));
    next
}

/// A document that is put over another. What it says of the status's source and beginning is
/// believed unless it merely repeats what was there for another status.
fn replaced(mut next: Subscriber, current: &Profile, source: Source, now: Timestamp) -> Subscriber {
    next.password = next.password.over(current.credentials());
    let is_same = next.own_status.as_deref() == current.own_status();
    let same_status = (next.status, next.status_message.as_deref(), next.until)
        == (current.status(), current.status_message(), current.until())
        && is_same;
    next.overruled = next.overruled.or_else(|| current.overruled().cloned());
    if next.signals.is_empty() {
        next.signals = current.signals().to_vec();
    }
    if same_status {
        next.source = next.source.or_else(|| current.source());
        next.since = next.since.or_else(|| current.since());
    } else {
        let repeated = next.since.is_none() || next.since == current.since();
        if repeated {
            next.source = Some(source);
            next.since = Some(whole(now));
        } else {
            next.source = next.source.or(Some(source));
        }
    }
    next
}

/// A status with its message, its end and whether it holds; by default nothing is chosen.
#[derive(Default, PartialEq)]
struct Chosen {
    status: Status,
    own_status: Option<String>,
    message: Option<String>,
    until: Option<Timestamp>,
    hold: bool,
}

impl Chosen {
    fn of(subscriber: &Subscriber) -> Self {
        Self {
            status: subscriber.status,
            own_status: subscriber.own_status.clone(),
            message: subscriber.status_message.clone(),
            until: subscriber.until,
            hold: subscriber.hold,
        }
    }
}

/// The same status again is no change, whoever sets it.
fn set_status(next: &mut Subscriber, chosen: Chosen, (source, now): (Source, Timestamp)) {
    if chosen == Chosen::of(next) {
        return;
    }
    if (next.status, &next.own_status) != (chosen.status, &chosen.own_status) {
        next.since = Some(whole(now));
    }
    next.status = chosen.status;
    next.own_status = chosen.own_status;
    next.status_message = chosen.message;
    next.until = chosen.until;
    next.hold = chosen.hold;
    next.source = Some(source);
}

/// The same order again is no change.
fn overrule(next: &mut Subscriber, order: Option<Box<Override>>, now: Timestamp) {
    let since = next.overruled.as_ref().and_then(|order| order.since);
    next.overruled = order.map(|order| Override {
        since: order.since.or(since).or_else(|| Some(whole(now))),
        ..*order
    });
}

/// Drops every layer whose time is over.
fn end_what_is_over(next: &mut Subscriber, now: Timestamp) {
    let now_s = now.as_second();
    next.signals.retain(|signal| !signal.is_over(now_s));
    next.overruled = next.overruled.take().filter(|order| !order.is_over(now_s));
    if let Some(ended) = next.until.filter(|until| until.as_second() <= now_s) {
        set_status(next, Chosen::default(), (Source::Trigger, ended));
    }
}

fn compared(current: &Arc<Profile>, mut next: Subscriber) -> Outcome {
    next.version = current.version();
    if next == current.to_subscriber() {
        Outcome::Same(Arc::clone(current))
    } else {
        Outcome::Next(Box::new(next))
    }
}

fn whole(now: Timestamp) -> Timestamp {
    super::validate::whole_seconds(now, false)
}
