//! `pointsman agent`: tells the server whether somebody sits at this Linux desktop.
//!
//! logind's idle and lock hints (D-Bus) become the report of a client (`POST …/signals`), renewed
//! before it runs out and taken back at the end. It decides nothing: how many minutes and whether a
//! lock make a person away, is set with the person's triggers.

mod desk;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use ureq::http::Method;

use super::Setting;
use super::client::{Client, Connection, escape, set, text};
use super::exit::{CliError, Exit, Outcome};
use super::output::say;
use super::time;
use desk::{Desk, Logind};

/// The first pause before something is tried again; each further one is twice as long.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long the report may take to be withdrawn at the end.
const FAREWELL: Duration = Duration::from_secs(5);
/// How many renewals a report of somebody who is there outlives.
const RENEWALS: i32 = 3;
/// How long a computer that was left stays so without a word: it may sleep over a long weekend.
const LEFT: SignedDuration = SignedDuration::from_hours(7 * 24);

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pointsman agent --server https://phone.example.com --token-file ~/.config/pointsman/token
  pointsman agent --server http://127.0.0.1:8080 --token-file token --subscriber anna

The token is a subscriber's (`pointsman token create anna`), or the administrator's with
--subscriber. It can also stand in POINTSMAN_TOKEN. The desktop must tell logind when it is idle or
locked; `loginctl show-session -p IdleHint -p LockedHint` says what it tells. Away after how many
minutes, and whether a lock counts, is set on the page: Settings, Away. docs/agent.md has a unit for
systemd.

It tries again by itself when the server or the bus goes away, and ends with 5 when the server
refuses the token, with 1 when there is no system bus or no logind at its start.")]
pub(super) struct Agent {
    /// Address of the server, http:// or https:// [default: that of --api]
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Whose desktop this is, where the token is the administrator's
    #[arg(long, value_name = "ID")]
    subscriber: Option<String>,
    /// What this computer is called among the person's clients [default: made of /etc/machine-id]
    #[arg(long, value_name = "NAME")]
    client_id: Option<String>,
    /// Seconds between two reports where nothing changes
    #[arg(long, value_name = "SECONDS", default_value_t = 60,
          value_parser = clap::value_parser!(u32).range(1..=600))]
    renew: u32,
}

/// What is told, and to whom.
struct Teller {
    client: Arc<Client>,
    subscriber: Option<String>,
    client_id: String,
    title: String,
    renew: Duration,
    /// What the server knows.
    told: Option<Report>,
    /// Since when the computer is locked, as far as we saw.
    locked_since: Option<Timestamp>,
    /// The pause after a failure; none while all is well.
    pause: Option<Duration>,
}

/// What is said of the desk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Report {
    idle_since: Option<Timestamp>,
    locked_since: Option<Timestamp>,
}

/// SIGINT and SIGTERM.
struct Ending(Signal, Signal);

impl Agent {
    pub(super) fn run(&self, setting: &Setting) -> Outcome {
        let connection = Connection {
            api: self
                .server
                .clone()
                .unwrap_or(setting.connection.api.clone()),
            ..setting.connection.clone()
        };
        let client = Client::new(&connection)?;
        if client.has_open_token() {
            eprintln!(
                "{} is not encrypted: others on the way can read the token; use https://",
                client.base()
            );
        }
        let id = self.client_id.clone().map_or_else(machine, Ok)?;
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let mut teller = Teller {
            client: Arc::new(client),
            subscriber: self.subscriber.clone(),
            client_id: id,
            title: host.trim().to_owned(),
            renew: Duration::from_secs(self.renew.into()),
            told: None,
            locked_since: None,
            pause: None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| CliError::failed(error.to_string()))?;
        let outcome = runtime.block_on(teller.follow());
        runtime.shutdown_background();
        outcome
    }
}

impl Teller {
    /// Tells until a signal ends it, or the server refuses.
    async fn follow(&mut self) -> Outcome {
        let mut ending = Ending::new()?;
        let mut logind = Logind::connect().await.map_err(CliError::failed)?;
        loop {
            let outcome = tokio::select! {
                outcome = self.tell_of(&mut logind) => outcome?,
                () = ending.wait() => {
                    self.withdraw().await;
                    return Ok(Exit::Done);
                }
            };
            eprintln!("{outcome}; trying again");
            let mut pause = PAUSE;
            logind = loop {
                tokio::select! {
                    () = sleep(pause) => {}
                    () = ending.wait() => {
                        self.withdraw().await;
                        return Ok(Exit::Done);
                    }
                }
                match Logind::connect().await {
                    Ok(logind) => break logind,
                    Err(_) => pause = (pause * 2).min(LONGEST_PAUSE),
                }
            };
            say("logind answers again")?;
        }
    }

