//! `GET /api/v1/explain`: what would happen to a call, and why, from the function that routes.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::ACCEPT_LANGUAGE;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Refusals;
use super::auth::Caller;
use super::colleagues::Viewer;
use super::extract::Query;
use super::problem::{Failure, Kind};
use super::state::ApiState;
use crate::message::{Scheme, Uri};
use crate::presence::{CallerClass, Directory, Handle, Language, OwnName, Profile};
use crate::proxy::Neighbourhood;
use crate::proxy::policy::{Peer, Policy, UnknownCallee};
use crate::routing::{
    Caller as CallingParty, Connect, Decision, Destination, Failure as Failed, History, Names,
    Plan, Question, Reasons, decide, decide_after,
};

/// Who calls whom, and when.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ExplainQuery {
    /// Who calls: a subscriber's id, a number, a SIP URI, or `anonymous`
    from: String,
    /// Who is called: a subscriber's id, a number or a SIP URI
    to: String,
    /// When (RFC 3339); now without it
    at: Option<String>,
    /// Language of the sentences, `en` or `de`, before `Accept-Language`
    lang: Option<String>,
    /// Through which configured peer the call comes; a stranger without it
    peer: Option<String>,
}

/// What would happen to a call.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Explanation {
    /// When the call is made.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// `internal`, `external` or `anonymous`.
    pub caller_class: &'static str,
    /// The calling subscriber.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// Their name for people, where the reader may see them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller_name: Option<String>,
    /// The subscriber who is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callee: Option<String>,
    /// Their name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callee_name: Option<String>,
    /// What happens.
    #[serde(flatten)]
    pub outcome: ExplainedPlan,
    /// What happens when the one who is rung cannot take the call.
    pub afterwards: Vec<Afterwards>,
}

/// What happens, and why.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ExplainedPlan {
    /// `connect`, `redirect`, `forward`, `reject`; `pass_on` where the call is for nobody we know
    /// and goes to the PBX; `relay` where it is for another domain; `final_response` where what the
    /// PBX answers is passed back.
    pub plan: &'static str,
    /// The target of a forwarding, or whose voicemail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Whether the target is a voicemail box.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub voicemail: bool,
    /// The status of a refusal or a redirection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How long it rings, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ring_for_s: Option<u16>,
    /// What happens, in a sentence.
    pub summary: String,
    /// Why, in the order in which it was found.
    pub reasons: Vec<ExplainedReason>,
}

/// One reason.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ExplainedReason {
    /// The label used in logs, metrics and the journal.
    pub code: &'static str,
    /// The reason in a sentence.
    pub sentence: String,
}

/// What happens when the one who is rung cannot take the call.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Afterwards {
    /// `no_answer`, `busy`, `unreachable` or `declined`.
    pub when: &'static str,
    /// What happens then.
    #[serde(flatten)]
    pub outcome: ExplainedPlan,
    /// All of it in a sentence.
    pub sentence: String,
}

/// Explain a call without making it
///
/// Answers by the very function that routes calls, with the settings and statuses of now and the
/// time given. Subscribers may ask about calls to themselves; where a call goes on to a colleague,
/// what that one has set is not told.
#[utoipa::path(
    get, path = "/explain", tag = "calls",
    params(ExplainQuery, ("Accept-Language" = Option<String>, Header, description = "en or de")),
    responses((status = 200, body = Explanation), Refusals)
)]
pub(super) async fn explain(
    State(state): State<ApiState>,
    caller: Caller,
    headers: HeaderMap,
    Query(query): Query<ExplainQuery>,
) -> Result<Json<Explanation>, Failure> {
    let policy = state.shared().policy.load_full();
    let viewer = Viewer::of(&state, &caller);
    let name = |profile: &Profile| viewer.name_of(&state, profile);
    let scene = Scene {
        directory: state.directory(),
        policy: &policy,
        language: language(query.lang.as_deref(), &headers)?,
        is_open: matches!(caller, Caller::Administrator),
        name: &name,
    };
    let at = match &query.at {
        Some(text) => instant(text)?,
        None => state.now(),
    };
    let to = Party::read(&query.to, &scene)?;
    let callee_id = to.handle.and_then(|handle| scene.id(handle));
    match &callee_id {
        Some(id) => caller.owns(id)?,
        None => caller.administers()?,
    }
    let peer = scene.peer(query.peer.as_deref())?;
    let from = Party::read(&query.from, &scene)?.through(peer);
    let (outcome, afterwards) = match to.handle {
        Some(callee) => scene.asked(&from, callee, at, peer),
        None => (scene.unknown(&to), Vec::new()),
    };
    Ok(Json(Explanation {
        at,
        caller_class: from.class.name(),
        caller: from.handle.and_then(|handle| scene.id(handle)),
        caller_name: from.handle.and_then(|handle| scene.name(handle)),
        callee: callee_id,
        callee_name: to.handle.and_then(|handle| scene.name(handle)),
        outcome,
        afterwards,
    }))
}

