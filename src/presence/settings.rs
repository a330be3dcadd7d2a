//! A subscriber's settings in the form that routing reads: few entries, targets already parsed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::model::{Action, CallerClass, Chat, ClassRule, Rule, Settings, Status, StatusSettings};
use super::numbers::{NumberPlan, SmallBuf, is_number};
use super::own::OwnName;
use super::validate::split_scheme;
use crate::ahead::fetch;

/// Where a forwarded call goes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Target {
    /// A telephone number, an extension or a colleague's id.
    Number {
        /// What goes into the user part of a URI.
        dialled: Box<str>,
        /// Under which a subscriber would be known.
        key: Box<str>,
    },
    /// A URI that is used as it is.
    Uri {
        /// The whole URI.
        uri: Box<str>,
        /// Where its user part ends and its host begins and ends.
        parts: UriParts,
    },
}

/// Offsets in a URI of at most 256 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct UriParts {
    user: (u16, u16),
    host: (u16, u16),
}

/// An action whose target is parsed and shared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Ring the subscriber.
    Connect,
    /// Refuse the call.
    Reject,
    /// Refuse the call without ringing and note it as missed.
    Missed,
    /// Send the caller to the voicemail box.
    Voicemail,
    /// Send the caller elsewhere.
    Forward(Arc<Target>),
}

/// Which of a status' rules an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Moment {
    /// Before anything rings.
    Immediate,
    /// The phone answered 486 or 600.
    Busy,
    /// Nobody answered in time.
    NoAnswer,
    /// No phone could be reached.
    Unreachable,
    /// The call was declined (603).
    Declined,
}

/// Where something is set: for one status, or for all.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Layer {
    /// In `all`, inherited by every status.
    All,
    /// In the status itself.
    Of(Status),
    /// In an own status.
    Own(OwnName),
}

/// The compiled settings; absent where a subscriber set nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rules {
    entries: Box<[Entry]>,
    messages: Box<[(Layer, Box<str>)]>,
    ring_for_s: Box<[(Layer, u16)]>,
    chat: Box<[(Layer, Chat)]>,
    /// Those of own statuses as they were written: they stay when there is no such status.
    own: BTreeMap<String, StatusSettings>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Entry {
    layer: Layer,
    moment: Moment,
    class: Option<CallerClass>,
    step: Step,
}

const LAYERS: [Layer; 6] = [
    Layer::All,
    Layer::Of(Status::Available),
    Layer::Of(Status::Away),
    Layer::Of(Status::Break),
    Layer::Of(Status::Dnd),
    Layer::Of(Status::InCall),
];

impl Rules {
    /// Asks for the rules.
    pub(super) fn warm(&self) {
        fetch(&*self.entries);
    }

    /// Asks for what they forward to at once.
    pub(super) fn warm_targets(&self) {
        self.targets_at_once().for_each(|target| fetch(&**target));
    }

    /// Asks for its text.
    pub(super) fn warm_texts(&self) {
        self.targets_at_once()
            .for_each(|target| fetch(target.as_str()));
    }

    fn targets_at_once(&self) -> impl Iterator<Item = &Arc<Target>> {
        let at_once = |entry: &&Entry| entry.moment == Moment::Immediate;
        let entries = self.entries.iter().filter(at_once);
        entries.filter_map(|entry| match &entry.step {
            Step::Forward(target) => Some(target),
            _ => None,
        })
    }
}

impl Target {
    /// Parses a target that a document may contain.
    pub fn parse(target: &str, plan: &NumberPlan) -> Self {
        if split_scheme(target).is_some() {
            return Self::Uri {
                parts: UriParts::of(target),
                uri: target.into(),
            };
        }
        let mut buf = SmallBuf::new();
        let key = plan.normalise_dialled(target.as_bytes(), &mut buf);
        Self::Number {
            dialled: target.into(),
            key: String::from_utf8_lossy(key).into(),
        }
    }

