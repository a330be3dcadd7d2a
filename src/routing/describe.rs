//! Decisions in sentences for people, in English and German.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::decision::{Decision, Destination, Plan, Rejection};
use super::question::Failure;
use super::reason::Reason;
use crate::presence::{
    CallerClass, Chat, Handle, Language, Layer, Moment, OwnName, Status, StatusLayer, Step,
};

/// What sentences need to know about subscribers.
pub trait Names {
    /// The display name.
    fn name(&self, handle: Handle) -> String;

    /// What people read of an own status.
    fn own_status(&self, own: OwnName, language: Language) -> String {
        let _ = language;
        own.id().to_owned()
    }

    /// In which time zone times are told.
    fn zone(&self) -> TimeZone {
        TimeZone::UTC
    }
}

impl<F: Fn(Handle) -> String> Names for F {
    fn name(&self, handle: Handle) -> String {
        self(handle)
    }
}

impl Decision {
    /// Every reason and then the plan, each a sentence without its full stop.
    pub fn describe(&self, language: Language, names: &impl Names) -> Vec<String> {
        let reasons = self
            .reasons
            .iter()
            .map(|reason| reason.describe(language, names));
        reasons
            .chain([self.plan.describe(language, names)])
            .collect()
    }
}

impl Plan {
    /// What happens, in a sentence.
    pub fn describe(&self, language: Language, names: &impl Names) -> String {
        let german = language == Language::De;
        let to = match self {
            Self::Connect(connect) => {
                let name = names.name(connect.callee);
                return match (connect.ring_for_s, german) {
                    (Some(s), true) => format!("Bei {name} klingelt es bis zu {s} Sekunden"),
                    (Some(s), false) => format!("{name} is rung for up to {s} seconds"),
                    (None, true) => format!("Bei {name} klingelt es"),
                    (None, false) => format!("{name} is rung"),
                };
            }
            Self::Reject(rejection) => return rejection.describe(language).to_owned(),
            Self::Forward(divert) | Self::Redirect(divert) => &divert.to,
        };
        match (to, german) {
            (Destination::Voicemail { of }, true) => {
                format!("Der Anruf geht auf die Mailbox von {}", names.name(*of))
            }
            (Destination::Voicemail { of }, false) => {
                format!("The call goes to the voicemail of {}", names.name(*of))
            }
            (Destination::Subscriber { connect, .. }, true) => {
                format!("Der Anruf geht an {}", names.name(connect.callee))
            }
            (Destination::Subscriber { connect, .. }, false) => {
                format!("The call goes to {}", names.name(connect.callee))
            }
            (Destination::Target(target), true) => format!("Der Anruf geht an {}", target.as_str()),
            (Destination::Target(target), false) => format!("The call goes to {}", target.as_str()),
        }
    }
}

impl Rejection {
    /// What the refusal means, in a sentence.
    pub const fn describe(self, language: Language) -> &'static str {
        match (self, language) {
            (Self::Dnd, Language::De) => "Der Anruf wird abgewiesen: Bitte nicht stören",
            (Self::Dnd, Language::En) => "The call is refused: do not disturb",
            (Self::Busy, Language::De) => "Der Anruf wird abgewiesen: besetzt",
            (Self::Busy, Language::En) => "The call is refused: busy",
            (Self::Missed, Language::De) => "Der Anruf wird als verpasst vermerkt",
            (Self::Missed, Language::En) => "The call is noted as missed",
            (Self::Refused, Language::De) => "Der Anruf wird abgelehnt",
            (Self::Refused, Language::En) => "The call is declined",
            (Self::Suppressed, Language::De) => "Die Nachricht wird nur vermerkt",
            (Self::Suppressed, Language::En) => "The message is only noted",
            (Self::Blocked, Language::De) => "Der Anruf wird abgelehnt: gesperrt",
            (Self::Blocked, Language::En) => "The call is declined: blocked",
            (Self::AnonymousRefused, Language::De) => "Anonyme Anrufe werden abgewiesen",
            (Self::AnonymousRefused, Language::En) => "Anonymous calls are refused",
            (Self::NoAnswer, Language::De) => "Der Anruf endet: niemand antwortet",
            (Self::NoAnswer, Language::En) => "The call ends: nobody answers",
            (Self::Unreachable, Language::De) => "Der Anruf endet: nicht erreichbar",
            (Self::Unreachable, Language::En) => "The call ends: not reachable",
            (Self::LoopDetected, Language::De) => "Der Anruf endet: Weiterleitung im Kreis",
            (Self::LoopDetected, Language::En) => "The call ends: forwarding in a circle",
            (Self::TooManyHops, Language::De) => "Der Anruf endet: zu oft weitergeleitet",
            (Self::TooManyHops, Language::En) => "The call ends: forwarded too often",
            (Self::UnknownCallee, Language::De) => "Der Anruf endet: Teilnehmer unbekannt",
            (Self::UnknownCallee, Language::En) => "The call ends: no such subscriber",
        }
    }
}

