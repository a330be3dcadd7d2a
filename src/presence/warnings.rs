//! What a person, or the administrator, may not have meant: told after a change and while it lasts,
//! in the language of the reader.

use super::circles;
use super::model::Language;
use super::profile::Profile;
use super::roster::Roster;
use super::targets;
use crate::auth::Gap;

/// How many targets that lead to nobody are told.
const NOBODY_LIMIT: usize = 8;
/// How many people are named whose forwardings lead to somebody.
const FORWARDING_LIMIT: usize = 100;

impl Roster {
    /// Everything that is odd about a subscriber: forwardings that close a circle, lead to nobody or
    /// whereto they may not, rules that never match or contradict, a password that phones cannot
    /// use, own statuses that are gone.
    pub fn warnings(&self, profile: &Profile, language: Language) -> Vec<String> {
        let mut told = Vec::new();
        if let Some(own) = self.directory.handle_of_id(profile.id()) {
            let house = self.house.load();
            let around = (&self.plan, &*house.domains);
            told = circles::warnings(&self.directory, (own, profile), around, language);
        }
        told.extend(self.leading_to_nobody(profile, language));
        if let Some(exceptions) = profile.exceptions() {
            let now_unix_s = (self.clock)().as_second();
            told.extend(exceptions.oddities(now_unix_s, language));
        }
        told.extend(self.document_warnings(profile, language));
        told
    }

    /// Of these what a look at the document alone tells.
    pub fn document_warnings(&self, profile: &Profile, language: Language) -> Vec<String> {
        let house = self.house.load();
        let is_german = language == Language::De;
        let mut told: Vec<String> = profile
            .password_gaps(&self.hashing.load())
            .iter()
            .map(|gap| match is_german {
                true => german(gap),
                false => gap.to_string(),
            })
            .collect();
        let refused = house.refusals(profile, &self.directory, &self.plan);
        told.extend(refused.into_iter().map(|(_, target, rule)| match is_german {
            true => format!("An {target} darf nicht weitergeleitet werden ({rule}): das zählt als nicht gesetzt"),
            false => format!("Calls may not be forwarded to {target} ({rule}): that counts as not set"),
        }));
        told.extend(profile.missing_status(&house).map(|id| match is_german {
            true => format!("Den eigenen Status „{id}“ gibt es nicht mehr: was er bedeutete, gilt"),
            false => {
                format!("There is no own status “{id}” any more: what it stood for counts instead")
            }
        }));
        told
    }

    /// The names in our domains that calls are forwarded to and that are nobody's.
    fn leading_to_nobody(&self, profile: &Profile, language: Language) -> Vec<String> {
        let house = self.house.load();
        let is_ours = |host: &str| {
            let host = host.trim_matches(['[', ']']);
            house
                .domains
                .iter()
                .any(|own| own.eq_ignore_ascii_case(host))
        };
        let mut told: Vec<String> = Vec::new();
        for (_, target) in profile.targets() {
            let is_name = !target.is_telephone() && target.host().is_none_or(is_ours);
            let found = || targets::resolve(&self.directory, &self.plan, &house.domains, &target);
            if !is_name || found().is_some() {
                continue;
            }
            let target = target.as_str();
            let text = match language {
                Language::De => format!("Sie leiten an {target} weiter; hier heißt niemand so"),
                Language::En => format!("You forward to {target}, and nobody here has that name"),
            };
            if !told.contains(&text) && told.len() < NOBODY_LIMIT {
                told.push(text);
            }
        }
        told
    }

    /// Who forwards calls to a subscriber, by settings or exceptions: how many others, and the ids
    /// of some. Looks at everybody.
    pub fn forwarding_to(&self, id: &str) -> (usize, Vec<String>) {
        let Some(handle) = self.directory.handle_of_id(id) else {
            return (0, Vec::new());
        };
        let house = self.house.load();
        let leads_there = |profile: &Profile| {
            profile.targets().iter().any(|(_, target)| {
                let to = targets::resolve(&self.directory, &self.plan, &house.domains, target);
                to == Some(handle)
            })
        };
        let mut ids: Vec<String> = self
            .directory
            .profiles()
            .filter(|one| !one.id().eq_ignore_ascii_case(id) && leads_there(one))
            .map(|one| one.id().to_owned())
            .collect();
        let total = ids.len();
        ids.sort_unstable();
        ids.truncate(FORWARDING_LIMIT);
        (total, ids)
    }
}

fn german(gap: &Gap) -> String {
    match gap {
        Gap::Realm { kept, wanted } => format!(
            "Das Kennwort wurde für den Bereich „{kept}“ gesetzt, jetzt ist er „{wanted}“: Telefone \
             können sich erst anmelden, wenn es neu gesetzt ist"
        ),
        Gap::Names(names) => format!(
            "Das Kennwort wurde gesetzt, bevor es {names} gab: so können sich Telefone erst \
             anmelden, wenn es neu gesetzt ist"
        ),
        Gap::Md5 => {
            "Das Kennwort wurde gesetzt, bevor MD5 eingeschaltet war: Telefone, die nur MD5 \
             kennen, können sich erst anmelden, wenn es neu gesetzt ist"
                .to_owned()
        }
    }
}
