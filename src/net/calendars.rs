//! Calendars of subscribers and the holidays: fetched again and again, beside everything else.
//!
//! A few are read at once, each by a thread that has nothing of ours: a server that hangs holds up
//! neither the others nor the end.

use std::collections::{HashMap, HashSet};
use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::Builder;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::background::{Background, Stop};
use super::feeds::{Feeds, without_secret};
use super::in_force::InForce;
use super::priority::Courtesy;
use super::upkeep::unix_s;
use crate::config::Config;
use crate::presence::calendar::Entry;
use crate::presence::readings::{FeedFault, Found, Reading};
use crate::presence::{Change, Holidays, HouseRules, Roster, Signal, calendar};
use crate::proxy::policy::Network;

/// How often is looked whether a calendar is due.
const TICK: Duration = Duration::from_secs(1);
/// How far ahead entries are reported; they are read again long before.
const AHEAD_S: i64 = 2 * 86_400;
/// How far around today holidays are kept.
const HOLIDAYS_S: i64 = 400 * 86_400;
/// How often who waits for a calendar looks whether the end has come.
const LOOKS_UP: Duration = Duration::from_millis(50);
/// After so many subscribers that were looked at, who has come meanwhile is let in.
const GIVES_WAY: usize = 256;
/// Of how many people calendars are read at once.
const AT_ONCE: usize = 8;
/// How many of these may be people whose calendars could not be read the last time.
const TROUBLED_AT_ONCE: usize = 3;

/// Fetches what is due.
pub(super) struct Calendars {
    roster: Arc<Roster>,
    in_force: Arc<InForce>,
    runtime: Runtime,
    anywhere: Feeds,
    /// For feeds of subscribers, and the networks it may reach beside the public one.
    fenced: (Feeds, Vec<Network>),
    /// Of each subscriber with calendars: which, and when they are due again.
    known: HashMap<String, Known>,
    /// When it is seen again whether the subscribers must be looked through.
    survey_s: i64,
    /// After how many changes of documents they were.
    surveyed: Option<u64>,
    holidays: Known,
    /// Whose calendars are being read.
    under_way: HashSet<Whose>,
    tell: SyncSender<(Whose, Answer)>,
    told: Receiver<(Whose, Answer)>,
}

/// What is known of one subscriber's calendars, or of the holidays.
#[derive(Default)]
struct Known {
    feeds: Vec<String>,
    due_s: i64,
    told: String,
}

/// Whose calendars are read.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Whose {
    /// The holidays of the house.
    House,
    /// Those of a subscriber.
    Subscriber(String),
}

/// What was read, and how each feed was.
struct Answer {
    /// Where.
    feeds: Vec<String>,
    /// What all of them say together; nothing where one cannot be read.
    read: Option<Read>,
    readings: Vec<Reading>,
}

impl Answer {
    /// What is wrong, with the hosts of the feeds; empty where nothing is.
    fn fault(&self) -> String {
        let faults = self.readings.iter().filter_map(|reading| {
            let (fault, _) = reading.fault.as_ref()?;
            Some(format!("{}: {fault}", without_secret(&reading.feed)))
        });
        faults.collect::<Vec<_>>().join("; ")
    }
}

enum Read {
    Entries(Vec<Entry>),
    Holidays(Holidays),
}

/// What a thread has to read.
struct Errand {
    feeds: Vec<String>,
    client: Feeds,
    now_s: i64,
    window: Range<i64>,
    /// The zone of entries that name none; `None` where days are wanted.
    zone: Option<String>,
}

impl Errand {
    fn run(&self) -> (Option<Read>, Vec<Reading>) {
        let mut entries = Vec::new();
        let mut days = Holidays::default();
        let mut readings = Vec::new();
        for feed in &self.feeds {
            let (found, fault) = match self.read(feed) {
                Ok((Read::Entries(read), found)) => {
                    entries.extend(read);
                    (found, None)
                }
                Ok((Read::Holidays(read), found)) => {
                    days = days.and(&read);
                    (found, None)
                }
                Err(fault) => (Found::default(), Some((fault, self.now_s))),
            };
            readings.push(Reading {
                feed: feed.clone(),
                read_s: self.now_s,
                found,
                fault,
            });
        }
        entries.sort_by_key(|entry| entry.from_s);
        let read = match self.zone {
            Some(_) => Read::Entries(entries),
            None => Read::Holidays(days),
        };
        let is_whole = readings.iter().all(|reading| reading.fault.is_none());
        (is_whole.then_some(read), readings)
    }

