//! What the administrator lays down for everybody: own statuses, when people work, whereto calls
//! may be forwarded.

use std::sync::Arc;

use jiff::tz::TimeZone;

use super::codes::FeatureCodes;
use super::exceptions::Holidays;
use super::hours::{Schedule, WorkWeek};
use super::own::OwnStatuses;
use super::profile::Profile;
use super::targets::TargetRules;

/// The rules of the house, compiled from the configuration; swapped whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HouseRules {
    /// The statuses of the deployment's own.
    pub statuses: OwnStatuses,
    /// In which time zone hours are meant that name none.
    pub zone: TimeZone,
    /// The days on which nobody works.
    pub holidays: Holidays,
    /// When people work who say nothing else, the first that is for them.
    pub hours: Vec<TeamHours>,
    /// Whereto calls may be forwarded.
    pub targets: TargetRules,
    /// The hosts that are ours, without brackets.
    pub domains: Vec<Box<str>>,
    /// What can be dialled to change something.
    pub codes: FeatureCodes,
}

/// The hours of a team, or of everybody.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TeamHours {
    /// Whose; everybody's where there is none.
    pub team: Option<Box<str>>,
    /// The hours.
    pub schedule: Arc<Schedule>,
}

impl HouseRules {
    /// The same with other holidays.
    #[must_use]
    pub fn observing(&self, holidays: Holidays) -> Self {
        let mut house = Self {
            holidays,
            hours: Vec::new(),
            ..self.clone()
        };
        let anew = self.hours.iter().map(|hours| TeamHours {
            team: hours.team.clone(),
            schedule: Arc::new(house.schedule(hours.schedule.week())),
        });
        house.hours = anew.collect();
        house
    }

    /// A week compiled under these rules.
    pub fn schedule(&self, week: &WorkWeek) -> Schedule {
        Schedule::new(week, &self.statuses, &self.zone, &self.holidays)
    }

    /// The hours of members of these teams: a team's before those of everybody.
    pub fn hours_of(&self, teams: &[String]) -> Option<&Arc<Schedule>> {
        let is_of = |hours: &&TeamHours| {
            let team = hours.team.as_deref().map(str::to_lowercase);
            team.is_some_and(|team| teams.iter().any(|own| own.to_lowercase() == team))
        };
        let of_team = self.hours.iter().find(is_of);
        let of_all = || self.hours.iter().find(|hours| hours.team.is_none());
        of_team.or_else(of_all).map(|hours| &hours.schedule)
    }

    /// Whether a document means something else under these rules than it did when it was compiled.
    pub(super) fn concern(&self, before: &Self, profile: &Profile) -> bool {
        let has_hours = profile.hours().is_some()
            || profile.own_hours().is_some()
            || self.hours_of(profile.teams()).is_some();
        let hours = |rules: &Self| {
            (
                rules.zone.clone(),
                rules.holidays.clone(),
                rules.hours.clone(),
            )
        };
        has_hours && hours(self) != hours(before)
            || self.statuses != before.statuses && profile.names_own_statuses()
    }
}

impl Default for HouseRules {
    fn default() -> Self {
        Self {
            statuses: OwnStatuses::default(),
            zone: TimeZone::UTC,
            holidays: Holidays::default(),
            hours: Vec::new(),
            targets: TargetRules::default(),
            domains: Vec::new(),
            codes: FeatureCodes::default(),
        }
    }
}
