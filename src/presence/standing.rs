//! Which status is in force at a time, and why: the highest of a profile's layers.

use super::hours::{HOURS_SIGNAL, Segment, WorkHours};
use super::layers::{Claim, Signal, SignalKind, StatusLayer, reachability};
use super::model::{Source, Status};
use super::own::{BaseStatus, OwnName};
use super::profile::Profile;

/// The base status in force at a time, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing<'p> {
    /// The highest layer that is present.
    pub layer: StatusLayer,
    /// What it says.
    pub status: Status,
    /// The own status that it stands for.
    pub own: Option<OwnName>,
    /// What was given with it.
    pub message: Option<&'p str>,
    /// When it ends, in unix seconds.
    pub until_unix_s: Option<i64>,
    /// Since when it holds, in unix seconds.
    pub since_unix_s: Option<i64>,
    /// Who says so.
    pub source: Option<Source>,
    /// An event, a client's state or a person that it goes back to; empty for a choice.
    pub cause: &'p str,
    /// The id of the signal that says so, where one does.
    pub event: Option<&'p str>,
}

impl Profile {
    /// The base status in force at that time.
    pub fn status_at(&self, now_unix_s: i64) -> Status {
        self.base_at(now_unix_s).status
    }

    /// The base status in force at that time, with the own status that it stands for.
    pub fn base_at(&self, now_unix_s: i64) -> BaseStatus {
        let (status, layer) = self.choice(now_unix_s);
        match self.automatic(now_unix_s) {
            Some(standing) if standing.layer < layer => standing.base(),
            _ => BaseStatus {
                status,
                own: self.chosen_own(now_unix_s),
            },
        }
    }

    /// The base status in force at that time, and why.
    pub fn standing(&self, now_unix_s: i64) -> Standing<'_> {
        let (_, layer) = self.choice(now_unix_s);
        match self.automatic(now_unix_s) {
            Some(standing) if standing.layer < layer => standing,
            _ => self.chosen(now_unix_s),
        }
    }

    /// Every layer that is present at that time, the highest first.
    pub fn standings(&self, now_unix_s: i64) -> Vec<Standing<'_>> {
        let claims = self.claims().iter();
        let mut present: Vec<Standing<'_>> = claims
            .filter(|claim| claim.is_present(now_unix_s))
            .map(Claim::standing)
            .collect();
        if let Some(hours) = self.by_hours(now_unix_s) {
            let at = present.partition_point(|standing| standing.rank() <= hours.rank());
            present.insert(at, hours);
        }
        let chosen = self.chosen(now_unix_s);
        let at = present.partition_point(|standing| standing.layer < chosen.layer);
        present.insert(at, chosen);
        present
    }

    /// The signal that tells what the hours say at that time, and by which it is dismissed.
    pub fn hours_signal(&self, now_unix_s: i64) -> Option<Signal> {
        let hours = self.hours()?;
        let segment = hours.segment(now_unix_s);
        let base = hours.schedule.status(segment.kind)?;
        let second = |at: i64| jiff::Timestamp::from_second(at).ok();
        Some(Signal {
            kind: SignalKind::Schedule,
            id: HOURS_SIGNAL.to_owned(),
            title: Some(segment.kind.name().to_owned()),
            status: Some(base.status),
            own_status: base.own.map(|own| own.id().to_owned()),
            from: second(segment.from_s),
            until: second(segment.until_s),
            idle_since: None,
            locked_since: None,
            dismissed: now_unix_s < hours.dismissed_until_s,
            source: Source::Trigger,
        })
    }

    /// What comes by itself, the highest of it.
    fn automatic(&self, now_unix_s: i64) -> Option<Standing<'_>> {
        let mut claims = self.claims().iter();
        let claim = claims.find(|claim| claim.is_present(now_unix_s));
        let claimed = claim.map(Claim::standing);
        if self.hours().is_none() || claim.is_some_and(|claim| claim.layer < StatusLayer::Schedule)
        {
            return claimed;
        }
        let hours = self.by_hours(now_unix_s);
        match (claimed, hours) {
            (Some(claimed), Some(hours)) if hours.rank() < claimed.rank() => Some(hours),
            (claimed, hours) => claimed.or(hours),
        }
    }

    fn by_hours(&self, now_unix_s: i64) -> Option<Standing<'_>> {
        let hours = self.hours()?;
        if now_unix_s < hours.dismissed_until_s {
            return None;
        }
        let Segment {
            kind,
            from_s,
            until_s,
        } = hours.segment(now_unix_s);
        let base = hours.schedule.status(kind)?;
        Some(Standing {
            layer: StatusLayer::Schedule,
            status: base.status,
            own: base.own,
            message: None,
            until_unix_s: Some(until_s),
            since_unix_s: Some(from_s).filter(|at| *at != i64::MIN),
            source: Some(Source::Trigger),
            cause: kind.name(),
            event: Some(HOURS_SIGNAL),
        })
    }

    /// The choice, or that there is none any more.
    fn chosen(&self, now_unix_s: i64) -> Standing<'_> {
        if self.is_expired(now_unix_s) {
            return Standing::AVAILABLE;
        }
        let (status, layer) = self.choice(now_unix_s);
        Standing {
            layer,
            status,
            own: self.chosen_own(now_unix_s),
            message: self.status_message(),
            until_unix_s: self.until_unix_s(),
            since_unix_s: self.since().map(jiff::Timestamp::as_second),
            source: self.source(),
            cause: "",
            event: None,
        }
    }

    /// What was chosen and has not ended, and the layer it belongs to.
    fn choice(&self, now_unix_s: i64) -> (Status, StatusLayer) {
        if self.is_expired(now_unix_s) {
            (Status::Available, StatusLayer::Available)
        } else {
            let layer = StatusLayer::of_choice(self.status(), self.is_held());
            (self.status(), layer)
        }
    }
}

impl Standing<'_> {
    /// Where nothing is chosen and nothing claims anything.
    const AVAILABLE: Self = Self {
        layer: StatusLayer::Available,
        status: Status::Available,
        own: None,
        message: None,
        until_unix_s: None,
        since_unix_s: None,
        source: None,
        cause: "",
        event: None,
    };

    /// The status, with the own status that it stands for.
    pub const fn base(&self) -> BaseStatus {
        BaseStatus {
            status: self.status,
            own: self.own,
        }
    }

    /// Of two the smaller one counts.
    const fn rank(&self) -> (StatusLayer, u8) {
        (self.layer, reachability(self.status))
    }
}

impl Claim {
    fn standing(&self) -> Standing<'_> {
        Standing {
            layer: self.layer,
            status: self.status,
            own: self.own,
            message: self.message.as_deref(),
            // When a silent client is forgotten is not the end that anybody waits for.
            until_unix_s: Some(self.until_s)
                .filter(|at| *at != i64::MAX && self.layer != StatusLayer::Idle),
            since_unix_s: Some(self.from_s).filter(|at| *at != i64::MIN),
            source: Some(self.source),
            cause: &self.cause,
            event: self.event.as_deref(),
        }
    }
}

impl WorkHours {
    /// What the hours say at a moment; mostly this was found out when the profile was made.
    pub fn segment(&self, now_unix_s: i64) -> Segment {
        match self.current.holds(now_unix_s) {
            true => self.current,
            false => self.schedule.segment(now_unix_s),
        }
    }
}
