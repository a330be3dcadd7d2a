//! Whereto calls may be forwarded: the administrator's rules.
//!
//! Of the patterns that match a target the longest decides; `deny` where `allow` has one as long.
//! Where nothing matches a target is allowed, unless there is nothing but `allow`. Colleagues can
//! always be forwarded to.

use std::sync::Arc;

use super::directory::{Directory, Handle};
use super::house::HouseRules;
use super::model::Problem;
use super::numbers::{NumberPlan, SmallBuf, is_number};
use super::profile::Profile;
use super::settings::{Step, Target};

/// The compiled rules.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TargetRules {
    rules: Vec<TargetRule>,
    /// Whether what no rule names is allowed.
    is_closed: bool,
}

/// One pattern.
#[derive(Clone, PartialEq, Eq, Debug)]
struct TargetRule {
    pattern: TargetPattern,
    is_allowed: bool,
    /// As it was written, with the key it stands under.
    told: Arc<str>,
}

/// What a pattern matches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TargetPattern {
    /// Everything.
    Any,
    /// Numbers that begin so, in international form or as they are dialled.
    Prefix(Box<str>),
    /// This number.
    Number(Box<str>),
    /// Every SIP address at this host, in lower case.
    Host(Box<str>),
    /// Every SIP address at hosts that end so, in lower case.
    HostSuffix(Box<str>),
    /// Every SIP address.
    AnyAddress,
}

impl TargetPattern {
    /// Reads a pattern: `*`, `+49900*`, `+49110`, `sip:*@example.com`, `sip:*@*.example.com`,
    /// `sip:*`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Some(address) = text.strip_prefix("sip:*") {
            let Some(host) = address.strip_prefix('@') else {
                return address.is_empty().then_some(Self::AnyAddress);
            };
            let host = host.to_ascii_lowercase();
            let is_host = |host: &str| {
                let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
                !host.is_empty() && host.bytes().all(plain)
            };
            return match host.strip_prefix('*') {
                Some("") => Some(Self::AnyAddress),
                Some(end) => {
                    (end.starts_with('.') && is_host(end)).then(|| Self::HostSuffix(end.into()))
                }
                None => is_host(&host).then(|| Self::Host(host.into())),
            };
        }
        if text == "*" {
            return Some(Self::Any);
        }
        let (number, is_prefix) = match text.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (text, false),
        };
        let number: String = number
            .chars()
            .filter(|c| !matches!(c, ' ' | '-' | '/' | '(' | ')'))
            .collect();
        let digits = number.strip_prefix('+').unwrap_or(&number);
        let is_plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        is_plain.then(|| match is_prefix {
            true => Self::Prefix(number.as_str().into()),
            false => Self::Number(number.as_str().into()),
        })
    }

    /// How to write what was likely meant, where a number is only the beginning of one: without `*`
    /// it matches nothing that anybody dials.
    pub fn likely_meant(&self, plan: &NumberPlan) -> Option<String> {
        match self {
            Self::Number(number) if plan.is_beginning(number) => Some(format!("{number}*")),
            _ => None,
        }
    }

    /// How much of a target it names.
    fn length(&self) -> usize {
        match self {
            Self::Any | Self::AnyAddress => 0,
            Self::Prefix(text) | Self::Host(text) | Self::HostSuffix(text) => text.len(),
            Self::Number(text) => text.len().saturating_add(1),
        }
    }

    fn matches(&self, (numbers, host): (&[&str], Option<&str>)) -> bool {
        match self {
            Self::Any => true,
            Self::Prefix(prefix) => numbers.iter().any(|number| number.starts_with(&**prefix)),
            Self::Number(own) => numbers.contains(&&**own),
            Self::AnyAddress => host.is_some(),
            Self::Host(own) => host.is_some_and(|host| host.eq_ignore_ascii_case(own)),
            Self::HostSuffix(end) => host.is_some_and(|host| {
                let at = host.len().checked_sub(end.len());
                let tail = at.and_then(|at| host.get(at..));
                tail.is_some_and(|tail| tail.eq_ignore_ascii_case(end))
            }),
        }
    }
}