/// What the question is asked about.
struct Scene<'a> {
    directory: &'a Directory,
    policy: &'a Policy,
    language: Language,
    /// Whether the settings of everybody may be told; else only those of who is called.
    is_open: bool,
    /// The name of somebody, where the reader may see them.
    name: &'a (dyn Fn(&Profile) -> Option<String> + Sync),
}

/// One side of the call as the question names it.
struct Party {
    handle: Option<Handle>,
    class: CallerClass,
    key: Vec<u8>,
    uri: Vec<u8>,
    is_ours: bool,
}

impl Party {
    /// Reads an id, a number, a URI, or `anonymous`.
    fn read(text: &str, scene: &Scene<'_>) -> Result<Self, Failure> {
        // An unescaped `+` arrives as a space.
        let text = text.replace(' ', "+");
        let mut party = Self {
            handle: None,
            class: CallerClass::External,
            key: Vec::new(),
            uri: Vec::new(),
            is_ours: true,
        };
        if text.eq_ignore_ascii_case("anonymous") {
            party.class = CallerClass::Anonymous;
            return Ok(party);
        }
        let user = if text.contains(':') {
            let uri = Uri::parse(text.as_bytes()).map_err(|_| {
                Failure::field(Kind::Malformed, "from, to", format!("`{text}` is no URI"))
            })?;
            party.handle = scene.around().resolve_uri(&uri);
            party.is_ours = uri.scheme == Scheme::Tel || scene.policy.is_ours(uri.host);
            party.uri = text.as_bytes().to_vec();
            uri.unescaped_user().to_vec()
        } else {
            let plan = &scene.policy.plan;
            party.handle = scene.directory.find_dialled(text.as_bytes(), plan);
            text.clone().into_bytes()
        };
        if party.handle.is_some() {
            party.class = CallerClass::Internal;
        }
        let mut buffer = Default::default();
        party.key = scene
            .policy
            .plan
            .normalise_dialled(&user, &mut buffer)
            .to_vec();
        Ok(party)
    }

    /// The caller as a call through that peer shows it: through a trunk nobody is internal.
    fn through(mut self, peer: &Peer) -> Self {
        if peer.external && self.handle.take().is_some() {
            self.class = CallerClass::External;
        }
        self
    }
}