    fn read(&self, feed: &str) -> Result<(Read, Found), FeedFault> {
        let text = self.client.fetch(feed)?;
        let window = self.window.clone();
        Ok(match &self.zone {
            Some(zone) => {
                let (entries, found) = calendar::read(&text, zone, window)?;
                (Read::Entries(entries), found)
            }
            None => {
                let (days, found) = calendar::holidays(&text, window)?;
                (Read::Holidays(days), found)
            }
        })
    }

    /// What is told where reading itself fails.
    fn broken(&self) -> (Option<Read>, Vec<Reading>) {
        let fault = FeedFault::Other("a fault in reading it".to_owned());
        let readings = self.feeds.iter().map(|feed| Reading {
            feed: feed.clone(),
            read_s: self.now_s,
            found: Found::default(),
            fault: Some((fault.clone(), self.now_s)),
        });
        (None, readings.collect())
    }
}

impl Calendars {
    /// Nothing is known yet.
    pub(super) fn new(roster: &Arc<Roster>, in_force: &Arc<InForce>) -> io::Result<Self> {
        let (tell, told) = mpsc::sync_channel(AT_ONCE + 1);
        Ok(Self {
            roster: Arc::clone(roster),
            in_force: Arc::clone(in_force),
            runtime: tokio::runtime::Builder::new_current_thread().build()?,
            anywhere: Feeds::anywhere(),
            fenced: (Feeds::public_or_in(&[]), Vec::new()),
            known: HashMap::new(),
            survey_s: 0,
            surveyed: None,
            holidays: Known::default(),
            under_way: HashSet::new(),
            tell,
            told,
        })
    }

    /// Starts the thread.
    pub(super) fn start(mut self, background: &mut Background) -> io::Result<()> {
        background.until_the_end("calendars", TICK, move |stop| self.work(stop))
    }

    /// Has read what is due until nothing is, or until the end comes.
    fn work(&mut self, stop: &Stop) {
        loop {
            let now_s = unix_s(self.in_force.clock);
            let config = self.in_force.config.load_full();
            if now_s >= self.survey_s {
                self.survey_s = now_s.saturating_add(5);
                self.survey(now_s);
            }
            self.send_for_holidays(&config, now_s);
            self.send_for_due(&config, now_s);
            if self.under_way.is_empty() {
                return;
            }
            let answer = self.told.recv_timeout(LOOKS_UP);
            if stop.is_over() {
                return;
            }
            if let Ok((whose, answer)) = answer {
                self.take(whose, answer);
            }
        }
    }

    /// Who has calendars now.
    fn survey(&mut self, now_s: i64) {
        let directory = &self.in_force.shared.directory;
        let changes = directory.changes();
        if self.surveyed.replace(changes) == Some(changes) {
            return;
        }
        let mut courtesy = Courtesy::default();
        let mut present: HashMap<String, Vec<String>> = HashMap::new();
        for (number, profile) in directory.profiles().enumerate() {
            if number % GIVES_WAY == 0 {
                courtesy.give_way();
            }
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
            self.roster.note_readings(&id, Vec::new());
            self.report(&id, Vec::new());
        }
        for (id, feeds) in present {
            let known = self.known.entry(id).or_default();
            if known.feeds != feeds {
                known.feeds = feeds;
                known.due_s = now_s;
                known.told.clear();
            }
        }
    }

    fn send_for_holidays(&mut self, config: &Config, now_s: i64) {
        let feeds = &config.presence.holidays;
        let is_due = self.holidays.feeds != *feeds || self.holidays.due_s <= now_s;
        let is_nothing = feeds.is_empty() && self.holidays.feeds.is_empty();
        if !is_due || is_nothing || self.under_way.contains(&Whose::House) {
            return;
        }
        self.holidays.feeds.clone_from(feeds);
        let every_s = i64::from(config.presence.calendar_refresh_s);
        self.holidays.due_s = now_s.saturating_add(every_s);
        let errand = Errand {
            feeds: feeds.clone(),
            client: self.anywhere.clone(),
            now_s,
            window: now_s.saturating_sub(HOLIDAYS_S)..now_s.saturating_add(HOLIDAYS_S),
            zone: None,
        };
        self.send(Whose::House, errand);
    }

