//! What a profile's settings say while a status is in force, from the one it stands for to `all`,
//! and who belongs around the person.

use super::house::HouseRules;
use super::model::{CallerClass, Chat, Status};
use super::own::BaseStatus;
use super::profile::Profile;
use super::settings::{Layer, Moment, Step};
use super::visibility::{Level, Visibility};

/// Who belongs around a person.
#[derive(Default)]
pub(super) struct Circle<'p> {
    pub(super) teams: &'p [String],
    pub(super) delegates: &'p [String],
    pub(super) visibility: Visibility,
}

impl Profile {
    /// An own status that the document names and that there is not.
    pub fn missing_status(&self, house: &HouseRules) -> Option<String> {
        if !self.has_more() {
            return None;
        }
        let mentions = self.to_subscriber().own_mentions().into_iter();
        let mut names = mentions.map(|(_, id)| id);
        names.find(|id| house.statuses.get(id).is_none())
    }

    /// Whether the document names own statuses.
    pub(super) fn names_own_statuses(&self) -> bool {
        self.has_more() && !self.to_subscriber().own_mentions().is_empty()
    }

    /// What colleagues read beside `shown` at that time: the message given with the status in force,
    /// else the one in the settings of what is shown.
    pub fn message_at(&self, now_unix_s: i64, shown: Status) -> Option<&str> {
        let standing = self.standing(now_unix_s);
        let base = match shown == standing.status {
            true => standing.base(),
            false => shown.into(),
        };
        let of_settings = || {
            let rules = self.rules()?;
            base.layers().find_map(|layer| rules.message(layer))
        };
        standing.message.or_else(of_settings)
    }

    /// What is set for callers of a class at a moment of a call while `base` is in force, and can be
    /// taken: the word that counts first is in the own status, then in the status it stands for, then in
    /// `all`. A `connect` of `all` does not lift `dnd`.
    pub fn step(
        &self,
        base: BaseStatus,
        (moment, class): (Moment, CallerClass),
        mut admits: impl FnMut(&Step) -> bool,
    ) -> Option<(&Step, Layer)> {
        let rules = self.rules()?;
        if let Some(own) = base.own {
            let layer = Layer::Own(own);
            let step = rules.step(layer, moment, class);
            if let Some(step) = step.filter(|step| admits(step)) {
                return Some((step, layer));
            }
        }
        let layer = Layer::Of(base.status);
        let step = rules.step(layer, moment, class);
        if let Some(step) = step.filter(|step| admits(step)) {
            return Some((step, layer));
        }
        let step = rules.step(Layer::All, moment, class)?;
        let lifts =
            base.status == Status::Dnd && moment == Moment::Immediate && *step == Step::Connect;
        (!lifts && admits(step)).then_some((step, Layer::All))
    }

    /// What `status` itself sets, without inheritance.
    pub fn own_step(&self, status: Status, moment: Moment, class: CallerClass) -> Option<&Step> {
        self.rules()?.step(Layer::Of(status), moment, class)
    }

    /// The seconds to ring while `base` is in force, its own or those it inherits.
    pub fn ring_for_s(&self, base: BaseStatus) -> Option<u16> {
        let rules = self.rules()?;
        base.layers().find_map(|layer| rules.ring_for_s(layer))
    }

    /// What becomes of chat messages while `base` is in force: its own word, else an inherited one.
    /// A `deliver` of `all` does not lift `dnd`.
    pub fn chat(&self, base: BaseStatus) -> Option<(Chat, Layer)> {
        let rules = self.rules()?;
        let lifts = |layer: Layer, chat: Chat| {
            base.status == Status::Dnd && layer == Layer::All && chat == Chat::Deliver
        };
        let mut said = base
            .layers()
            .filter_map(|layer| Some((rules.chat(layer)?, layer)));
        said.find(|(chat, layer)| !lifts(*layer, *chat))
    }

    /// The seconds to ring that `status` itself sets.
    pub fn own_ring_for_s(&self, status: Status) -> Option<u16> {
        self.rules()?.ring_for_s(Layer::Of(status))
    }

    /// Whether a call can meet a rule while `base` is in force. An own status is to be told of,
    /// which the word of routing cannot.
    pub fn has_rules_for(&self, base: BaseStatus) -> bool {
        let has_exceptions = self.exceptions().is_some();
        has_exceptions
            || base.own.is_some()
            || self
                .rules()
                .is_some_and(|rules| base.layers().any(|layer| rules.touches_calls(layer)))
    }

    /// The teams the person belongs to.
    pub fn teams(&self) -> &[String] {
        self.circle().teams
    }

    /// Whether both belong to a team.
    pub fn shares_a_team_with(&self, other: &Self) -> bool {
        self.teams().iter().any(|team| other.is_in(team))
    }

    /// Whether the person belongs to that team.
    pub fn is_in(&self, team: &str) -> bool {
        let mut teams = self.teams().iter();
        teams.any(|own| own == team || own.to_lowercase() == team.to_lowercase())
    }

    /// What colleagues see, as the person wants it.
    pub fn visibility(&self) -> Visibility {
        self.circle().visibility
    }

    /// How much a subscriber sees of this one, under what the administrator configured; without
    /// one, how much anybody else does.
    pub fn level_for(&self, viewer: Option<&Self>, configured: Visibility) -> Level {
        let Some(viewer) = viewer else {
            return self.visibility().level(false, configured);
        };
        let is_own = viewer.id().eq_ignore_ascii_case(self.id());
        if is_own || self.is_represented_by(viewer.id()) {
            return Level::Full;
        }
        let shares_a_team = viewer.shares_a_team_with(self);
        self.visibility().level(shares_a_team, configured)
    }

    /// Who may order a status beside the administrator.
    pub fn delegates(&self) -> &[String] {
        self.circle().delegates
    }

    /// Whether that person may order this one's status.
    pub fn is_represented_by(&self, id: &str) -> bool {
        let mut delegates = self.delegates().iter();
        delegates.any(|delegate| delegate.eq_ignore_ascii_case(id))
    }
}