impl<'a> Scene<'a> {
    /// The configured peer of that name; without a name, a stranger.
    fn peer(&self, name: Option<&str>) -> Result<&'a Peer, Failure> {
        let Some(name) = name else {
            return Ok(&self.policy.stranger);
        };
        let known = self.policy.peers.iter().find(|peer| *peer.name == *name);
        known.ok_or_else(|| {
            let text = format!("no `[[peer]]` is named `{name}`");
            Failure::field(Kind::Malformed, "peer", text)
        })
    }

    /// Asks the routing what it asks for an INVITE.
    fn asked(
        &self,
        from: &Party,
        callee: Handle,
        at: Timestamp,
        peer: &Peer,
    ) -> (ExplainedPlan, Vec<Afterwards>) {
        let caller = CallingParty {
            class: from.class,
            subscriber: from.handle,
            key: &from.key,
            uri: &from.uri,
        };
        let history = History::default();
        let mut question = Question::new(caller, callee, &history, at.as_second());
        question.forwarding = peer.forwarding;
        question.voicemail = peer.voicemail_forwarding;
        question.voicemail_available = self.policy.voicemail.is_some();
        question.call_limit = self.policy.call_limit;
        question.hop_limit = self.policy.hop_limit;
        question.zone = &self.policy.zone;
        question.holidays = &self.policy.holidays;
        let around = self.around();
        let decision = decide(&question, &around);
        let afterwards = self.afterwards(&question, &decision.plan);
        (self.plan(&decision, callee), afterwards)
    }

    /// The directory as the call path sees it.
    fn around(&self) -> Neighbourhood<'a> {
        Neighbourhood {
            directory: self.directory,
            policy: self.policy,
        }
    }

    /// What follows when the one who is rung cannot take the call.
    fn afterwards(&self, question: &Question<'_>, plan: &Plan) -> Vec<Afterwards> {
        let Some((connect, history)) = rung(question, plan) else {
            return Vec::new();
        };
        if !self.is_open && connect.callee != question.callee {
            return Vec::new();
        }
        let question = Question {
            callee: connect.callee,
            history: &history,
            ..*question
        };
        let failures = Failed::ALL.into_iter();
        failures
            .map(|failure| {
                let outcome = match decide_after(&question, failure, &self.around()) {
                    Some(decision) => self.plan(&decision, question.callee),
                    None => self.passed_back(),
                };
                let when = self.when(failure, self.ring_for_s(&connect));
                Afterwards {
                    when: failure.name(),
                    sentence: format!("{when}: {}", outcome.summary),
                    outcome,
                }
            })
            .collect()
    }

    fn plan(&self, decision: &Decision, callee: Handle) -> ExplainedPlan {
        if let Some(beyond) = self.beyond(decision, callee) {
            return beyond;
        }
        let names = DisplayNames(self.directory, self.policy);
        let plan = &decision.plan;
        let mut explained = self.explained(plan.label(), plan.describe(self.language, &names));
        explained.reasons = self.reasons(&decision.reasons);
        match plan {
            Plan::Connect(connect) => explained.ring_for_s = self.ring_for_s(connect),
            Plan::Reject(rejection) => {
                explained.status = Some(rejection.status(self.policy.dnd_status));
            }
            Plan::Redirect(_) => explained.status = Some(302),
            Plan::Forward(_) => {}
        }
        match plan.divert().map(|divert| &divert.to) {
            Some(Destination::Target(target)) => {
                explained.target = Some(target.as_str().to_owned());
            }
            Some(Destination::Subscriber { connect, .. }) => {
                explained.target = self.id(connect.callee);
                explained.ring_for_s = self.ring_for_s(connect);
            }
            Some(Destination::Voicemail { of }) => {
                explained.target = self.id(*of);
                explained.voicemail = true;
            }
            None => {}
        }
        explained
    }

    /// A call that goes on to somebody else, up to there: what a colleague has set, and how they are,
    /// is theirs to tell.
    fn beyond(&self, decision: &Decision, callee: Handle) -> Option<ExplainedPlan> {
        if self.is_open {
            return None;
        }
        let mut reasons = decision.reasons.iter().enumerate();
        let (at, other) = reasons.find_map(|(at, reason)| {
            let other = reason.subscriber().filter(|other| *other != callee)?;
            Some((at, other))
        })?;
        let summary = match (self.name(other), self.language) {
            (Some(name), Language::En) => format!("The call goes on to {name}"),
            (Some(name), Language::De) => format!("Der Anruf geht weiter an {name}"),
            (None, _) => self.say(
                "The call goes on to a colleague",
                "Der Anruf geht im Haus weiter",
            ),
        };
        let told = ExplainedReason {
            code: "elsewhere",
            sentence: self.say(
                "From there on it depends on what is set there",
                "Von da an kommt es darauf an, was dort eingestellt ist",
            ),
        };
        let mut explained = self.explained("forward", summary);
        explained.target = self.name(other).and_then(|_| self.id(other));
        explained.reasons = self.reasons(&decision.reasons);
        explained.reasons.truncate(at);
        explained.reasons.push(told);
        Some(explained)
    }

    /// How long it rings before the no-answer action, where there is one.
    fn ring_for_s(&self, connect: &Connect) -> Option<u16> {
        let configured = connect
            .has_no_answer_action
            .then_some(self.policy.ring_for_s);
        connect.ring_for_s.or(configured)
    }

    fn explained(&self, plan: &'static str, summary: String) -> ExplainedPlan {
        ExplainedPlan {
            plan,
            target: None,
            voicemail: false,
            status: None,
            ring_for_s: None,
            summary,
            reasons: Vec::new(),
        }
    }

    fn reasons(&self, reasons: &Reasons) -> Vec<ExplainedReason> {
        let names = DisplayNames(self.directory, self.policy);
        reasons
            .iter()
            .map(|reason| ExplainedReason {
                code: reason.label(),
                sentence: reason.describe(self.language, &names),
            })
            .collect()
    }

    /// A call to nobody we know.
    fn unknown(&self, to: &Party) -> ExplainedPlan {
        if !to.is_ours {
            let text = self.say(
                "The call is for another domain: it is relayed for peers, and refused for others",
                "Der Anruf gilt einer anderen Domain: für Peers wird er weitergereicht, sonst \
                 abgewiesen",
            );
            return self.explained("relay", text);
        }
        let is_passed_on =
            self.policy.unknown_callee == UnknownCallee::NextHop && self.policy.next_hop.is_some();
        let mut explained = if is_passed_on {
            let text = self.say(
                "The call goes to the PBX, which may know the number",
                "Der Anruf geht an die Telefonanlage, die die Nummer kennen mag",
            );
            self.explained("pass_on", text)
        } else {
            let text = self.say("The call is refused", "Der Anruf wird abgewiesen");
            ExplainedPlan {
                status: Some(404),
                ..self.explained("reject", text)
            }
        };
        let sentence = self.say(
            "There is no such subscriber",
            "Diesen Teilnehmer gibt es nicht",
        );
        explained.reasons.push(ExplainedReason {
            code: "unknown_callee",
            sentence,
        });
        explained
    }

    fn passed_back(&self) -> ExplainedPlan {
        let text = self.say(
            "What the PBX answers is passed back to the caller",
            "Die Antwort der Telefonanlage geht an den Anrufer zurück",
        );
        self.explained("final_response", text)
    }

    fn when(&self, failure: Failed, ring_for_s: Option<u16>) -> String {
        match (failure, ring_for_s) {
            (Failed::NoAnswer, Some(s)) => self.say(
                &format!("If nobody answers within {s} seconds"),
                &format!("Wenn {s} Sekunden lang niemand antwortet"),
            ),
            (Failed::NoAnswer, None) => self.say("If nobody answers", "Wenn niemand antwortet"),
            (Failed::Busy, _) => self.say("If the phone is busy", "Wenn besetzt ist"),
            (Failed::Unreachable, _) => self.say(
                "If no phone can be reached",
                "Wenn kein Telefon erreichbar ist",
            ),
            (Failed::Declined, _) => {
                self.say("If the call is declined", "Wenn der Anruf abgelehnt wird")
            }
        }
    }

    fn say(&self, english: &str, german: &str) -> String {
        match self.language {
            Language::En => english.to_owned(),
            Language::De => german.to_owned(),
        }
    }

    /// The name for people, where the reader may see them.
    fn name(&self, handle: Handle) -> Option<String> {
        (self.name)(&*self.directory.profile(handle)?)
    }

    fn id(&self, handle: Handle) -> Option<String> {
        let profile = self.directory.profile(handle)?;
        Some(profile.id().to_owned())
    }
}