    /// Has the calendars read that have been due the longest, as many at once as may be.
    fn send_for_due(&mut self, config: &Config, now_s: i64) {
        let networks = &config.presence.calendar_networks;
        if self.fenced.1 != *networks {
            self.fenced = (Feeds::public_or_in(networks), networks.clone());
        }
        let is_under_way = |id: &String| self.under_way.contains(&Whose::Subscriber(id.clone()));
        let (busy, idle): (Vec<_>, Vec<_>) =
            self.known.iter().partition(|(id, _)| is_under_way(id));
        let mut room = AT_ONCE.saturating_sub(busy.len());
        let troubled = busy.iter().filter(|(_, known)| !known.told.is_empty());
        let mut troubled_room = TROUBLED_AT_ONCE.saturating_sub(troubled.count());
        if room == 0 {
            return;
        }
        let mut due: Vec<_> = idle
            .into_iter()
            .filter(|(_, known)| known.due_s <= now_s)
            .map(|(id, known)| (known.due_s, id.clone(), !known.told.is_empty()))
            .collect();
        due.sort_unstable();
        let zone = self.in_force.shared.policy.load().zone.clone();
        for (_, id, is_troubled) in due {
            let seat = match is_troubled {
                true if troubled_room == 0 => continue,
                true => &mut troubled_room,
                false => &mut 1,
            };
            let Some(known) = self.known.get_mut(&id).filter(|_| room > 0) else {
                return;
            };
            room -= 1;
            *seat -= 1;
            let every_s = i64::from(config.presence.calendar_refresh_s);
            known.due_s = now_s.saturating_add(every_s);
            let errand = Errand {
                feeds: known.feeds.clone(),
                client: self.fenced.0.clone(),
                now_s,
                window: now_s..now_s.saturating_add(AHEAD_S),
                zone: Some(zone.iana_name().unwrap_or("UTC").to_owned()),
            };
            self.send(Whose::Subscriber(id), errand);
        }
    }

    /// Starts a thread that reads; it answers in any case.
    fn send(&mut self, whose: Whose, errand: Errand) {
        let (tell, of) = (self.tell.clone(), whose.clone());
        let thread = Builder::new().name("calendar".to_owned());
        let started = thread.spawn(move || {
            let read = catch_unwind(AssertUnwindSafe(|| errand.run()));
            let (read, readings) = read.unwrap_or_else(|_| errand.broken());
            let answer = Answer {
                feeds: errand.feeds,
                read,
                readings,
            };
            tell.send((of, answer)).ok();
        });
        match started {
            Ok(_) => drop(self.under_way.insert(whose)),
            Err(error) => tracing::warn!(%error, "a calendar is not read now"),
        }
    }

    fn take(&mut self, whose: Whose, answer: Answer) {
        self.under_way.remove(&whose);
        match whose {
            Whose::House => self.take_holidays(answer),
            Whose::Subscriber(id) => self.take_entries(&id, answer),
        }
    }

    /// While one of somebody's calendars cannot be read, what they said stays.
    fn take_entries(&mut self, id: &str, answer: Answer) {
        let Some(known) = self.known.get_mut(id) else {
            return;
        };
        if known.feeds != answer.feeds {
            return;
        }
        let fault = answer.fault();
        if fault != known.told {
            if fault.is_empty() {
                tracing::info!(subscriber = id, "the calendar can be read again");
            } else {
                tracing::warn!(subscriber = id, fault, "a calendar cannot be read");
            }
            known.told = fault;
        }
        self.roster.note_readings(id, answer.readings);
        let profile = self.in_force.shared.directory.get(id);
        if let (Some(Read::Entries(entries)), Some(profile)) = (answer.read, profile) {
            let statuses = &self.roster.house().statuses;
            let signals = calendar::signals(&entries, &profile.triggers(), statuses);
            self.report(id, signals);
        }
    }

    fn report(&self, id: &str, signals: Vec<Signal>) {
        let id = id.to_owned();
        let change = Change::ReportCalendar { id, signals };
        if let Err(error) = self.runtime.block_on(self.roster.change(change)) {
            tracing::warn!(%error, "what a calendar says was not kept");
        }
    }

    fn take_holidays(&mut self, answer: Answer) {
        if answer.feeds != self.holidays.feeds {
            return;
        }
        let fault = answer.fault();
        if fault != self.holidays.told {
            if !fault.is_empty() {
                tracing::warn!(fault, "the holidays cannot be read; those known stay");
            }
            self.holidays.told = fault;
        }
        self.roster.readings().note_holidays(answer.readings);
        if let Some(Read::Holidays(days)) = answer.read {
            self.in_force.observe(days);
            let house = HouseRules::clone(&self.in_force.shared.policy.load().house);
            self.runtime.block_on(self.roster.set_house(house));
        }
    }
}