impl TargetRules {
    /// The rules of what is denied and what is allowed; a pattern that cannot be read is left out.
    pub fn new(deny: &[String], allow: &[String]) -> Self {
        let compiled = |list: &[String], key: &str, is_allowed| -> Vec<TargetRule> {
            let rules = list.iter().filter_map(|text| {
                Some(TargetRule {
                    pattern: TargetPattern::parse(text)?,
                    is_allowed,
                    told: format!("{key} \"{text}\"").into(),
                })
            });
            rules.collect()
        };
        let mut rules = compiled(deny, "forwarding.deny", false);
        rules.extend(compiled(allow, "forwarding.allow", true));
        Self {
            rules,
            is_closed: deny.is_empty() && !allow.is_empty(),
        }
    }

    /// The rules as the configuration writes them, each with its key.
    pub fn told(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| &*rule.told)
    }

    /// Whether nothing is forbidden.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rule by which a target that is no colleague may not be called.
    pub fn refusal(&self, target: &Target, plan: &NumberPlan) -> Option<Arc<str>> {
        if self.is_empty() {
            return None;
        }
        let mut buf = SmallBuf::new();
        let (written, key) = match target {
            Target::Number { dialled, key } => (&**dialled, &**key),
            Target::Uri { .. } => {
                let user = target.user().split(';').next().unwrap_or_default();
                let key = match is_number(user.as_bytes()) {
                    true => plan.normalise_dialled(user.as_bytes(), &mut buf),
                    false => &[],
                };
                (user, std::str::from_utf8(key).unwrap_or_default())
            }
        };
        // A number too short for the region's plan is dialled in the home country all the same.
        let national = written
            .strip_prefix('0')
            .filter(|rest| !rest.starts_with('0'));
        let national = national.map(|rest| format!("+{}{rest}", plan.country_code()));
        let national = national.as_deref().unwrap_or(key);
        let asked: (&[&str], Option<&str>) = (&[key, written, national], target.host());
        let matching = self.rules.iter().filter(|rule| rule.pattern.matches(asked));
        let best = matching.max_by_key(|rule| (rule.pattern.length(), !rule.is_allowed));
        match best {
            Some(rule) if rule.is_allowed => None,
            Some(rule) => Some(Arc::clone(&rule.told)),
            None => self
                .is_closed
                .then(|| "forwarding.allow, which does not name it".into()),
        }
    }
}

/// Which subscriber a target is: a number or id, or a SIP address in one of our domains.
pub(super) fn resolve(
    directory: &Directory,
    plan: &NumberPlan,
    domains: &[Box<str>],
    target: &Target,
) -> Option<Handle> {
    let host = target.host().map(|host| host.trim_matches(['[', ']']));
    let is_ours = |host: &str| domains.iter().any(|own| own.eq_ignore_ascii_case(host));
    if host.is_some_and(|host| !is_ours(host)) {
        return None;
    }
    directory.find_dialled(target.user().as_bytes(), plan)
}

impl Profile {
    /// Every forwarding of settings and exceptions: where it stands, as documents write it, and
    /// whereto.
    pub fn targets(&self) -> Vec<(String, Arc<Target>)> {
        let settings = self
            .rules()
            .into_iter()
            .flat_map(|rules| rules.forwardings());
        let settings = settings.map(|(layer, moment, class, target)| {
            let class = class.map_or_else(String::new, |class| format!(".{}", class.name()));
            let field = format!("{}.{}{class}", layer.path(), moment.name());
            (format!("settings.{field}.forward"), Arc::clone(target))
        });
        let exceptions = self.exceptions().into_iter().flat_map(|all| all.steps());
        let exceptions = (0_usize..)
            .zip(exceptions)
            .filter_map(|(at, step)| match step {
                Step::Forward(target) => {
                    let field = format!("exceptions.rules.{at}.action.forward");
                    Some((field, Arc::clone(target)))
                }
                _ => None,
            });
        settings.chain(exceptions).collect()
    }
}

impl HouseRules {
    /// The forwardings of a subscriber that are not allowed: what is wrong where.
    pub fn refused(
        &self,
        profile: &Profile,
        directory: &Directory,
        plan: &NumberPlan,
    ) -> Vec<Problem> {
        let refusals = self.refusals(profile, directory, plan).into_iter();
        let problems = refusals.map(|(field, target, rule)| {
            Problem::new(field, format!("{target} may not be forwarded to: {rule}"))
        });
        problems.collect()
    }