impl Reason {
    /// The reason in a sentence.
    pub fn describe(&self, language: Language, names: &impl Names) -> String {
        let name = self
            .subscriber()
            .map(|handle| names.name(handle))
            .unwrap_or_default();
        match language {
            Language::De => self.in_german(&name, names),
            Language::En => self.in_english(&name, names),
        }
    }

    fn in_english(&self, name: &str, names: &impl Names) -> String {
        match self {
            Self::EmergencyCallback => "An emergency centre calls back".into(),
            Self::UnknownCallee => "There is no such subscriber".into(),
            Self::Status {
                status,
                own,
                layer,
                until_unix_s,
                ..
            } => {
                let until = time(*until_unix_s, names, " until %Y-%m-%d %H:%M");
                let why = english_why(*layer);
                let own = own_text(*own, names, Language::En);
                format!("{name} is{own} {}{until}{why}", english_status(*status))
            }
            Self::Expired { status, .. } => {
                format!(
                    "{name} is no longer {}: the time is over",
                    english_status(*status)
                )
            }
            Self::InCall { calls: 1, .. } => format!("{name} is in a call"),
            Self::InCall { calls, .. } => format!("{name} is in {calls} calls"),
            Self::Rule {
                layer,
                moment,
                class,
                step,
                ..
            } => {
                let (layer, callers) = (english_layer(*layer, names), english_callers(*class));
                let what = english_step(step, callers);
                format!(
                    "{name}'s setting for {layer} {what}{}",
                    english_moment(*moment)
                )
            }
            Self::Blocked { .. } => format!("{name} has blocked this caller"),
            Self::Chat { layer, chat, .. } => format!(
                "{name}'s setting for {}: messages are {}",
                english_layer(*layer, names),
                english_chat(*chat)
            ),
            Self::Vip { .. } => format!("This caller always rings through to {name}"),
            Self::Exception { matched, .. } => {
                let what = english_step(&matched.step, "this caller");
                format!("{name}'s exception “{}” {what}", matched.name)
            }
            Self::TargetRefused { target, .. } => {
                let target = target.as_str();
                format!("{name} forwards to {target}, which the administrator does not allow")
            }
            Self::CallThrough { .. } => {
                format!("{name} forwards to this very caller, who is put through")
            }
            Self::Failed { failure, .. } => english_failure(*failure, name),
            Self::Loop { .. } => format!("The call has been to {name} already"),
            Self::HopLimit { diversions } => {
                format!("The call has been forwarded {diversions} times already")
            }
            Self::FirstCalled { .. } => {
                format!("{name} was called first, and what {name} set for no answer applies")
            }
            Self::NoVoicemail => "There is no voicemail".into(),
        }
    }