    /// The target as documents write it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Number { dialled, .. } => dialled,
            Self::Uri { uri, .. } => uri,
        }
    }

    /// The user part, or the number itself; may have `%` escapes and parameters in a URI.
    pub fn user(&self) -> &str {
        match self {
            Self::Number { dialled, .. } => dialled,
            Self::Uri { uri, parts } => range(uri, parts.user),
        }
    }

    /// The host of a `sip:` or `sips:` URI without port, in the case it was written.
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Number { .. } => None,
            Self::Uri { uri, parts } => Some(range(uri, parts.host)).filter(|h| !h.is_empty()),
        }
    }

    /// Whether it is dialled rather than addressed: a number of ours, or a `tel:` URI.
    pub fn is_number(&self) -> bool {
        self.host().is_none()
    }

    /// Whether it is a telephone number and not a name.
    pub fn is_telephone(&self) -> bool {
        is_number(self.user().as_bytes())
    }
}

impl UriParts {
    fn of(uri: &str) -> Self {
        let (scheme, rest) = split_scheme(uri).unwrap_or_default();
        let start = scheme.len().saturating_add(1);
        if scheme.eq_ignore_ascii_case("tel") {
            return Self {
                user: offsets(start, rest.len()),
                host: (0, 0),
            };
        }
        let (user, host) = rest
            .rsplit_once('@')
            .map_or(("", rest), |(user, host)| (user, host));
        let user = user.split(':').next().unwrap_or_default();
        let host_start = start.saturating_add(rest.len().saturating_sub(host.len()));
        let end = match host.strip_prefix('[') {
            Some(v6) => v6.find(']').map_or(host.len(), |at| at.saturating_add(2)),
            None => host.find([':', ';']).unwrap_or(host.len()),
        };
        Self {
            user: offsets(start, user.len()),
            host: offsets(host_start, end),
        }
    }
}

impl Step {
    pub(super) fn of(action: &Action, plan: &NumberPlan) -> Self {
        match action {
            Action::Connect => Self::Connect,
            Action::Reject => Self::Reject,
            Action::Missed => Self::Missed,
            Action::Voicemail => Self::Voicemail,
            Action::Forward(target) => Self::Forward(Arc::new(Target::parse(target, plan))),
        }
    }

    fn action(&self) -> Action {
        match self {
            Self::Connect => Action::Connect,
            Self::Reject => Action::Reject,
            Self::Missed => Action::Missed,
            Self::Voicemail => Action::Voicemail,
            Self::Forward(target) => Action::Forward(target.as_str().to_owned()),
        }
    }
}

impl Moment {
    /// Every moment.
    pub const ALL: [Self; 5] = [
        Self::Immediate,
        Self::Busy,
        Self::NoAnswer,
        Self::Unreachable,
        Self::Declined,
    ];

    /// The name in documents, `no_answer`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Immediate => "immediate",
            Self::Busy => "busy",
            Self::NoAnswer => "no_answer",
            Self::Unreachable => "unreachable",
            Self::Declined => "declined",
        }
    }
}

impl Layer {
    /// The name in documents, `all` or the status.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Of(status) => status.name(),
            Self::Own(own) => own.id(),
        }
    }
}

impl Layer {
    /// Where it stands in the settings, `own.trip` for an own status.
    pub fn path(self) -> String {
        match self {
            Self::Own(own) => format!("own.{}", own.id()),
            other => other.name().to_owned(),
        }
    }
}

impl Rules {
    /// Compiles settings; `None` where nothing is set.
    pub fn compile(settings: &Settings, plan: &NumberPlan) -> Option<Self> {
        let mut entries = Vec::new();
        let mut messages = Vec::new();
        let mut ring_for_s = Vec::new();
        let mut chat = Vec::new();
        let five = LAYERS.into_iter().zip(settings.parts());
        let five = five.map(|(layer, (_, part))| (layer, part));
        let own = settings.own.iter();
        let own = own.filter_map(|(id, part)| Some((Layer::Own(OwnName::find(id)?), part)));
        for (layer, part) in five.chain(own) {
            for (moment, (_, rule)) in Moment::ALL.into_iter().zip(part.rules()) {
                if let Some(rule) = rule {
                    compile_rule(layer, moment, rule, plan, &mut entries);
                }
            }
            messages.extend(
                part.message
                    .as_deref()
                    .map(|message| (layer, message.into())),
            );
            ring_for_s.extend(part.ring_for_s.map(|seconds| (layer, seconds)));
            chat.extend(part.chat.map(|chat| (layer, chat)));
        }
        let rules = Self {
            entries: entries.into(),
            messages: messages.into(),
            ring_for_s: ring_for_s.into(),
            chat: chat.into(),
            own: settings.own.clone(),
        };
        (rules != Self::default()).then_some(rules)
    }

