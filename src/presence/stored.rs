//! A subscriber as the store keeps it, and the way from the store into the directory.

use std::borrow::Cow;
use std::fmt;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::directory::{Directory, PutError};
use super::exceptions::Exceptions;
use super::hours::WorkWeek;
use super::house::HouseRules;
use super::layers::{Override, Signal, Triggers};
use super::model::{Language, Settings, Source, Status, Subscriber};
use super::numbers::NumberPlan;
use super::password::PasswordWish;
use super::profile::Profile;
use super::visibility::Visibility;
use crate::auth::Credentials;
use crate::store::{Store, StoreError};

/// The form of the stored value; a later form has a greater number and reads the earlier ones.
const FORMAT: u64 = 1;
/// The same with the digests of a password, under `credentials`.
const FORMAT_WITH_CREDENTIALS: u64 = 2;
/// How many documents travel together from one thread to the next.
const BATCH: usize = 512;
/// How many such batches wait at most.
const WAITING: usize = 64;

/// Keys and values as the store hands them over.
type Raw = Vec<(String, Vec<u8>)>;
type Parsed = Result<Vec<Profile>, LoadError>;

/// Why the subscribers could not be loaded. The store is as it was.
#[derive(Debug)]
pub enum LoadError {
    /// The store failed.
    Store(StoreError),
    /// A document cannot be read.
    Document {
        /// Whose.
        id: String,
        /// What is wrong with it.
        fault: String,
    },
    /// No thread could be started.
    Thread(std::io::Error),
}

/// The bytes that the store keeps for a subscriber.
pub(super) fn to_stored(subscriber: &Subscriber) -> Result<Vec<u8>, String> {
    #[derive(Serialize)]
    struct Stored<'a> {
        format: u64,
        version: u64,
        subscriber: &'a Subscriber,
        #[serde(skip_serializing_if = "Option::is_none")]
        credentials: Option<&'a Credentials>,
    }
    let credentials = subscriber.password.credentials();
    let stored = Stored {
        format: credentials.map_or(FORMAT, |_| FORMAT_WITH_CREDENTIALS),
        version: subscriber.version,
        subscriber,
        credentials,
    };
    serde_json::to_vec(&stored).map_err(|error| error.to_string())
}

/// The same for reading; what it refuses is read again with errors that name the key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored<'a> {
    format: u64,
    version: u64,
    #[serde(borrow)]
    subscriber: Document<'a>,
    #[serde(default)]
    credentials: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    display_name: Cow<'a, str>,
    #[serde(default)]
    aliases: Vec<String>,
    language: Option<Language>,
    status: Status,
    own_status: Option<String>,
    status_message: Option<String>,
    until: Option<Timestamp>,
    source: Option<Source>,
    since: Option<Timestamp>,
    #[serde(default, rename = "version")]
    _version: u64,
    #[serde(default)]
    settings: Settings,
    #[serde(default)]
    exceptions: Exceptions,
    #[serde(default)]
    hold: bool,
    #[serde(rename = "override")]
    overruled: Option<Override>,
    hours: Option<WorkWeek>,
    #[serde(default)]
    signals: Vec<Signal>,
    #[serde(default)]
    triggers: Triggers,
    #[serde(default)]
    calendars: Vec<String>,
    #[serde(default)]
    teams: Vec<String>,
    #[serde(default)]
    visibility: Visibility,
    #[serde(default)]
    delegates: Vec<String>,
}

/// The subscriber of such bytes.
pub(super) fn from_stored(value: &[u8]) -> Result<Subscriber, String> {
    match serde_json::from_slice::<Stored<'_>>(value) {
        Ok(Stored {
            format: FORMAT | FORMAT_WITH_CREDENTIALS,
            version,
            subscriber,
            credentials,
        }) => Ok(Subscriber {
            id: subscriber.id.into_owned(),
            display_name: subscriber.display_name.into_owned(),
            aliases: subscriber.aliases,
            language: subscriber.language,
            status: subscriber.status,
            own_status: subscriber.own_status,
            status_message: subscriber.status_message,
            until: subscriber.until,
            source: subscriber.source,
            since: subscriber.since,
            version,
            settings: subscriber.settings,
            exceptions: subscriber.exceptions,
            hold: subscriber.hold,
            overruled: subscriber.overruled,
            hours: subscriber.hours,
            signals: subscriber.signals,
            triggers: subscriber.triggers,
            calendars: subscriber.calendars,
            teams: subscriber.teams,
            visibility: subscriber.visibility,
            delegates: subscriber.delegates,
            password: kept(credentials.as_ref())?,
        }),
        _ => from_any_stored(value),
    }
}

fn from_any_stored(value: &[u8]) -> Result<Subscriber, String> {
    let stored: Value = serde_json::from_slice(value).map_err(|error| error.to_string())?;
    match stored.get("format").and_then(Value::as_u64) {
        Some(FORMAT | FORMAT_WITH_CREDENTIALS) => {}
        Some(other) => return Err(format!("format {other} is of a later version of pointsman")),
        None => return Err("it says no format".to_owned()),
    }
    let document = stored.get("subscriber").unwrap_or(&Value::Null);
    let subscriber = Subscriber::from_json(document).map_err(|problems| problems.to_string())?;
    let version = stored
        .get("version")
        .and_then(Value::as_u64)
        .unwrap_or_default();
    Ok(Subscriber {
        version,
        password: kept(stored.get("credentials"))?,
        ..subscriber
    })
}

fn kept(credentials: Option<&Value>) -> Result<PasswordWish, String> {
    let Some(value) = credentials else {
        return Ok(PasswordWish::Unsaid);
    };
    Credentials::from_json(value)
        .map(PasswordWish::Digests)
        .map_err(|(key, fault)| format!("credentials.{key}: {fault}"))
}