/// Subscribers by their display names, times in the zone of the server.
struct DisplayNames<'a>(&'a Directory, &'a Policy);

impl Names for DisplayNames<'_> {
    fn name(&self, handle: Handle) -> String {
        let profile = self.0.profile(handle);
        profile.map_or_else(
            || "?".to_owned(),
            |profile| profile.display_name().to_owned(),
        )
    }

    fn own_status(&self, own: OwnName, language: Language) -> String {
        let statuses = &self.1.house.statuses;
        let text = statuses.of(own).map(|own| own.text(language));
        text.unwrap_or(own.id()).to_owned()
    }

    fn zone(&self) -> TimeZone {
        self.1.zone.clone()
    }
}

/// Who is rung in the end, and by whom the call came there.
fn rung(question: &Question<'_>, plan: &Plan) -> Option<(Connect, History)> {
    let mut history = question.history.clone();
    match (plan, plan.divert()) {
        (Plan::Connect(connect), _) => Some((*connect, history)),
        (_, Some(divert)) => match &divert.to {
            Destination::Subscriber { connect, .. } => {
                for hop in &divert.hops {
                    history.visited.push(hop.subscriber);
                    history.diversions = history.diversions.saturating_add(1);
                }
                Some((*connect, history))
            }
            _ => None,
        },
        _ => None,
    }
}