    fn in_german(&self, name: &str, names: &impl Names) -> String {
        match self {
            Self::EmergencyCallback => "Rückruf einer Notrufzentrale".into(),
            Self::UnknownCallee => "Diesen Teilnehmer gibt es nicht".into(),
            Self::Status {
                status,
                own,
                layer,
                until_unix_s,
                ..
            } => {
                let until = time(*until_unix_s, names, " bis %d.%m.%Y %H:%M");
                let why = german_why(*layer);
                let own = own_text(*own, names, Language::De);
                format!("{name} {}{own}{until}{why}", german_status(*status))
            }
            Self::Expired { status, .. } => {
                format!(
                    "Die Zeit ist um, für die galt: {name} {}",
                    german_status(*status)
                )
            }
            Self::InCall { calls: 1, .. } => format!("{name} ist im Gespräch"),
            Self::InCall { calls, .. } => format!("{name} ist in {calls} Gesprächen"),
            Self::Rule {
                layer,
                moment,
                class,
                step,
                ..
            } => {
                let (layer, callers) = (german_layer(*layer, names), german_callers(*class));
                let (moment, what) = (german_moment(*moment), german_step(step));
                format!("{name}, Einstellung {layer}: {callers} Anrufer werden{moment} {what}")
            }
            Self::Blocked { .. } => format!("{name} hat diesen Anrufer gesperrt"),
            Self::Chat { layer, chat, .. } => format!(
                "{name}, Einstellung {}: Nachrichten werden {}",
                german_layer(*layer, names),
                german_chat(*chat)
            ),
            Self::Vip { .. } => format!("Dieser Anrufer wird immer zu {name} durchgestellt"),
            Self::Exception { matched, .. } => {
                let what = german_step(&matched.step);
                format!(
                    "{name}, Ausnahme „{}“: der Anrufer wird {what}",
                    matched.name
                )
            }
            Self::TargetRefused { target, .. } => {
                let target = target.as_str();
                format!("{name} leitet an {target} weiter, was nicht erlaubt ist")
            }
            Self::CallThrough { .. } => {
                format!("{name} leitet zu diesem Anrufer selbst weiter; er wird durchgestellt")
            }
            Self::Failed { failure, .. } => german_failure(*failure, name),
            Self::Loop { .. } => format!("Der Anruf war schon bei {name}"),
            Self::HopLimit { diversions } => {
                format!("Der Anruf wurde schon {diversions} Mal weitergeleitet")
            }
            Self::FirstCalled { .. } => {
                format!("{name} wurde zuerst gerufen; es gilt, was dort bei Nichtmelden geschieht")
            }
            Self::NoVoicemail => "Es gibt keine Mailbox".into(),
        }
    }
}

fn english_failure(failure: Failure, name: &str) -> String {
    match failure {
        Failure::NoAnswer => format!("{name} does not answer"),
        Failure::Busy => format!("{name} is busy"),
        Failure::Unreachable => format!("{name} cannot be reached"),
        Failure::Declined => format!("{name} declines the call"),
    }
}

fn german_failure(failure: Failure, name: &str) -> String {
    match failure {
        Failure::NoAnswer => format!("{name} antwortet nicht"),
        Failure::Busy => format!("Bei {name} ist besetzt"),
        Failure::Unreachable => format!("{name} ist nicht erreichbar"),
        Failure::Declined => format!("{name} lehnt den Anruf ab"),
    }
}

/// An own status within a sentence.
fn own_text(own: Option<OwnName>, names: &impl Names, language: Language) -> String {
    let text = own.map(|own| names.own_status(own, language));
    match (text, language) {
        (None, _) => String::new(),
        (Some(text), Language::De) => format!(" („{text}“)"),
        (Some(text), Language::En) => format!(" “{text}”,"),
    }
}

fn time(unix_s: Option<i64>, names: &impl Names, format: &str) -> String {
    unix_s
        .and_then(|at| Timestamp::from_second(at).ok())
        .map(|at| {
            at.to_zoned_datetime(names.zone())
                .strftime(format)
                .to_string()
        })
        .unwrap_or_default()
}

const fn english_status(status: Status) -> &'static str {
    match status {
        Status::Available => "available",
        Status::Away => "away",
        Status::Break => "on a break",
        Status::Dnd => "not to be disturbed",
        Status::InCall => "in a call",
    }
}

const fn german_status(status: Status) -> &'static str {
    match status {
        Status::Available => "ist anwesend",
        Status::Away => "ist abwesend",
        Status::Break => "ist in Pause",
        Status::Dnd => "möchte nicht gestört werden",
        Status::InCall => "ist im Gespräch",
    }
}

