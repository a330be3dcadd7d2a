//! Calendars of subscribers and the holidays: fetched again and again, beside everything else.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::Builder;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::background::{Background, Stop};
use super::in_force::InForce;
use super::upkeep::unix_s;
use crate::config::Config;
use crate::presence::{Change, Holidays, HouseRules, Profile, Roster, Signal, calendar};

/// How often is looked whether a calendar is due.
const TICK: Duration = Duration::from_secs(1);
/// How far ahead entries are reported; they are read again long before.
const AHEAD_S: i64 = 2 * 86_400;
/// How far around today holidays are kept.
const HOLIDAYS_S: i64 = 400 * 86_400;
/// How large a calendar may be.
const SIZE_LIMIT_BYTES: u64 = 8 << 20;
/// How long a server of calendars has to answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often who waits for a calendar looks whether the end has come.
const LOOKS_UP: Duration = Duration::from_millis(50);

/// Fetches what is due.
pub(super) struct Calendars {
    roster: Arc<Roster>,
    in_force: Arc<InForce>,
    runtime: Runtime,
    agent: ureq::Agent,
    /// Of each subscriber with calendars: which, and when they are due again.
    known: HashMap<String, Known>,
    /// When the subscribers are looked through again.
    survey_s: i64,
    holidays: Known,
}

/// What is known of one subscriber's calendars, or of the holidays.
#[derive(Default)]
struct Known {
    feeds: Vec<String>,
    due_s: i64,
    told: String,
}

/// The client that fetches calendars, bounded in time.
fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .user_agent(concat!("pointsman/", env!("CARGO_PKG_VERSION")))
        .build();
    config.new_agent()
}

impl Calendars {
    /// Nothing is known yet.
    pub(super) fn new(roster: &Arc<Roster>, in_force: &Arc<InForce>) -> io::Result<Self> {
        Ok(Self {
            roster: Arc::clone(roster),
            in_force: Arc::clone(in_force),
            runtime: tokio::runtime::Builder::new_current_thread().build()?,
            agent: agent(),
            known: HashMap::new(),
            survey_s: 0,
            holidays: Known::default(),
        })
    }

    /// Starts the thread.
    pub(super) fn start(mut self, background: &mut Background) -> io::Result<()> {
        background.until_the_end("calendars", TICK, move |stop| self.work(stop))
    }

    /// Fetches what is due, one after the other, until the end comes.
    fn work(&mut self, stop: &Stop) {
        let now_s = unix_s(self.in_force.clock);
        let config = self.in_force.config.load_full();
        let every_s = i64::from(config.presence.calendar_refresh_s);
        self.read_holidays(&config, (now_s, every_s), stop);
        if now_s >= self.survey_s {
            self.survey_s = now_s.saturating_add(5);
            self.survey(now_s);
        }
        let due: Vec<String> = self
            .known
            .iter()
            .filter(|(_, known)| known.due_s <= now_s)
            .map(|(id, _)| id.clone())
            .collect();
        for id in due {
            if stop.is_over() {
                return;
            }
            self.read(&id, (now_s, every_s), stop);
        }
    }

    /// Who has calendars now.
    fn survey(&mut self, now_s: i64) {
        let mut present: HashMap<String, Vec<String>> = HashMap::new();
        for profile in self.in_force.shared.directory.profiles() {
            if !profile.calendars().is_empty() {
                present.insert(profile.id().to_owned(), profile.calendars().to_vec());
            }
        }
        let gone: Vec<String> = self
            .known
            .keys()
            .filter(|id| !present.contains_key(*id))
            .cloned()
            .collect();
        for id in gone {
            self.known.remove(&id);
            self.report(&id, Vec::new());
        }
        for (id, feeds) in present {
            let known = self.known.entry(id).or_default();
            if known.feeds != feeds {
                known.feeds = feeds;
                known.due_s = now_s;
            }
        }
    }

    /// Reads one subscriber's calendars. While one of them cannot be read, what they said stays.
    fn read(&mut self, id: &str, (now_s, every_s): (i64, i64), stop: &Stop) {
        let Some(profile) = self.in_force.shared.directory.get(id) else {
            return;
        };
        let outcome = self.entries(&profile, now_s..now_s.saturating_add(AHEAD_S), stop);
        if stop.is_over() {
            return;
        }
        let Some(known) = self.known.get_mut(id) else {
            return;
        };
        known.due_s = now_s.saturating_add(every_s);
        let fault = outcome.as_ref().err().cloned().unwrap_or_default();
        if fault != known.told {
            if fault.is_empty() {
                tracing::info!(subscriber = id, "the calendar can be read again");
            } else {
                tracing::warn!(subscriber = id, fault, "a calendar cannot be read");
            }
            known.told = fault;
        }
        if let Ok(signals) = outcome {
            self.report(id, signals);
        }
    }