/// The key under which the store keeps a subscriber.
pub(super) fn store_key(id: &str) -> String {
    id.to_ascii_lowercase()
}

/// Puts every stored subscriber into the directory. The greatest version found.
///
/// Reading, parsing and putting go on at the same time, parsing on every core.
pub(super) fn load(
    store: &dyn Store,
    directory: &Directory,
    (plan, house): (&NumberPlan, &HouseRules),
    now_unix_s: i64,
) -> Result<u64, LoadError> {
    let parsers = thread::available_parallelism().map_or(1, |cores| cores.get().min(16));
    let (raw_sender, raw) = sync_channel::<Raw>(WAITING);
    let (sender, parsed) = sync_channel::<Parsed>(WAITING);
    let raw = Mutex::new(raw);
    thread::scope(|scope| {
        for _ in 0..parsers {
            let (raw, sender) = (&raw, sender.clone());
            scope.spawn(move || parse(raw, &sender, (plan, house), now_unix_s));
        }
        drop(sender);
        let putting = scope.spawn(move || put_all(&parsed, directory));
        let read = read(store, raw_sender);
        let put = putting
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        read.map_err(LoadError::Store)?;
        put
    })
}

fn read(store: &dyn Store, sender: SyncSender<Raw>) -> Result<(), StoreError> {
    let mut batch = Vec::with_capacity(BATCH);
    store.load(&mut |key, value| {
        // No id has a colon: what stands under such a key, as a token of the API, is not ours.
        if key.contains(':') {
            return;
        }
        batch.push((key.to_owned(), value.to_vec()));
        if batch.len() == BATCH {
            let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
            sender.send(full).ok();
        }
    })?;
    sender.send(batch).ok();
    Ok(())
}

fn parse(
    raw: &Mutex<Receiver<Raw>>,
    parsed: &SyncSender<Parsed>,
    (plan, house): (&NumberPlan, &HouseRules),
    now_unix_s: i64,
) {
    loop {
        let received = raw.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(batch) = received else {
            return;
        };
        let profiles = batch.into_iter().map(|(id, value)| {
            from_stored(&value)
                .map(|subscriber| Profile::under(house, &subscriber, plan, now_unix_s))
                .map_err(|fault| LoadError::Document { id, fault })
        });
        parsed.send(profiles.collect()).ok();
    }
}

/// Goes on to the end after an error, so that nobody waits for ever; the first one is told.
fn put_all(parsed: &Receiver<Parsed>, directory: &Directory) -> Result<u64, LoadError> {
    let mut result = Ok(0);
    for profiles in parsed {
        result = result.and_then(|mut greatest: u64| {
            for profile in profiles? {
                let (id, version) = (profile.id().to_owned(), profile.version());
                directory
                    .put_profile(Arc::new(profile))
                    .map_err(|error| not_put(id, &error))?;
                greatest = greatest.max(version);
            }
            Ok(greatest)
        });
    }
    result
}

fn not_put(id: String, error: &PutError) -> LoadError {
    LoadError::Document {
        id,
        fault: error.to_string(),
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Document { id, fault } => {
                write!(f, "the stored subscriber `{id}` cannot be read: {fault}")
            }
            Self::Thread(error) => write!(f, "cannot start a thread: {error}"),
        }
    }
}

impl std::error::Error for LoadError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::{Memory, Write};

    fn write(store: &Memory, id: &str, value: &[u8]) {
        let put = Write::Put {
            key: store_key(id),
            value: value.to_vec(),
        };
        store.write(&[put]).unwrap();
    }

    fn loaded(store: &Memory) -> Result<(Directory, u64), String> {
        let directory = Directory::new(1);
        let plan = crate::presence::sample::plan();
        let greatest = load(store, &directory, (&plan, &HouseRules::default()), 0)
            .map_err(|error| error.to_string())?;
        Ok((directory, greatest))
    }

    #[test]
    fn every_stored_subscriber_is_in_the_directory() {
        let store = Memory::new([0; 32]);
        for n in 0..2_000u64 {
            let id = format!("s{n}");
            let subscriber = Subscriber {
                id: id.clone(),
                version: n,
                ..Subscriber::default()
            };
            write(&store, &id, &to_stored(&subscriber).unwrap());
        }
        let (directory, greatest) = loaded(&store).unwrap();
        assert_eq!((directory.len(), greatest), (2_000, 1_999));
        assert_eq!(directory.get("s1234").unwrap().version(), 1234);
    }

    #[test]
    fn a_document_that_cannot_be_read_is_named() {
        for (value, fault) in [
            ("{", "EOF"),
            ("{}", "it says no format"),
            (r#"{"format":3}"#, "format 3 is of a later version"),
            (
                r#"{"format":1,"subscriber":{"id":"x","stat":1}}"#,
                "stat: unknown key",
            ),
        ] {
            let store = Memory::new([0; 32]);
            write(&store, "x", value.as_bytes());
            let error = loaded(&store).unwrap_err();
            assert!(
                error.starts_with("the stored subscriber `x` cannot be read: "),
                "{error}"
            );
            assert!(error.contains(fault), "{error}");
        }
    }

    proptest! {
        #[test]
        fn a_stored_subscriber_reads_back(
            all in crate::presence::sample::subscribers(), version in any::<u64>(),
        ) {
            for subscriber in all {
                let subscriber = Subscriber { version, ..subscriber };
                let stored = to_stored(&subscriber).unwrap();
                prop_assert!(serde_json::from_slice::<Stored<'_>>(&stored).is_ok());
                prop_assert_eq!(&from_any_stored(&stored).unwrap(), &subscriber);
                prop_assert_eq!(from_stored(&stored).unwrap(), subscriber);
            }
        }
    }
}