/// What a status goes back to that nobody chose.
const fn english_why(layer: StatusLayer) -> &'static str {
    match layer {
        StatusLayer::Override => " (ordered)",
        StatusLayer::Held | StatusLayer::Chosen | StatusLayer::Available => "",
        StatusLayer::Event => " (meeting or activity)",
        StatusLayer::Calendar => " (calendar)",
        StatusLayer::Schedule => " (hours)",
        StatusLayer::Idle => " (idle)",
    }
}

const fn german_why(layer: StatusLayer) -> &'static str {
    match layer {
        StatusLayer::Override => " (angeordnet)",
        StatusLayer::Held | StatusLayer::Chosen | StatusLayer::Available => "",
        StatusLayer::Event => " (Besprechung oder Tätigkeit)",
        StatusLayer::Calendar => " (Kalender)",
        StatusLayer::Schedule => " (Arbeitszeit)",
        StatusLayer::Idle => " (untätig)",
    }
}

fn english_layer(layer: Layer, names: &impl Names) -> Cow<'static, str> {
    Cow::Borrowed(match layer {
        Layer::Own(own) => return format!("“{}”", names.own_status(own, Language::En)).into(),
        Layer::All => "every status",
        Layer::Of(Status::Break) => "breaks",
        Layer::Of(Status::Dnd) => "do not disturb",
        Layer::Of(status) => english_status(status),
    })
}

fn german_layer(layer: Layer, names: &impl Names) -> Cow<'static, str> {
    Cow::Borrowed(match layer {
        Layer::Own(own) => return format!("„{}“", names.own_status(own, Language::De)).into(),
        Layer::All => "„für alle Status“",
        Layer::Of(status) => match status {
            Status::Available => "„Ich bin anwesend“",
            Status::Away => "„Ich bin abwesend“",
            Status::Break => "„Ich bin in Pause“",
            Status::Dnd => "„Bitte nicht stören“",
            Status::InCall => "„Im Gespräch“",
        },
    })
}

const fn english_chat(chat: Chat) -> &'static str {
    match chat {
        Chat::Deliver => "delivered",
        Chat::Reject => "refused",
        Chat::Suppress => "only noted",
    }
}

const fn german_chat(chat: Chat) -> &'static str {
    match chat {
        Chat::Deliver => "zugestellt",
        Chat::Reject => "abgewiesen",
        Chat::Suppress => "nur vermerkt",
    }
}

const fn english_callers(class: CallerClass) -> &'static str {
    match class {
        CallerClass::Internal => "internal callers",
        CallerClass::External => "external callers",
        CallerClass::Anonymous => "anonymous callers",
    }
}

const fn german_callers(class: CallerClass) -> &'static str {
    match class {
        CallerClass::Internal => "interne",
        CallerClass::External => "externe",
        CallerClass::Anonymous => "anonyme",
    }
}

fn english_step(step: &Step, callers: &str) -> String {
    match step {
        Step::Connect => format!("lets {callers} ring"),
        Step::Reject => format!("refuses {callers}"),
        Step::Missed => format!("notes {callers} as missed"),
        Step::Voicemail => format!("sends {callers} to voicemail"),
        Step::Forward(target) => format!("forwards {callers} to {}", target.as_str()),
    }
}

fn german_step(step: &Step) -> String {
    match step {
        Step::Connect => "durchgestellt".into(),
        Step::Reject => "abgewiesen".into(),
        Step::Missed => "als verpasst vermerkt".into(),
        Step::Voicemail => "zur Mailbox geleitet".into(),
        Step::Forward(target) => format!("an {} weitergeleitet", target.as_str()),
    }
}

const fn english_moment(moment: Moment) -> &'static str {
    match moment {
        Moment::Immediate => "",
        Moment::Busy => " when busy",
        Moment::NoAnswer => " on no answer",
        Moment::Unreachable => " when not reachable",
        Moment::Declined => " when declined",
    }
}

const fn german_moment(moment: Moment) -> &'static str {
    match moment {
        Moment::Immediate => "",
        Moment::Busy => " bei Besetzt",
        Moment::NoAnswer => " bei Nichtmelden",
        Moment::Unreachable => " bei Nichterreichbarkeit",
        Moment::Declined => " bei Ablehnung",
    }
}