/// RFC 3339; an unescaped `+` of the offset arrives as a space.
fn instant(text: &str) -> Result<Timestamp, Failure> {
    let read = text.parse().or_else(|_| text.replace(' ', "+").parse());
    read.map_err(|_| {
        let help = "must be RFC 3339 with an offset, 2026-12-24T18:00:00+01:00";
        Failure::field(Kind::Malformed, "at", help)
    })
}

/// The language asked for: by name, else the better-liked of ours in `Accept-Language`
/// (RFC 9110 §12.5.4), else English.
fn language(asked: Option<&str>, headers: &HeaderMap) -> Result<Language, Failure> {
    if let Some(name) = asked {
        return Language::from_name(name)
            .ok_or_else(|| Failure::field(Kind::Malformed, "lang", "must be `en` or `de`"));
    }
    let accepted = headers.get(ACCEPT_LANGUAGE).and_then(|v| v.to_str().ok());
    let mut best = (0.0, Language::En);
    for range in accepted.unwrap_or("").split(',') {
        let (tag, quality) = range.split_once(";q=").unwrap_or((range, "1"));
        let primary = tag
            .trim()
            .split('-')
            .next()
            .unwrap_or("")
            .to_ascii_lowercase();
        let quality: f32 = quality.trim().parse().unwrap_or(0.0);
        if let Some(language) = Language::from_name(&primary).filter(|_| quality > best.0) {
            best = (quality, language);
        }
    }
    Ok(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_liked_of_our_languages_is_spoken() {
        let read = |accept: &'static str| {
            let value = axum::http::HeaderValue::from_static(accept);
            language(None, &HeaderMap::from_iter([(ACCEPT_LANGUAGE, value)])).unwrap()
        };
        assert_eq!(read("de-DE,de;q=0.9,en;q=0.8"), Language::De);
        assert_eq!(read("fr, en;q=0.5, de;q=0.7"), Language::De);
        assert_eq!(read("fr"), Language::En);
        assert_eq!(
            language(Some("de"), &HeaderMap::new()).unwrap(),
            Language::De
        );
        assert!(language(Some("fr"), &HeaderMap::new()).is_err());
    }

    #[test]
    fn an_unescaped_plus_is_understood() {
        let expected: Timestamp = "2026-12-24T17:00:00Z".parse().unwrap();
        assert_eq!(instant("2026-12-24T18:00:00+01:00").unwrap(), expected);
        assert_eq!(instant("2026-12-24T18:00:00 01:00").unwrap(), expected);
        assert!(instant("Christmas").is_err());
    }
}