    /// What is set in one layer for one class of caller, without inheritance.
    pub fn step(&self, layer: Layer, moment: Moment, class: CallerClass) -> Option<&Step> {
        self.entry(layer, moment, class).map(|entry| &entry.step)
    }

    /// Whether a layer sets something for this class of caller alone.
    pub fn is_for_class_alone(&self, layer: Layer, moment: Moment, class: CallerClass) -> bool {
        self.entry(layer, moment, class)
            .is_some_and(|entry| entry.class.is_some())
    }

    fn entry(&self, layer: Layer, moment: Moment, class: CallerClass) -> Option<&Entry> {
        self.entries.iter().find(|entry| {
            entry.layer == layer
                && entry.moment == moment
                && entry.class.is_none_or(|own| own == class)
        })
    }

    /// The message of one layer.
    pub fn message(&self, layer: Layer) -> Option<&str> {
        self.messages
            .iter()
            .find(|(own, _)| *own == layer)
            .map(|(_, message)| &**message)
    }

    /// The seconds to ring of one layer.
    pub fn ring_for_s(&self, layer: Layer) -> Option<u16> {
        self.ring_for_s
            .iter()
            .find(|(own, _)| *own == layer)
            .map(|(_, seconds)| *seconds)
    }

    /// What becomes of chat messages in one layer.
    pub fn chat(&self, layer: Layer) -> Option<Chat> {
        let found = self.chat.iter().find(|(own, _)| *own == layer);
        found.map(|(_, chat)| *chat)
    }

    /// Whether anything in the layer can change what a call or a message does.
    pub fn touches_calls(&self, layer: Layer) -> bool {
        self.entries.iter().any(|entry| entry.layer == layer)
            || self.ring_for_s.iter().any(|(own, _)| *own == layer)
            || self.chat(layer).is_some()
    }

    /// Every forwarding: where it is set, when it applies, to whom, where it goes.
    pub fn forwardings(
        &self,
    ) -> impl Iterator<Item = (Layer, Moment, Option<CallerClass>, &Arc<Target>)> {
        self.entries.iter().filter_map(|entry| match &entry.step {
            Step::Forward(target) => Some((entry.layer, entry.moment, entry.class, target)),
            _ => None,
        })
    }

    /// The settings as documents write them.
    pub fn settings(&self) -> Settings {
        let mut settings = Settings {
            own: self.own.clone(),
            ..Settings::default()
        };
        for layer in LAYERS {
            if let Some(part) = settings.part_mut(layer.name()) {
                part.message = self.message(layer).map(str::to_owned);
                part.ring_for_s = self.ring_for_s(layer);
                part.chat = self.chat(layer);
                for moment in Moment::ALL {
                    *rule_mut(part, moment) = self.rule(layer, moment);
                }
            }
        }
        settings
    }

    fn rule(&self, layer: Layer, moment: Moment) -> Option<Rule> {
        let own = self
            .entries
            .iter()
            .filter(|e| e.layer == layer && e.moment == moment);
        let mut by_class = ClassRule::default();
        let mut any = false;
        for entry in own {
            let slot = match entry.class {
                None => return Some(Rule::All(entry.step.action())),
                Some(CallerClass::Internal) => &mut by_class.internal,
                Some(CallerClass::External) => &mut by_class.external,
                Some(CallerClass::Anonymous) => &mut by_class.anonymous,
            };
            *slot = Some(entry.step.action());
            any = true;
        }
        any.then_some(Rule::PerClass(by_class))
    }
}

