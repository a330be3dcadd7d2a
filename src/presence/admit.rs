//! What a change must satisfy before it goes to the writer: told by the caller's own thread.

use jiff::Timestamp;

use super::change::{Change, ChangeError};
use super::exceptions::Exceptions;
use super::layers::Signal;
use super::model::{Problem, Problems, Settings, Status, StatusSettings, Subscriber};
use super::own;
use super::profile::Profile;
use super::roster::Roster;
use super::validate;

impl Roster {
    /// What can be told without knowing the other subscribers is told by the caller's own thread.
    pub(super) fn check(&self, change: Change) -> Result<Change, ChangeError> {
        match change {
            Change::Put {
                subscriber,
                if_version,
                source,
            } => {
                let subscriber = self.checked(*subscriber)?;
                Ok(Change::Put {
                    subscriber: Box::new(subscriber),
                    if_version,
                    source,
                })
            }
            Change::Create { subscriber, source } => {
                let subscriber = self.checked(*subscriber)?;
                Ok(Change::Create {
                    subscriber: Box::new(subscriber),
                    source,
                })
            }
            Change::PutSettings {
                id,
                part,
                settings,
                if_version,
            } => {
                self.check_part(&id, &part)?;
                let settings = Box::new(settings.validate().map_err(ChangeError::Invalid)?);
                self.check_part_targets(&settings)?;
                Ok(Change::PutSettings {
                    id,
                    part,
                    settings,
                    if_version,
                })
            }
            Change::SetStatus {
                id,
                status,
                own_status,
                message,
                until,
                hold,
                source,
                if_version,
            } => {
                let status = self.settled(status, own_status.as_deref(), "status")?;
                self.check_status(status, message.as_deref(), until)?;
                let message = message.filter(|message| !message.is_empty());
                let until = until.map(|until| validate::whole_seconds(until, true));
                Ok(Change::SetStatus {
                    id,
                    status,
                    own_status,
                    message,
                    until,
                    hold,
                    source,
                    if_version,
                })
            }
            other => self.check_layer(other),
        }
    }

    /// The same for what stands beside the chosen status.
    fn check_layer(&self, change: Change) -> Result<Change, ChangeError> {
        match change {
            Change::Overrule {
                id,
                order: Some(mut order),
                if_version,
            } => {
                order.status = self.settled(order.status, order.own_status.as_deref(), "status")?;
                self.check_status(order.status, order.message.as_deref(), order.until)?;
                let order = Some(Box::new(order.normal()));
                Ok(Change::Overrule {
                    id,
                    order,
                    if_version,
                })
            }
            Change::Report { id, signal } => self.check_signal(id, *signal),
            Change::PutHours {
                id,
                hours,
                if_version,
            } => {
                if let Some(week) = &hours {
                    let mut problems = self.unknown(&id, &week.own_mentions(""));
                    problems.extend(week.problems(""));
                    refuse(problems)?;
                }
                Ok(Change::PutHours {
                    id,
                    hours,
                    if_version,
                })
            }
            Change::PutExceptions {
                id,
                exceptions,
                if_version,
            } => {
                let exceptions = Box::new(exceptions.validate().map_err(ChangeError::Invalid)?);
                let mut problems = self.denied(&Settings::default(), &exceptions);
                for problem in &mut problems {
                    problem.field = problem.field.replacen("exceptions.", "", 1);
                }
                refuse(problems)?;
                Ok(Change::PutExceptions {
                    id,
                    exceptions,
                    if_version,
                })
            }
            Change::PutTriggers {
                id,
                triggers,
                if_version,
            } => {
                refuse(self.unknown(&id, &triggers.own_mentions("")))?;
                let triggers = Box::new(triggers.validate().map_err(ChangeError::Invalid)?);
                Ok(Change::PutTriggers {
                    id,
                    triggers,
                    if_version,
                })
            }
            other => Ok(other),
        }
    }

    fn check_signal(&self, id: String, mut signal: Signal) -> Result<Change, ChangeError> {
        if signal.is_of_hours() {
            let text = "names the hours that the server follows; use another id";
            refuse(vec![Problem::new("id", text)])?;
        }
        if let Some(own) = &signal.own_status {
            signal.status = Some(self.settled(Status::Away, Some(own), "status")?);
        }
        let signal = signal.validate().map_err(ChangeError::Invalid)?;
        if signal.is_over((self.clock)().as_second()) {
            refuse(vec![Problem::new("until", "lies in the past")])?;
        }
        let signal = Box::new(signal);
        Ok(Change::Report { id, signal })
    }

