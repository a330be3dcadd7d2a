//! What the demo shows: a table for people, a document for programs.

use comfy_table::{
    Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, Row, Table, Width, presets,
};
use serde_json::{Value, json};

use super::judge::{Deviation, statuses};
use super::play::Got;
use super::scenarios::{Caller, Course, Scenario};
use super::sip::user_of;
use super::stage::{Leftovers, Stage};
use crate::cli::output::is_colourful;
use crate::presence::{Handle, Language, Status};
use crate::proxy::{Outcome, Trace};

/// How wide the table is where standard output is no terminal.
const WIDTH: u16 = 132;
/// How wide its columns are at most, padding included.
const COLUMNS: [u16; 5] = [32, 18, 46, 32, 4];

/// One call as it was played and judged.
pub(super) struct Played {
    pub scenario: &'static Scenario,
    pub got: Got,
    pub deviations: Vec<Deviation>,
}

impl Played {
    pub(super) fn is_ok(&self) -> bool {
        self.deviations.is_empty()
    }
}

/// The demo's results with the directory that has the names.
pub(super) struct Report<'a> {
    pub stage: &'a Stage,
    pub language: Language,
    pub played: &'a [Played],
    pub leftovers: Leftovers,
    pub elapsed_ms: u64,
}

impl Report<'_> {
    /// Whether everything came out as expected.
    pub(super) fn is_ok(&self) -> bool {
        self.played.iter().all(Played::is_ok) && self.leftovers.is_nothing()
    }

    fn say<'t>(&self, english: &'t str, german: &'t str) -> &'t str {
        match self.language {
            Language::En => english,
            Language::De => german,
        }
    }

    /// The table of all calls, and what is left of them.
    pub(super) fn table(&self) -> String {
        let mut table = Table::new();
        table
            .load_style(presets::UTF8_HORIZONTAL_ONLY)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_header([
                self.say("call", "Anruf"),
                self.say("callee's status", "Status"),
                self.say("decision and why", "Entscheidung und Gründe"),
                self.say("what the phone got", "was das Telefon bekam"),
                "",
            ]);
        if is_colourful() {
            table.enforce_styling();
        } else {
            table.force_no_tty().set_width(WIDTH);
        }
        for played in self.played {
            table.add_row(self.row(played));
        }
        for (column, width) in table.column_iter_mut().zip(COLUMNS) {
            column.set_constraint(ColumnConstraint::UpperBoundary(Width::Fixed(width)));
        }
        format!("{table}\n{}", self.summary())
    }

    fn row(&self, played: &Played) -> Row {
        let mut decision = self.decision(played);
        for deviation in &played.deviations {
            let Deviation {
                what,
                expected,
                got,
            } = deviation;
            decision.push_str(&match self.language {
                Language::En => format!("\n✗ {what}: expected {expected}; got {got}"),
                Language::De => format!("\n✗ {what}: erwartet {expected}; bekommen {got}"),
            });
        }
        let (mark, colour) = match played.is_ok() {
            true => ("ok", Color::Green),
            false => ("✗", Color::Red),
        };
        Row::from([
            Cell::new(self.call(played.scenario)),
            Cell::new(self.status(&played.got, played.scenario)),
            Cell::new(decision),
            Cell::new(self.phone(&played.got)),
            Cell::new(mark)
                .fg(colour)
                .set_alignment(CellAlignment::Center),
        ])
    }

    /// Who called whom, and what was special.
    fn call(&self, scenario: &Scenario) -> String {
        let caller = match scenario.caller {
            Caller::Colleague(name, _) => name.to_owned(),
            Caller::Outside(number) | Caller::Retargeted(number) => number.to_owned(),
            Caller::Anonymous => self.say("anonymous", "anonym").to_owned(),
            Caller::Stranger => self.say("a stranger", "ein Fremder").to_owned(),
        };
        let dialled = match scenario.callee.and_then(|id| self.name_of(id)) {
            Some(name) => format!("{name} ({})", scenario.dialled),
            None => scenario.dialled.to_owned(),
        };
        let note = match (scenario.course, scenario.caller) {
            (Course::CallerGivesUp, _) => {
                self.say("gives up while it rings", "legt beim Klingeln auf")
            }
            (Course::CalleeHangsUp, _) => self.say("the callee hangs up", "die Gerufene legt auf"),
            (Course::WhileInCall, _) => self.say("a second call", "ein zweiter Anruf"),
            (Course::Diverted(_), _) => {
                self.say("diverted 5 times before", "schon 5-mal umgeleitet")
            }
            (Course::AfterTheBreak, _) => self.say("the break is over", "die Pause ist um"),
            (_, Caller::Retargeted(_)) => self.say("retargeting trunk", "Trunk mit retarget"),
            _ => return format!("{caller} → {dialled}"),
        };
        format!("{caller} → {dialled}\n{note}")
    }

    fn name_of(&self, id: &str) -> Option<String> {
        let profile = self.stage.directory().get(id)?;
        Some(profile.display_name().to_owned())
    }

    fn name(&self, handle: Handle) -> String {
        let profile = self.stage.directory().profile(handle);
        profile.map_or_else(String::new, |profile| profile.display_name().to_owned())
    }

    /// The callee's effective status before the call, with the message that goes with it.
    fn status(&self, got: &Got, scenario: &Scenario) -> String {
        let Some(status) = got.status else {
            return "—".to_owned();
        };
        let word = match status {
            Status::Available => self.say("available", "anwesend"),
            Status::Away => self.say("away", "abwesend"),
            Status::Break => self.say("on a break", "in Pause"),
            Status::Dnd => self.say("do not disturb", "nicht stören"),
            Status::InCall => self.say("in a call", "im Gespräch"),
        };
        let profile = scenario
            .callee
            .and_then(|id| self.stage.directory().get(id));
        let message = profile
            .as_ref()
            .and_then(|profile| profile.message_at(self.stage.now_unix_s(), status));
        match message {
            Some(message) => format!("{word}\n“{message}”"),
            None => word.to_owned(),
        }
    }

    /// What was decided, then each reason.
    fn decision(&self, played: &Played) -> String {
        let Some(trace) = &played.got.trace else {
            let text = self.say(
                "refused: not for us, and from nobody we know",
                "abgewiesen: nicht für uns und von niemandem, den wir kennen",
            );
            return text.to_owned();
        };
        let mut text = self.outcome(trace);
        for sentence in self.reasons(trace) {
            text.push_str("\n· ");
            text.push_str(&sentence);
        }
        text
    }

    fn outcome(&self, trace: &Trace) -> String {
        let target = trace.texts.target();
        let target = user_of(&target);
        match (trace.outcome, self.language) {
            (Outcome::Connect, Language::En) => "sent to the PBX".to_owned(),
            (Outcome::Connect, Language::De) => "an die Anlage gegeben".to_owned(),
            (Outcome::Redirect, Language::En) => format!("redirected to {target}"),
            (Outcome::Redirect, Language::De) => format!("umgelenkt (302) an {target}"),
            (Outcome::Forward, Language::En) => format!("forwarded to {target}"),
            (Outcome::Forward, Language::De) => format!("weitergeleitet an {target}"),
            (Outcome::RedirectVoicemail, Language::En) => "redirected to voicemail".to_owned(),
            (Outcome::RedirectVoicemail, Language::De) => {
                "umgelenkt (302) auf die Mailbox".to_owned()
            }
            (Outcome::ForwardVoicemail, Language::En) => "forwarded to voicemail".to_owned(),
            (Outcome::ForwardVoicemail, Language::De) => {
                "weitergeleitet auf die Mailbox".to_owned()
            }
            (Outcome::Reject, Language::En) => "refused".to_owned(),
            (Outcome::Reject, Language::De) => "abgewiesen".to_owned(),
            (Outcome::PassOn, Language::En) => "passed on to the PBX: nobody of ours".to_owned(),
            (Outcome::PassOn, Language::De) => {
                "an die Anlage weitergegeben: niemand von uns".to_owned()
            }
            (Outcome::FeatureCode, Language::En) => "a feature code".to_owned(),
            (Outcome::FeatureCode, Language::De) => "ein Steuercode".to_owned(),
        }
    }

    fn reasons(&self, trace: &Trace) -> Vec<String> {
        let names = |handle| self.name(handle);
        let reasons = trace.reasons.iter();
        reasons
            .map(|reason| reason.describe(self.language, &names))
            .collect()
    }

    fn phone(&self, got: &Got) -> String {
        let mut text = statuses(&got.heard);
        if got.heard.last().is_some_and(|status| *status >= 400) {
            text = format!("{text} {}", got.phrase);
        }
        if let Some(contact) = &got.contact {
            let uri = contact.split(';').next().unwrap_or(contact);
            text = format!("{text} → {uri}\n{}", statuses(&got.then));
        }
        if let Some(name) = &got.answered_by {
            text = format!("{text} · {name}");
        }
        if !got.in_call.is_empty() {
            let names = got.in_call.iter().filter_map(|id| self.name_of(id));
            let in_call = self.say("in a call", "im Gespräch");
            let names = names.collect::<Vec<_>>().join(", ");
            text = format!("{text}\n{in_call}: {names}");
        }
        text
    }

    fn summary(&self) -> String {
        let (all, elapsed) = (self.played.len(), self.elapsed_ms as f64 / 1_000.0);
        let ok = self.played.iter().filter(|played| played.is_ok()).count();
        let calls = match self.language {
            Language::En => format!("{ok} of {all} calls came out as expected, in {elapsed:.1} s."),
            Language::De => {
                format!("{ok} von {all} Anrufen verliefen wie erwartet, in {elapsed:.1} s.")
            }
        };
        format!("{calls}\n{}", self.left())
    }

    fn left(&self) -> String {
        let Leftovers {
            calls,
            invites,
            waiting_for_timer_d: timer_d,
            relays,
            marks,
            stored_calls,
            dialogs,
        } = self.leftovers;
        let transactions = invites + relays;
        let mut text = match self.language {
            Language::En => format!(
                "Left over: {calls} calls, {marks} marks, {transactions} transactions, \
                 {stored_calls} stored calls, {dialogs} calls at the PBX."
            ),
            Language::De => format!(
                "Übrig: {calls} Anrufe, {marks} Marken, {transactions} Transaktionen, \
                 {stored_calls} gespeicherte Anrufe, {dialogs} Anrufe an der Anlage."
            ),
        };
        if timer_d > 0 {
            text.push_str(&match self.language {
                Language::En => {
                    format!("\n{timer_d} failed INVITEs wait out RFC 3261's timer D (32 s).")
                }
                Language::De => {
                    format!(
                        "\n{timer_d} gescheiterte INVITEs warten Timer D (32 s) aus RFC 3261 ab."
                    )
                }
            });
        }
        text
    }

    /// The document for programs.
    pub(super) fn document(&self) -> Value {
        let Leftovers {
            calls,
            invites,
            waiting_for_timer_d,
            relays,
            marks,
            stored_calls,
            dialogs,
        } = self.leftovers;
        json!({
            "ok": self.is_ok(),
            "elapsed_ms": self.elapsed_ms,
            "calls": self.played.iter().map(|played| self.entry(played)).collect::<Vec<_>>(),
            "left": {
                "calls": calls,
                "invite_transactions": invites,
                "waiting_for_timer_d": waiting_for_timer_d,
                "other_transactions": relays,
                "marks": marks,
                "stored_calls": stored_calls,
                "calls_elsewhere": dialogs,
            },
        })
    }

    fn entry(&self, played: &Played) -> Value {
        let (scenario, got) = (played.scenario, &played.got);
        let trace = got.trace.as_ref();
        let deviations = played.deviations.iter().map(|deviation| {
            json!({
                "what": deviation.what,
                "expected": deviation.expected,
                "got": deviation.got,
            })
        });
        json!({
            "name": scenario.key,
            "ok": played.is_ok(),
            "from": scenario.caller.shown(),
            "class": trace.map(|trace| trace.class.name()),
            "to": scenario.uri(),
            "callee": scenario.callee,
            "status": got.status,
            "outcome": trace.map(|trace| trace.outcome.label()).or(got.rejection),
            "reasons": trace.map(|trace| {
                trace.reasons.iter().map(|reason| reason.label()).collect::<Vec<_>>()
            }),
            "why": trace.map(|trace| self.reasons(trace)),
            "heard": got.heard,
            "contact": got.contact,
            "then": got.then,
            "answered_by": got.answered_by,
            "in_call": got.in_call,
            "deviations": deviations.collect::<Vec<_>>(),
        })
    }
}

impl Caller {
    fn shown(self) -> &'static str {
        match self {
            Self::Colleague(_, extension) => extension,
            Self::Outside(number) | Self::Retargeted(number) => number,
            Self::Anonymous => "anonymous",
            Self::Stranger => "stranger",
        }
    }
}
