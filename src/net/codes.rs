//! Feature codes that were dialled: the changes are made here, where the disk may be waited for.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::background::Background;
use crate::engine::Shared;
use crate::presence::{
    Action, Change, ChangeError, CodeAction, Conflict, Moment, Profile, Roster, Rule, Source,
    Status, StatusSettings,
};
use crate::proxy::{CodeAnswer, CodeWish};

/// How often is looked whether anybody has dialled one.
const TICK: Duration = Duration::from_millis(20);
/// How often a change is tried again when somebody else was faster.
const ATTEMPTS: u32 = 8;

/// Makes the changes that phones wait for.
pub(super) struct Codes {
    pub(super) roster: Arc<Roster>,
    pub(super) shared: Arc<Shared>,
    /// Wakes the shards.
    pub(super) on_answered: Box<dyn Fn() + Send>,
}

/// A failure as the phone is told it.
type Refused = (u16, String);

impl Codes {
    /// Starts the thread.
    pub(super) fn start(self, background: &mut Background) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        background.every("codes", TICK, move || self.work(&runtime))
    }

    fn work(&self, runtime: &Runtime) {
        let mut has_answered = false;
        while let Some(wish) = self.shared.codes.wishes.pop() {
            let outcome = runtime.block_on(self.grant(&wish));
            let answer = CodeAnswer {
                call_key: wish.call_key,
                outcome,
            };
            if let Some(answers) = self.shared.codes.answers.get(wish.shard) {
                answers.force_push(answer);
                has_answered = true;
            }
        }
        if has_answered {
            (self.on_answered)();
        }
    }

    async fn grant(&self, wish: &CodeWish) -> Result<(), Refused> {
        let gone = || (404, "There is no such subscriber".to_owned());
        let directory = &self.shared.directory;
        let profile = directory.profile(wish.subscriber).ok_or_else(gone)?;
        let action = wish.code.action.label();
        let outcome = match &wish.code.action {
            CodeAction::Status(name) => self.choose(&profile, name).await,
            CodeAction::Forward(_) if self.is_own(wish) => {
                Err((403, "You would forward to yourself".to_owned()))
            }
            CodeAction::Forward(moment) => {
                let rule = Rule::All(Action::Forward(wish.code.number.clone()));
                let set = |part: &mut StatusSettings| *slot(part, *moment) = Some(rule.clone());
                self.change_settings(profile.id(), set).await
            }
            CodeAction::Clear(moment) => {
                let clear = |part: &mut StatusSettings| clear(part, *moment);
                self.change_settings(profile.id(), clear).await
            }
            CodeAction::ClearAll => {
                let clear = |part: &mut StatusSettings| {
                    Moment::ALL
                        .into_iter()
                        .for_each(|moment| clear(part, moment));
                };
                self.change_settings(profile.id(), clear).await
            }
        };
        match &outcome {
            Ok(()) => tracing::info!(
                subscriber = profile.id(),
                action,
                number = wish.code.number,
                source = Source::FeatureCode.name(),
                "a feature code was dialled"
            ),
            Err((status, text)) => tracing::info!(
                subscriber = profile.id(),
                action,
                status,
                text,
                "a feature code was refused"
            ),
        }
        outcome
    }

    /// Whether the number is the one of who dials it. The page warns of that; a phone shows a 200 only.
    fn is_own(&self, wish: &CodeWish) -> bool {
        let (directory, policy) = (&self.shared.directory, self.shared.policy.load());
        let target = directory.find_dialled(wish.code.number.as_bytes(), &policy.plan);
        target == Some(wish.subscriber)
    }

    async fn choose(
        &self,
        profile: &Profile,
        name: &crate::presence::StatusName,
    ) -> Result<(), Refused> {
        let base = self.roster.house().statuses.named(name);
        let missing = || (404, format!("There is no status {}", name.name()));
        let base = base.ok_or_else(missing)?;
        let id = profile.id().to_owned();
        let source = Source::FeatureCode;
        let change = match (base.status, base.own) {
            (Status::Available, None) => Change::ClearStatus {
                id,
                source,
                if_version: None,
            },
            (status, own) => Change::SetStatus {
                id,
                status,
                own_status: own.map(|own| own.id().to_owned()),
                message: None,
                until: None,
                hold: false,
                source,
                if_version: None,
            },
        };
        let changed = self.roster.change(change).await;
        changed.map(|_| ()).map_err(|error| refused(&error))
    }

    /// Changes what is set for every status; again where somebody else was faster.
    async fn change_settings(
        &self,
        id: &str,
        change: impl Fn(&mut StatusSettings),
    ) -> Result<(), Refused> {
        let gone = || (404, "There is no such subscriber".to_owned());
        for _ in 0..ATTEMPTS {
            let profile = self.shared.directory.get(id).ok_or_else(gone)?;
            let mut part = profile.settings().all;
            change(&mut part);
            let put = Change::PutSettings {
                id: id.to_owned(),
                part: "all".into(),
                settings: Box::new(part),
                if_version: Some(profile.version()),
            };
            match self.roster.change(put).await {
                Err(ChangeError::Conflict(Conflict::Version { .. })) => {}
                outcome => return outcome.map(|_| ()).map_err(|error| refused(&error)),
            }
        }
        Err((503, "Somebody else changes the settings".to_owned()))
    }
}

fn slot(part: &mut StatusSettings, moment: Moment) -> &mut Option<Rule> {
    match moment {
        Moment::Immediate => &mut part.immediate,
        Moment::Busy => &mut part.busy,
        Moment::NoAnswer => &mut part.no_answer,
        Moment::Unreachable => &mut part.unreachable,
        Moment::Declined => &mut part.declined,
    }
}

/// Takes a forwarding back; what else is set there stays.
fn clear(part: &mut StatusSettings, moment: Moment) {
    let slot = slot(part, moment);
    let is_forward = |action: &Option<Action>| matches!(action, Some(Action::Forward(_)));
    match slot {
        Some(Rule::All(Action::Forward(_))) => *slot = None,
        Some(Rule::PerClass(by_class)) => {
            for action in [
                &mut by_class.internal,
                &mut by_class.external,
                &mut by_class.anonymous,
            ] {
                *action = action.take().filter(|own| !is_forward(&Some(own.clone())));
            }
        }
        _ => {}
    }
}

/// What a phone is told: a target that may not be called is forbidden, another fault of it means
/// that the number cannot be one.
fn refused(error: &ChangeError) -> Refused {
    let status = match error {
        ChangeError::NotFound { .. } => 404,
        ChangeError::Invalid(problems) => {
            let is_denied = problems
                .0
                .iter()
                .any(|problem| problem.text.contains("may not be forwarded to"));
            if is_denied { 403 } else { 484 }
        }
        ChangeError::Refused(_) => 403,
        ChangeError::Busy => 503,
        ChangeError::Conflict(_) | ChangeError::Store(_) => 500,
    };
    (status, error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn clearing_takes_forwardings_and_leaves_the_rest() {
        let mut part = StatusSettings::from_json(&json!({
            "immediate": {"internal": "connect", "external": {"forward": "101"}},
            "busy": {"forward": "102"}, "no_answer": "voicemail"}))
        .unwrap();
        Moment::ALL
            .into_iter()
            .for_each(|moment| clear(&mut part, moment));
        assert_eq!(
            serde_json::to_value(part).unwrap(),
            json!({"immediate": {"internal": "connect"}, "no_answer": "voicemail"})
        );
    }
}
