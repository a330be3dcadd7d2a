//! How calendar feeds were read the last time: what a person is told beside the address.
//!
//! One [`Reading`] for each feed of each subscriber with calendars, and for those of the holidays.
//! They live as long as the process: a start reads every calendar anew.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::model::Language;

/// How many categories of one feed are offered.
pub const CATEGORIES_LIMIT: usize = 64;

/// Why a feed could not be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FeedFault {
    /// The server answers with this HTTP status.
    Status(u16),
    /// There is no such file, or it may not be read.
    File(String),
    /// Nobody answered in time.
    Timeout,
    /// There is no such host.
    NoHost,
    /// The server could not be reached.
    Unreachable(String),
    /// The server's certificate, or how it encrypts.
    Tls(String),
    /// It leads from https to where it could be read by others.
    InClear,
    /// It leads on and on.
    Redirects,
    /// This address is not on the public network.
    Fenced(String),
    /// It is larger than so many bytes.
    TooLarge(u64),
    /// It is text of another kind.
    NoCalendar,
    /// Something else, in the words of who met it.
    Other(String),
}

/// How one feed was read the last time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reading {
    /// Which: a URL with its secret, or a file.
    pub feed: String,
    /// When, in unix seconds.
    pub read_s: i64,
    /// What it said; what it said before, where it cannot be read.
    pub found: Found,
    /// Why it cannot be read, and since when in unix seconds.
    pub fault: Option<(FeedFault, i64)>,
}

/// What a calendar said.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// How many events it has altogether.
    pub events: usize,
    /// How many occurrences count now or soon; for holidays, how many days.
    pub entries: usize,
    /// The categories of its events, in their order; at most [`CATEGORIES_LIMIT`].
    pub categories: Vec<String>,
}

/// The last reading of every feed.
#[derive(Debug, Default)]
pub struct Readings {
    of_subscribers: Mutex<HashMap<String, Vec<Reading>>>,
    holidays: Mutex<Vec<Reading>>,
}

impl Readings {
    /// Of a subscriber's feeds, in the order in which they were named.
    pub fn of(&self, id: &str) -> Vec<Reading> {
        let all = self.of_subscribers.lock();
        let all = all.unwrap_or_else(PoisonError::into_inner);
        all.get(id).cloned().unwrap_or_default()
    }

    /// Of the feeds of the holidays.
    pub fn holidays(&self) -> Vec<Reading> {
        let holidays = self.holidays.lock();
        holidays.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many people have a feed that cannot be read.
    pub fn troubled(&self) -> usize {
        let all = self.of_subscribers.lock();
        let all = all.unwrap_or_else(PoisonError::into_inner);
        let is_troubled = |readings: &&Vec<Reading>| readings.iter().any(|r| r.fault.is_some());
        all.values().filter(is_troubled).count()
    }

    /// Notes how a subscriber's feeds were read; none forgets them. Whether the person is told
    /// something else than before, times aside.
    pub(super) fn note(&self, id: &str, readings: Vec<Reading>) -> bool {
        let all = self.of_subscribers.lock();
        let mut all = all.unwrap_or_else(PoisonError::into_inner);
        if readings.is_empty() {
            return all.remove(id).is_some();
        }
        let before = all.insert(id.to_owned(), Vec::new()).unwrap_or_default();
        let readings = continued(readings, &before);
        let is_other = !readings.iter().map(told).eq(before.iter().map(told));
        all.insert(id.to_owned(), readings);
        is_other
    }

    /// Notes how the feeds of the holidays were read.
    pub fn note_holidays(&self, readings: Vec<Reading>) {
        let holidays = self.holidays.lock();
        let mut holidays = holidays.unwrap_or_else(PoisonError::into_inner);
        *holidays = continued(readings, &holidays);
    }
}

/// A fault lasts since it began, and what was found before stays.
fn continued(mut readings: Vec<Reading>, before: &[Reading]) -> Vec<Reading> {
    for reading in &mut readings {
        let was = before.iter().find(|was| was.feed == reading.feed);
        let (Some((_, since_s)), Some(was)) = (&mut reading.fault, was) else {
            continue;
        };
        reading.found.clone_from(&was.found);
        if let Some((_, before_s)) = was.fault {
            *since_s = before_s;
        }
    }
    readings
}

fn told(reading: &Reading) -> impl PartialEq + '_ {
    let fault = reading.fault.as_ref().map(|(fault, _)| fault);
    (&reading.feed, &reading.found, fault)
}