    fn entries(
        &self,
        profile: &Profile,
        window: Range<i64>,
        stop: &Stop,
    ) -> Result<Vec<Signal>, String> {
        let zone = self.in_force.shared.policy.load().zone.clone();
        let zone = zone.iana_name().unwrap_or("UTC");
        let mut entries = Vec::new();
        for feed in profile.calendars() {
            let text = self.fetch(feed, stop)?;
            let read = calendar::read(&text, zone, window.clone());
            entries.extend(read.map_err(|fault| format!("{}: {fault}", without_secret(feed)))?);
        }
        entries.sort_by_key(|entry| entry.from_s);
        let statuses = &self.roster.house().statuses;
        Ok(calendar::signals(&entries, &profile.triggers(), statuses))
    }

    fn report(&self, id: &str, signals: Vec<Signal>) {
        let id = id.to_owned();
        let change = Change::ReportCalendar { id, signals };
        if let Err(error) = self.runtime.block_on(self.roster.change(change)) {
            tracing::warn!(%error, "what a calendar says was not kept");
        }
    }

    fn read_holidays(&mut self, config: &Config, (now_s, every_s): (i64, i64), stop: &Stop) {
        let feeds = &config.presence.holidays;
        let is_due = self.holidays.feeds != *feeds || self.holidays.due_s <= now_s;
        if !is_due || (feeds.is_empty() && self.holidays.feeds.is_empty()) {
            return;
        }
        self.holidays.feeds.clone_from(feeds);
        self.holidays.due_s = now_s.saturating_add(every_s);
        let window = now_s.saturating_sub(HOLIDAYS_S)..now_s.saturating_add(HOLIDAYS_S);
        let mut days = Holidays::default();
        let mut fault = String::new();
        for feed in feeds {
            let read = self
                .fetch(feed, stop)
                .and_then(|text| calendar::holidays(&text, window.clone()));
            match read {
                Ok(more) => days = days.and(&more),
                Err(error) => fault = format!("{}: {error}", without_secret(feed)),
            }
        }
        if stop.is_over() {
            return;
        }
        if fault != self.holidays.told {
            if !fault.is_empty() {
                tracing::warn!(fault, "the holidays cannot be read; those known stay");
            }
            self.holidays.told.clone_from(&fault);
        }
        if fault.is_empty() {
            self.in_force.observe(days);
            let house = HouseRules::clone(&self.in_force.shared.policy.load().house);
            self.runtime.block_on(self.roster.set_house(house));
        }
    }

    /// The text of a calendar. A server that hangs does not hold up the end: who asks it has
    /// nothing of ours.
    fn fetch(&self, feed: &str, stop: &Stop) -> Result<String, String> {
        let (told, answer) = mpsc::sync_channel(1);
        let (agent, asked) = (self.agent.clone(), feed.to_owned());
        let asking = Builder::new().name("calendar".to_owned());
        asking
            .spawn(move || told.send(fetched(&agent, &asked)).ok())
            .map_err(|error| error.to_string())?;
        loop {
            match answer.recv_timeout(LOOKS_UP) {
                Ok(answer) => return answer,
                Err(RecvTimeoutError::Timeout) if !stop.is_over() => {}
                Err(_) => return Err("the server ends".to_owned()),
            }
        }
    }
}

fn fetched(agent: &ureq::Agent, feed: &str) -> Result<String, String> {
    let mut text = String::new();
    let fault = |error: &dyn std::fmt::Display| format!("{}: {error}", without_secret(feed));
    if feed.starts_with('/') {
        let file = File::open(feed).map_err(|error| fault(&error))?;
        let mut limited = file.take(SIZE_LIMIT_BYTES);
        limited
            .read_to_string(&mut text)
            .map_err(|error| fault(&error))?;
        return Ok(text);
    }
    let mut response = agent.get(feed).call().map_err(|error| fault(&error))?;
    let body = response.body_mut().with_config().limit(SIZE_LIMIT_BYTES);
    body.read_to_string().map_err(|error| fault(&error))
}

/// A URL as the log may have it: calendars hide their key in path, query, or before the host.
fn without_secret(feed: &str) -> &str {
    match feed.split_once("://") {
        None => feed,
        Some((_, rest)) => {
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            authority.rsplit('@').next().unwrap_or_default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_has_the_host_of_a_calendar_only() {
        for (feed, told) in [
            (
                "https://user:secret@example.com:8443/key.ics?k=1",
                "example.com:8443",
            ),
            ("https://example.com?key=secret", "example.com"),
            ("/srv/anna.ics", "/srv/anna.ics"),
        ] {
            assert_eq!(without_secret(feed), told);
        }
    }
}