    /// Tells what logind tells, until logind is gone: why.
    ///
    /// # Errors
    /// The server refuses what is told.
    async fn tell_of(&mut self, logind: &mut Logind) -> Result<String, CliError> {
        let mut sessions = usize::MAX;
        loop {
            let desk = match logind.desk().await {
                Ok(desk) => desk,
                Err(fault) => return Ok(fault),
            };
            if desk.sessions == 0 && sessions != 0 {
                say("there is no graphical session of yours; nothing is told until there is one")?;
            }
            sessions = desk.sessions;
            let report = self.report(desk, logind.is_asleep());
            let next = self.tell(report).await?;
            if logind.is_asleep() {
                logind.let_sleep();
            } else {
                logind.hold_sleep().await;
            }
            let deadline = pin!(sleep_until(next));
            tokio::select! {
                is_there = logind.changed() => if !is_there {
                    return Ok("the system bus is gone".to_owned());
                },
                () = deadline => {}
            }
        }
    }

    /// What is to be told; `None` where there is nobody to tell of.
    fn report(&mut self, desk: Desk, is_asleep: bool) -> Option<Report> {
        let is_locked = desk.is_locked || is_asleep;
        self.locked_since = is_locked.then(|| self.locked_since.unwrap_or_else(time::wall));
        let idle_since = desk.idle_since_us.map(|us| {
            let us = i64::try_from(us).ok();
            us.and_then(|us| Timestamp::from_microsecond(us).ok())
                .unwrap_or_else(time::wall)
        });
        (desk.sessions > 0).then_some(Report {
            idle_since,
            locked_since: self.locked_since,
        })
    }

    /// Brings the server up to date; when to tell again.
    async fn tell(&mut self, report: Option<Report>) -> Result<Instant, CliError> {
        let outcome = match report {
            Some(report) => self.send(report).await,
            None if self.told.is_some() => self.delete().await,
            None => return Ok(soon(self.renew)),
        };
        match outcome {
            Ok(()) => {
                if self.pause.take().is_some() {
                    say(&format!("{} answers again", self.client.base()))?;
                }
                if self.told != report {
                    say(&format!("told: {}", words(report)))?;
                }
                self.told = report;
                Ok(soon(self.renew))
            }
            Err(error) if matches!(error.exit, Exit::Unreachable | Exit::Failed) => {
                if self.pause.is_none() {
                    let first = error.message.lines().next().unwrap_or_default();
                    eprintln!("{first}; trying again");
                }
                let pause = self.pause.map_or(PAUSE, |pause| pause * 2);
                self.pause = Some(pause.min(LONGEST_PAUSE));
                Ok(soon(pause.min(LONGEST_PAUSE)))
            }
            Err(error) => {
                let message = format!("the server refuses what the agent tells: {error}");
                Err(CliError::new(error.exit, message))
            }
        }
    }

    async fn send(&mut self, report: Report) -> Result<(), CliError> {
        let path = self.signals().await?;
        let until = if report.idle_since.is_some() || report.locked_since.is_some() {
            LEFT
        } else {
            SignedDuration::try_from(self.renew).unwrap_or(LEFT) * RENEWALS
        };
        let until = time::wall().saturating_add(until).unwrap_or(Timestamp::MAX);
        let mut signal = json!({
            "kind": "client", "id": self.client_id, "until": until.to_string(),
        });
        let instants = [
            ("idle_since", report.idle_since),
            ("locked_since", report.locked_since),
        ];
        for (key, instant) in instants {
            if let Some(instant) = instant {
                set(&mut signal, key, instant.to_string());
            }
        }
        if !self.title.is_empty() {
            set(&mut signal, "title", self.title.as_str());
        }
        self.ask(Method::POST, path, Some(signal)).await.map(drop)
    }

    async fn delete(&mut self) -> Result<(), CliError> {
        let path = format!(
            "{}/client/{}",
            self.signals().await?,
            escape(&self.client_id)
        );
        self.ask(Method::DELETE, path, None).await.map(drop)
    }