    /// The same: where they stand, whereto, by which rule.
    pub(super) fn refusals(
        &self,
        profile: &Profile,
        directory: &Directory,
        plan: &NumberPlan,
    ) -> Vec<(String, String, Arc<str>)> {
        if self.targets.is_empty() {
            return Vec::new();
        }
        let refused = profile.targets().into_iter().filter_map(|(field, target)| {
            let rule = self.targets.refusal(&target, plan)?;
            let colleague = resolve(directory, plan, &self.domains, &target);
            let refusal = (field, target.as_str().to_owned(), rule);
            colleague.is_none().then_some(refusal)
        });
        refused.take(super::MAX_PROBLEMS).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(deny: &[&str], allow: &[&str], target: &str) -> Option<String> {
        let list = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| (*text).to_owned())
                .collect::<Vec<_>>()
        };
        let plan = crate::presence::sample::plan();
        let rules = TargetRules::new(&list(deny), &list(allow));
        let target = Target::parse(target, &plan);
        rules.refusal(&target, &plan).map(|rule| rule.to_string())
    }

    #[test]
    fn a_number_is_known_however_it_is_written() {
        let told = Some("forwarding.deny \"+49900*\"".to_owned());
        for target in [
            "+49900123456",
            "0900123456",
            "0900123",
            "0049900123456",
            "tel:+49900123456",
            "sip:+49900123456@pbx.example.com",
            "sip:0900123456@pbx.example.com;user=phone",
        ] {
            assert_eq!(refused(&["+49900*"], &[], target), told, "{target}");
        }
        assert_eq!(refused(&["+49900*"], &[], "+4930123456"), None);
        assert_eq!(refused(&["+49900*"], &[], "sip:bob@example.com"), None);
        assert!(refused(&["110"], &[], "110").is_some());
        assert_eq!(refused(&["110"], &[], "1100"), None);
    }

    #[test]
    fn the_longest_pattern_decides() {
        let (deny, allow) = (["*", "+49900*"], ["+49*", "sip:*@example.com", "+499001*"]);
        for (target, is_refused) in [
            ("+4930123456", false),
            ("+49900223456", true),
            ("+49900123456", false),
            ("+43123456", true),
            ("sip:bob@EXAMPLE.com", false),
            ("sip:bob@example.org", true),
        ] {
            assert_eq!(
                refused(&deny, &allow, target).is_some(),
                is_refused,
                "{target}"
            );
        }
        assert!(
            refused(&["+49*"], &["+49*"], "+4930123456").is_some(),
            "deny as long"
        );
        assert!(refused(&["sip:*@*.org"], &[], "sip:a@b.example.org").is_some());
        assert_eq!(refused(&["sip:*@*.org"], &[], "sip:a@org"), None);
    }

    #[test]
    fn allow_alone_allows_nothing_else() {
        assert_eq!(refused(&[], &["+49*"], "+4930123456"), None);
        let told = refused(&[], &["+49*"], "+43123456").unwrap();
        assert!(told.contains("forwarding.allow"), "{told}");
        assert_eq!(refused(&[], &[], "+43123456"), None);
    }

    #[test]
    fn the_beginning_of_a_number_is_told_from_a_whole_one() {
        let plan = crate::presence::sample::plan();
        let meant = |text: &str| TargetPattern::parse(text).unwrap().likely_meant(&plan);
        for beginning in [
            "+49900", "+49 900", "0900", "0049900", "+1900", "+882", "+499001",
        ] {
            let plain = beginning.replace(' ', "");
            assert_eq!(meant(beginning), Some(format!("{plain}*")), "{beginning}");
        }
        for whole in [
            "+49900*",
            "110",
            "101",
            "+4930123456",
            "+29022158",
            "+495551234567",
            "sip:*",
            "*",
        ] {
            assert_eq!(meant(whole), None, "{whole}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for bad in [
            "",
            "sip:bob@x",
            "sip:*@",
            "sip:*x",
            "+",
            "abc*",
            "sip:*@*org",
            "+49 90a*",
        ] {
            assert_eq!(TargetPattern::parse(bad), None, "{bad}");
        }
    }
}
