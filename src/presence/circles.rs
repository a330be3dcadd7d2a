//! Forwardings that go in a circle: worth a warning when they are saved.

use std::borrow::Cow;
use std::sync::Arc;

use super::directory::{Directory, Handle};
use super::model::{Language, Status};
use super::numbers::NumberPlan;
use super::profile::Profile;
use super::settings::{Layer, Step, Target};
use super::targets;

/// No call goes further.
const DEPTH: usize = 5;
/// So many subscribers are looked at for one warning.
const BREADTH: usize = 64;
/// So many warnings are given.
const WARNINGS: usize = 8;

/// What to tell a subscriber about their forwardings.
///
/// Settings and exceptions, numbers, ids and addresses in domains of ours are followed.
pub(super) fn warnings(
    directory: &Directory,
    (own, profile): (Handle, &Profile),
    (plan, domains): (&NumberPlan, &[Box<str>]),
    language: Language,
) -> Vec<String> {
    let search = Search {
        directory,
        plan,
        domains,
        own,
    };
    let mut told = Vec::new();
    let mut looked_at = vec![own];
    for (next, _) in search.forwardings(profile) {
        if next == own {
            told.push(to_oneself(language));
        } else if !looked_at.contains(&next) {
            looked_at.push(next);
            search.follow(next, DEPTH, &mut looked_at, &mut |last, layer| {
                told.push(comes_back(last, layer, language));
            });
        }
    }
    told.sort_unstable();
    told.dedup();
    told.truncate(WARNINGS);
    told
}

/// Where a forwarding is set.
enum Occurs {
    /// In the settings.
    In(Layer),
    /// Under an exception of that name.
    Under(Arc<str>),
}

struct Search<'a> {
    directory: &'a Directory,
    plan: &'a NumberPlan,
    domains: &'a [Box<str>],
    own: Handle,
}

impl Search<'_> {
    /// Calls `back` for each subscriber on the way whose forwarding leads back to where it began.
    fn follow(
        &self,
        from: Handle,
        depth: usize,
        looked_at: &mut Vec<Handle>,
        back: &mut dyn FnMut(&Profile, &Occurs),
    ) {
        let Some(profile) = self.directory.profile(from) else {
            return;
        };
        for (next, layer) in self.forwardings(&profile) {
            if next == self.own {
                back(&profile, &layer);
            } else if depth > 1 && looked_at.len() < BREADTH && !looked_at.contains(&next) {
                looked_at.push(next);
                self.follow(next, depth - 1, looked_at, back);
            }
        }
    }

    fn forwardings(&self, profile: &Profile) -> Vec<(Handle, Occurs)> {
        let rules = profile.rules().into_iter();
        let settings = rules
            .flat_map(|rules| rules.forwardings())
            .filter_map(|(layer, _, _, target)| Some((self.resolve(target)?, Occurs::In(layer))));
        let exceptions = profile.exceptions().into_iter();
        let exceptions = exceptions
            .flat_map(|exceptions| exceptions.matched())
            .filter_map(|matched| match &matched.step {
                Step::Forward(target) => {
                    let under = Occurs::Under(Arc::clone(&matched.name));
                    Some((self.resolve(target)?, under))
                }
                _ => None,
            });
        settings.chain(exceptions).collect()
    }

    fn resolve(&self, target: &Target) -> Option<Handle> {
        targets::resolve(self.directory, self.plan, self.domains, target)
    }
}

fn to_oneself(language: Language) -> String {
    match language {
        Language::De => "Sie leiten an sich selbst weiter".to_owned(),
        Language::En => "You forward to yourself".to_owned(),
    }
}

fn comes_back(who: &Profile, occurs: &Occurs, language: Language) -> String {
    let name = who.display_name();
    match (occurs, language) {
        (Occurs::In(layer), Language::De) => {
            format!("{name} leitet {} an Sie weiter", german(*layer))
        }
        (Occurs::In(layer), Language::En) => format!("{name} forwards to you {}", english(*layer)),
        (Occurs::Under(rule), Language::De) => {
            format!("{name} leitet in der Ausnahme „{rule}“ an Sie weiter")
        }
        (Occurs::Under(rule), Language::En) => {
            format!("{name} forwards to you in the exception “{rule}”")
        }
    }
}

fn english(layer: Layer) -> Cow<'static, str> {
    Cow::Borrowed(match layer {
        Layer::Own(own) => return format!("while in “{}”", own.id()).into(),
        Layer::All => "in every status",
        Layer::Of(Status::Available) => "while available",
        Layer::Of(Status::Away) => "while away",
        Layer::Of(Status::Break) => "during a break",
        Layer::Of(Status::Dnd) => "while not to be disturbed",
        Layer::Of(Status::InCall) => "during a call",
    })
}

fn german(layer: Layer) -> Cow<'static, str> {
    Cow::Borrowed(match layer {
        Layer::Own(own) => return format!("im Status „{}“", own.id()).into(),
        Layer::All => "immer",
        Layer::Of(Status::Available) => "bei Anwesenheit",
        Layer::Of(Status::Away) => "bei Abwesenheit",
        Layer::Of(Status::Break) => "in der Pause",
        Layer::Of(Status::Dnd) => "bei „Bitte nicht stören“",
        Layer::Of(Status::InCall) => "während eines Gesprächs",
    })
}