    /// Takes the report back, if there is one and the server answers soon.
    async fn withdraw(&mut self) {
        if self.told.is_none() {
            return;
        }
        match timeout(FAREWELL, self.delete()).await {
            Ok(Ok(())) => drop(say("told: nothing any more")),
            Ok(Err(error)) => eprintln!("the report could not be taken back: {error}"),
            Err(_) => eprintln!("the report could not be taken back: no answer"),
        }
    }

    /// Where reports go. The token says whose it is.
    async fn signals(&mut self) -> Result<String, CliError> {
        let subscriber = match &self.subscriber {
            Some(subscriber) => subscriber.clone(),
            None => {
                let path = "/api/v1/session".to_owned();
                let session = self.ask(Method::GET, path, None).await?;
                let id = text(&session, "id").to_owned();
                if id.is_empty() {
                    return Err(CliError::usage(
                        "the token is the administrator's; --subscriber says whose desktop this is",
                    ));
                }
                self.subscriber.insert(id).clone()
            }
        };
        Ok(format!(
            "/api/v1/subscribers/{}/signals",
            escape(&subscriber)
        ))
    }

    async fn ask(
        &self,
        method: Method,
        path: String,
        body: Option<Value>,
    ) -> Result<Value, CliError> {
        let client = Arc::clone(&self.client);
        let asking = tokio::task::spawn_blocking(move || client.json(method, &path, body.as_ref()));
        asking
            .await
            .unwrap_or_else(|error| Err(CliError::failed(error.to_string())))
    }
}

impl Ending {
    fn new() -> Result<Self, CliError> {
        let listen = |kind| signal(kind).map_err(|error| CliError::failed(error.to_string()));
        Ok(Self(
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
        ))
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}

fn soon(after: Duration) -> Instant {
    // The clock of the runtime, which is no time of day.
    Instant::now() + after
}

fn words(report: Option<Report>) -> String {
    match report {
        None => "nothing, there is no graphical session".to_owned(),
        Some(Report {
            locked_since: Some(since),
            ..
        }) => format!("locked since {since:.0}"),
        Some(Report {
            idle_since: Some(since),
            ..
        }) => format!("idle since {since:.0}"),
        Some(_) => "in use".to_owned(),
    }
}

/// A name for this computer that does not tell its machine id, which is nobody's business.
fn machine() -> Result<String, CliError> {
    let files = ["/etc/machine-id", "/var/lib/dbus/machine-id"];
    let mut found = files
        .iter()
        .filter_map(|file| std::fs::read_to_string(file).ok());
    let id = found.next().unwrap_or_default();
    if id.trim().is_empty() {
        let text = "this computer has no /etc/machine-id; name it with --client-id";
        return Err(CliError::failed(text));
    }
    let hash = Sha256::digest(format!("pointsman agent {}", id.trim()).as_bytes());
    let digits: String = hash.iter().take(8).map(|b| format!("{b:02x}")).collect();
    Ok(format!("agent-{digits}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn teller() -> Teller {
        let client = Client::new(&Connection {
            api: "http://127.0.0.1:1".to_owned(),
            token: None,
            token_file: None,
        });
        Teller {
            client: Arc::new(client.unwrap()),
            subscriber: None,
            client_id: "agent-1".to_owned(),
            title: String::new(),
            renew: Duration::from_secs(60),
            told: None,
            locked_since: None,
            pause: None,
        }
    }

    #[test]
    fn a_lock_and_a_sleep_count_from_when_they_were_seen() {
        let mut teller = teller();
        let used = Desk {
            sessions: 1,
            ..Desk::default()
        };
        let in_use = teller.report(used, false).unwrap();
        assert_eq!(words(Some(in_use)), "in use");
        let locked = Desk {
            is_locked: true,
            ..used
        };
        let first = teller.report(locked, false).unwrap().locked_since;
        assert!(first.is_some());
        assert_eq!(teller.report(locked, false).unwrap().locked_since, first);
        assert_eq!(teller.report(used, true).unwrap().locked_since, first);
        assert_eq!(teller.report(used, false), Some(in_use));
        assert_eq!(teller.report(Desk::default(), false), None);
    }

    #[test]
    fn idleness_is_told_since_when_logind_says() {
        let desk = Desk {
            sessions: 2,
            idle_since_us: Some(1_700_000_000_000_000),
            is_locked: false,
        };
        let report = teller().report(desk, false);
        assert_eq!(words(report), "idle since 2023-11-14T22:13:20Z");
    }
}
