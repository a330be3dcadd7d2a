//! What others grant a subscriber by id: it ends with the subscriber, so that whoever is given the id
//! later inherits nothing.

use super::exceptions::{Exception, Exceptions};
use super::model::Subscriber;
use super::numbers::is_number;
use super::profile::Profile;

/// A subscriber who is being deleted.
pub(super) struct Bequest<'a> {
    /// Whose document is gone.
    pub(super) id: &'a str,
    /// Our domains.
    pub(super) domains: &'a [Box<str>],
}

impl Bequest<'_> {
    /// Whether the document grants the id anything.
    pub(super) fn is_in(&self, profile: &Profile) -> bool {
        let exceptions = profile.exceptions().map(|rules| rules.written());
        profile.is_represented_by(self.id)
            || exceptions.is_some_and(|written| {
                let rules = written.rules.iter().flat_map(|rule| &rule.callers);
                let lists = written.blocked.iter().chain(&written.vips);
                lists.chain(rules).any(|word| self.is_meant(word))
            })
    }

    /// Takes the id out of the delegates and out of every list of callers. A rule that was for
    /// nobody else goes as a whole: without callers it would be for everybody.
    pub(super) fn take_out_of(&self, subscriber: &mut Subscriber) {
        let delegates = &mut subscriber.delegates;
        delegates.retain(|delegate| !delegate.eq_ignore_ascii_case(self.id));
        let Exceptions {
            blocked,
            vips,
            rules,
            ..
        } = &mut subscriber.exceptions;
        blocked.retain(|word| !self.is_meant(word));
        vips.retain(|word| !self.is_meant(word));
        rules.retain_mut(|rule: &mut Exception| {
            let was_for_some = !rule.callers.is_empty();
            rule.callers.retain(|word| !self.is_meant(word));
            !(was_for_some && rule.callers.is_empty())
        });
    }

    /// Whether a caller is named by the id, alone or at a domain of ours. Digits are a number,
    /// which stays whoever has it.
    fn is_meant(&self, word: &str) -> bool {
        if is_number(self.id.as_bytes()) {
            return false;
        }
        let scheme = ["sip:", "sips:"].into_iter().find(|scheme| {
            let start = word.get(..scheme.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        });
        let Some(address) = scheme.and_then(|scheme| word.get(scheme.len()..)) else {
            return word.eq_ignore_ascii_case(self.id);
        };
        let address = address.split([';', '?']).next().unwrap_or_default();
        address.rsplit_once('@').is_some_and(|(user, host)| {
            let mut domains = self.domains.iter();
            user.eq_ignore_ascii_case(self.id) && domains.any(|own| own.eq_ignore_ascii_case(host))
        })
    }
}