fn compile_rule(
    layer: Layer,
    moment: Moment,
    rule: &Rule,
    plan: &NumberPlan,
    entries: &mut Vec<Entry>,
) {
    match rule {
        Rule::All(action) => {
            entries.push(Entry {
                layer,
                moment,
                class: None,
                step: Step::of(action, plan),
            });
        }
        Rule::PerClass(by_class) => {
            entries.extend(
                by_class
                    .classes()
                    .into_iter()
                    .filter_map(|(class, action)| {
                        let step = Step::of(action?, plan);
                        Some(Entry {
                            layer,
                            moment,
                            class: Some(class),
                            step,
                        })
                    }),
            );
        }
    }
}

const fn rule_mut(part: &mut StatusSettings, moment: Moment) -> &mut Option<Rule> {
    match moment {
        Moment::Immediate => &mut part.immediate,
        Moment::Busy => &mut part.busy,
        Moment::NoAnswer => &mut part.no_answer,
        Moment::Unreachable => &mut part.unreachable,
        Moment::Declined => &mut part.declined,
    }
}

fn offsets(start: usize, length: usize) -> (u16, u16) {
    let at = |position: usize| u16::try_from(position).unwrap_or(u16::MAX);
    (at(start), at(start.saturating_add(length)))
}

fn range(text: &str, (start, end): (u16, u16)) -> &str {
    text.get(usize::from(start)..usize::from(end))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn plan() -> NumberPlan {
        crate::presence::sample::plan()
    }

    fn rules(settings: serde_json::Value) -> Rules {
        Rules::compile(&serde_json::from_value(settings).unwrap(), &plan()).unwrap()
    }

    #[test]
    fn a_class_of_its_own_is_found_and_another_is_unset() {
        let rules = rules(json!({"away": {"immediate": {"internal": "connect"}, "ring_for_s": 9}}));
        let away = Layer::Of(Status::Away);
        assert_eq!(
            rules.step(away, Moment::Immediate, CallerClass::Internal),
            Some(&Step::Connect)
        );
        assert_eq!(
            rules.step(away, Moment::Immediate, CallerClass::External),
            None
        );
        assert_eq!(
            rules.step(Layer::All, Moment::Immediate, CallerClass::Internal),
            None
        );
        assert_eq!(
            (rules.ring_for_s(away), rules.ring_for_s(Layer::All)),
            (Some(9), None)
        );
        assert!(rules.touches_calls(away) && !rules.touches_calls(Layer::All));
    }

    #[test]
    fn a_target_is_a_number_or_a_uri_with_user_and_host() {
        let number = Target::parse("030123456", &plan());
        assert_eq!(
            number,
            Target::Number {
                dialled: "030123456".into(),
                key: "+4930123456".into()
            }
        );
        for (uri, user, host) in [
            ("sip:bob@example.com", "bob", Some("example.com")),
            (
                "SIPS:bob:pw@example.com:5061;transport=tcp",
                "bob",
                Some("example.com"),
            ),
            ("sip:[::1]:5060", "", Some("[::1]")),
            (
                "sip:+49%2030;phone-context=+49@h;user=phone",
                "+49%2030;phone-context=+49",
                Some("h"),
            ),
            ("tel:+4930123456", "+4930123456", None),
        ] {
            let target = Target::parse(uri, &plan());
            assert_eq!((target.user(), target.host()), (user, host), "{uri}");
            assert_eq!(target.as_str(), uri);
        }
    }

    #[test]
    fn nothing_set_compiles_to_nothing() {
        assert_eq!(Rules::compile(&Settings::default(), &plan()), None);
    }

    proptest! {
        #[test]
        fn settings_survive_compilation(settings in crate::presence::sample::settings()) {
            let compiled = Rules::compile(&settings, &plan());
            let back = compiled.map(|rules| rules.settings()).unwrap_or_default();
            prop_assert_eq!(back, settings);
        }
    }
}