    /// Own statuses that are named and that there are not, unless the document named them before.
    fn unknown(&self, id: &str, mentions: &[(String, String)]) -> Vec<Problem> {
        let current = self.directory.get(id);
        let current = current.map(|profile| profile.to_subscriber());
        own::unknown(mentions, current.as_ref(), &self.house.load().statuses)
    }

    /// A whole document: own statuses there are, everything else allowed, and digests in place of
    /// a password.
    fn checked(&self, mut subscriber: Subscriber) -> Result<Subscriber, ChangeError> {
        let house = self.house.load();
        let mut problems = self.unknown(&subscriber.id, &subscriber.own_mentions());
        subscriber.settle(&house.statuses);
        let checked = subscriber.validate(&self.plan).map_err(|more| {
            problems.extend(more.0);
            ChangeError::Invalid(Problems(std::mem::take(&mut problems)))
        })?;
        problems.extend(self.denied(&checked.settings, &checked.exceptions));
        refuse(problems)?;
        Ok(checked.with_digests(&self.hashing.load()))
    }

    /// Forwardings whose targets the administrator does not allow.
    fn denied(&self, settings: &Settings, exceptions: &Exceptions) -> Vec<Problem> {
        let house = self.house.load();
        if house.targets.is_empty() {
            return Vec::new();
        }
        let document = Subscriber {
            settings: settings.clone(),
            exceptions: exceptions.clone(),
            ..Subscriber::default()
        };
        let profile = Profile::under(&house, &document, &self.plan, 0);
        house.refused(&profile, &self.directory, &self.plan)
    }

    fn check_part_targets(&self, settings: &StatusSettings) -> Result<(), ChangeError> {
        let alone = Settings {
            all: settings.clone(),
            ..Settings::default()
        };
        let mut problems = self.denied(&alone, &Exceptions::default());
        for problem in &mut problems {
            problem.field = problem.field.replacen("settings.all.", "", 1);
        }
        refuse(problems)
    }

    /// Settings stand under `all`, the five, and own statuses that there are or were.
    fn check_part(&self, id: &str, part: &str) -> Result<(), ChangeError> {
        let house = self.house.load();
        let is_known = Settings::PARTS.contains(&part) || house.statuses.get(part).is_some();
        let is_left = || {
            let profile = self.directory.get(id);
            profile.is_some_and(|profile| profile.settings().own.contains_key(part))
        };
        if is_known || is_left() {
            return Ok(());
        }
        let text = format!(
            "there is no status `{part}`; use {}",
            house.statuses.choices()
        );
        refuse(vec![Problem::new("status", text)])
    }

    /// The status that an own status stands for, which must be there.
    fn settled(
        &self,
        status: Status,
        own: Option<&str>,
        field: &str,
    ) -> Result<Status, ChangeError> {
        let house = self.house.load();
        let Some(id) = own else {
            return Ok(status);
        };
        match house.statuses.get(id) {
            Some(own) => Ok(own.class.status()),
            None => {
                let text = format!(
                    "there is no status `{id}`; use {}",
                    house.statuses.choices()
                );
                Err(ChangeError::Invalid(Problems(vec![Problem::new(
                    field, text,
                )])))
            }
        }
    }

    fn check_status(
        &self,
        status: Status,
        message: Option<&str>,
        until: Option<Timestamp>,
    ) -> Result<(), ChangeError> {
        let mut problems = Vec::new();
        validate::check_status(status, &mut problems);
        if let Some(problem) = problems.pop() {
            return Err(ChangeError::Refused(problem.text));
        }
        validate::check_message("message", message.unwrap_or_default(), &mut problems);
        if until.is_some_and(|until| until <= (self.clock)()) {
            problems.push(Problem::new("until", "lies in the past"));
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(ChangeError::Invalid(Problems(problems)))
        }
    }
}

fn refuse(problems: Vec<Problem>) -> Result<(), ChangeError> {
    match problems.is_empty() {
        true => Ok(()),
        false => Err(ChangeError::Invalid(Problems(problems))),
    }
}