impl FeedFault {
    /// A short name for programs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Status(_) => "status",
            Self::File(_) => "file",
            Self::Timeout => "timeout",
            Self::NoHost => "no_host",
            Self::Unreachable(_) => "unreachable",
            Self::Tls(_) => "tls",
            Self::InClear => "in_clear",
            Self::Redirects => "redirects",
            Self::Fenced(_) => "not_public",
            Self::TooLarge(_) => "too_large",
            Self::NoCalendar => "no_calendar",
            Self::Other(_) => "other",
        }
    }

    /// What is wrong, for people; nothing of the feed's address but its host.
    pub fn text(&self, language: Language) -> String {
        match language {
            Language::De => self.german(),
            Language::En => self.english(),
        }
    }

    fn english(&self) -> String {
        match self {
            Self::Status(status @ (401 | 403)) => {
                format!("the server does not give it out ({status}): is the address still right?")
            }
            Self::Status(status @ (404 | 410)) => {
                format!("there is no such calendar any more ({status})")
            }
            Self::Status(status) => format!("the server answers {status}"),
            Self::File(error) => format!("the file cannot be read: {error}"),
            Self::Timeout => "the server does not answer in time".to_owned(),
            Self::NoHost => "there is no host of that name".to_owned(),
            Self::Unreachable(error) => format!("the server cannot be reached: {error}"),
            Self::Tls(error) => format!("the server's certificate is not accepted: {error}"),
            Self::InClear => "it leads on to an address without https".to_owned(),
            Self::Redirects => "the server leads on and on to other addresses".to_owned(),
            Self::Fenced(address) => format!(
                "{address} is not on the public network, and calendars that people name are not \
                 read from elsewhere; the administrator allows it by presence.calendar_networks"
            ),
            Self::TooLarge(limit) => format!("it is larger than {} MiB", limit >> 20),
            Self::NoCalendar => "what is there is no iCalendar text (RFC 5545)".to_owned(),
            Self::Other(error) => error.clone(),
        }
    }

    fn german(&self) -> String {
        match self {
            Self::Status(status @ (401 | 403)) => {
                format!("der Server gibt ihn nicht heraus ({status}): Stimmt die Adresse noch?")
            }
            Self::Status(status @ (404 | 410)) => {
                format!("diesen Kalender gibt es nicht mehr ({status})")
            }
            Self::Status(status) => format!("der Server antwortet mit {status}"),
            Self::File(error) => format!("die Datei lässt sich nicht lesen: {error}"),
            Self::Timeout => "der Server antwortet nicht rechtzeitig".to_owned(),
            Self::NoHost => "es gibt keinen Rechner dieses Namens".to_owned(),
            Self::Unreachable(error) => format!("der Server ist nicht erreichbar: {error}"),
            Self::Tls(error) => {
                format!("das Zertifikat des Servers wird nicht anerkannt: {error}")
            }
            Self::InClear => "die Adresse leitet auf eine ohne https weiter".to_owned(),
            Self::Redirects => "der Server leitet immer wieder weiter".to_owned(),
            Self::Fenced(address) => format!(
                "{address} liegt nicht im öffentlichen Netz, und von anderswo werden Kalender, die \
                 jemand selbst nennt, nicht gelesen; die Verwaltung erlaubt es mit \
                 presence.calendar_networks"
            ),
            Self::TooLarge(limit) => format!("er ist größer als {} MiB", limit >> 20),
            Self::NoCalendar => "dort steht kein Kalender im Format iCalendar".to_owned(),
            Self::Other(error) => error.clone(),
        }
    }
}

impl fmt::Display for FeedFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.english())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(at_s: i64, fault: Option<FeedFault>) -> Reading {
        let entries = usize::from(fault.is_none());
        Reading {
            feed: "https://cal.example.com/key".to_owned(),
            read_s: at_s,
            found: Found {
                entries,
                ..Found::default()
            },
            fault: fault.map(|fault| (fault, at_s)),
        }
    }

    #[test]
    fn a_fault_is_told_once_and_lasts_since_it_began() {
        let readings = Readings::default();
        assert!(readings.note("anna", vec![reading(10, None)]));
        assert!(!readings.note("anna", vec![reading(20, None)]));
        let gone = || Some(FeedFault::Status(404));
        assert!(readings.note("anna", vec![reading(30, gone())]));
        assert!(!readings.note("anna", vec![reading(40, gone())]));
        assert_eq!(readings.troubled(), 1);
        let told = readings.of("anna");
        assert_eq!(told[0].fault, Some((FeedFault::Status(404), 30)));
        assert_eq!((told[0].read_s, told[0].found.entries), (40, 1));
        assert!(readings.note("anna", vec![reading(50, None)]));
        assert_eq!(readings.troubled(), 0);
        assert!(readings.note("anna", Vec::new()));
        assert_eq!(readings.of("anna"), []);
    }
}
