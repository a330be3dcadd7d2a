//! What is asked: who calls whom, what has happened to the call so far, and who may be asked.

use std::sync::LazyLock;

use jiff::tz::TimeZone;
use smallvec::SmallVec;

use crate::presence::{
    CallerClass, Directory, Handle, Holidays, NumberPlan, Occasion, Pattern, ProfileGuard, Routing,
    Target,
};

/// Who calls.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// As what the caller counts for the settings.
    pub class: CallerClass,
    /// The caller, where it is a subscriber.
    pub subscriber: Option<Handle>,
    /// The canonical number, or the user part of the identity in lower case; empty if withheld.
    pub key: &'a [u8],
    /// The identity's URI; empty if withheld.
    pub uri: &'a [u8],
}

/// How a call is sent elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// 302 with the target as `Contact`: the peer does it.
    #[default]
    Redirect,
    /// The engine proxies to the target itself.
    Retarget,
}

/// How an attempt to connect a subscriber ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Failure {
    /// It rang for as long as was set.
    NoAnswer,
    /// 486 or 600.
    Busy,
    /// No binding, 408 without a 18x, 404, 410, 480, 5xx, or the transport failed.
    Unreachable,
    /// 603.
    Declined,
}

/// What has happened to the call before it came to the callee.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct History {
    /// The subscribers it was called for or forwarded by, the first called first. The callee of
    /// the question is not among them, unless the call has come round.
    pub visited: SmallVec<[Handle; 6]>,
    /// How often it was diverted, here or elsewhere.
    pub diversions: u8,
}

/// Where does this call for `callee` go?
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Who calls.
    pub caller: Caller<'a>,
    /// Who is called now.
    pub callee: Handle,
    /// What came before.
    pub history: &'a History,
    /// How the peer wants calls forwarded.
    pub forwarding: Mode,
    /// How the peer wants calls sent to voicemail.
    pub voicemail: Mode,
    /// Whether there is a voicemail at all.
    pub voicemail_available: bool,
    /// The time at which statuses end, in unix seconds.
    pub now_unix_s: i64,
    /// In how many calls a subscriber is busy.
    pub call_limit: u16,
    /// How many diversions a call may have.
    pub hop_limit: u8,
    /// An emergency centre calls back: nothing stands in its way.
    pub is_emergency_callback: bool,
    /// It is a chat message and not a call.
    pub is_message: bool,
    /// In which time zone hours are meant that name none.
    pub zone: &'a TimeZone,
    /// The days on which nobody works.
    pub holidays: &'a Holidays,
}

static UTC: TimeZone = TimeZone::UTC;
static NO_HOLIDAYS: LazyLock<Holidays> = LazyLock::new(Holidays::default);

/// Who may be asked about subscribers while a decision is made.
pub trait Subscribers {
    /// The routing word of a subscriber; vacant for a handle that has none.
    fn routing(&self, handle: Handle) -> Routing;
    /// The settings of a subscriber.
    fn profile(&self, handle: Handle) -> Option<ProfileGuard>;
    /// Whether a target is one of our subscribers, and which.
    fn resolve(&self, target: &Target) -> Option<Handle>;

    /// Whether the administrator allows calls to be forwarded there.
    fn may_forward_to(&self, _target: &Target) -> bool {
        true
    }
}

/// The directory, with what it takes to tell our own targets from others.
#[derive(Clone, Copy)]
pub struct Lookup<'a> {
    /// Who is known.
    pub directory: &'a Directory,
    /// How numbers are written here.
    pub plan: &'a NumberPlan,
    /// The hosts that are ours, in lower case.
    pub domains: &'a [Box<str>],
}

impl<'a> Question<'a> {
    /// A question with the defaults: redirect, a voicemail, busy in one call, five diversions.
    pub fn new(caller: Caller<'a>, callee: Handle, history: &'a History, now_unix_s: i64) -> Self {
        Self {
            caller,
            callee,
            history,
            forwarding: Mode::Redirect,
            voicemail: Mode::Redirect,
            voicemail_available: true,
            now_unix_s,
            call_limit: 1,
            hop_limit: 5,
            is_emergency_callback: false,
            is_message: false,
            zone: &UTC,
            holidays: &NO_HOLIDAYS,
        }
    }

    /// The moment of the call.
    pub const fn occasion(&self) -> Occasion<'a> {
        Occasion {
            now_unix_s: self.now_unix_s,
            zone: self.zone,
            holidays: self.holidays,
        }
    }

    /// Whose voicemail box is meant: the first called subscriber's.
    pub fn first_called(&self) -> Handle {
        self.history.visited.first().copied().unwrap_or(self.callee)
    }
}

impl Caller<'_> {
    /// Whether a target is this caller; `resolve` tells which subscriber a target is.
    pub fn is(&self, target: &Target, resolve: impl FnOnce(&Target) -> Option<Handle>) -> bool {
        if self.subscriber.is_some() {
            return resolve(target) == self.subscriber;
        }
        match target {
            Target::Number { key, .. } => !key.is_empty() && key.as_bytes() == self.key,
            Target::Uri { uri, .. } => same_address(uri.as_bytes(), self.uri),
        }
    }
}

impl Caller<'_> {
    /// Whether a word of a caller list means this caller.
    pub fn is_meant(
        &self,
        pattern: &Pattern,
        resolve: impl FnOnce(&Target) -> Option<Handle>,
    ) -> bool {
        match pattern {
            Pattern::Class(class) => *class == self.class,
            Pattern::Prefix(prefix) => self.key.starts_with(prefix.as_bytes()),
            Pattern::Host(host) => {
                let (_, own) = user_and_host(self.uri);
                own.eq_ignore_ascii_case(host.as_bytes())
            }
            Pattern::One(target) => self.is(target, resolve),
        }
    }
}

impl Failure {
    /// Every failure.
    pub const ALL: [Self; 4] = [
        Self::NoAnswer,
        Self::Busy,
        Self::Unreachable,
        Self::Declined,
    ];

    /// The name for logs, `no_answer`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoAnswer => "no_answer",
            Self::Busy => "busy",
            Self::Unreachable => "unreachable",
            Self::Declined => "declined",
        }
    }
}

impl Subscribers for Lookup<'_> {
    fn routing(&self, handle: Handle) -> Routing {
        self.directory.routing(handle)
    }

    fn profile(&self, handle: Handle) -> Option<ProfileGuard> {
        self.directory.profile_guard(handle)
    }

    fn resolve(&self, target: &Target) -> Option<Handle> {
        let is_ours = |host: &str| {
            self.domains
                .iter()
                .any(|domain| domain.eq_ignore_ascii_case(host))
        };
        match target {
            Target::Number { dialled, .. } => {
                self.directory.find_dialled(dialled.as_bytes(), self.plan)
            }
            Target::Uri { .. } => {
                if target.host().is_some_and(|host| !is_ours(host)) {
                    return None;
                }
                self.directory
                    .find_dialled(target.user().as_bytes(), self.plan)
            }
        }
    }
}

/// Whether two URIs name the same address, parameters and headers aside. Only the user part is
/// compared with regard to case (RFC 3261 §19.1.4).
fn same_address(one: &[u8], other: &[u8]) -> bool {
    // Most differ in the first byte of user or host already.
    if let (Some(first), Some(other_first)) =
        (behind_scheme(one).first(), behind_scheme(other).first())
        && !first.eq_ignore_ascii_case(other_first)
        && *first != b'@'
        && *other_first != b'@'
    {
        return false;
    }
    let ((user, host), (other_user, other_host)) = (user_and_host(one), user_and_host(other));
    !host.is_empty() && user == other_user && host.eq_ignore_ascii_case(other_host)
}

/// What stands before the `@`, without the scheme, and the host with its port.
fn user_and_host(uri: &[u8]) -> (&[u8], &[u8]) {
    let rest = behind_scheme(uri);
    let at = rest.iter().rposition(|byte| *byte == b'@');
    let (user, host) = match at {
        Some(at) => (rest.get(..at), rest.get(at.saturating_add(1)..)),
        None => (Some(b"".as_slice()), Some(rest)),
    };
    let host = host.unwrap_or_default();
    let end = host
        .iter()
        .position(|byte| matches!(byte, b';' | b'?'))
        .unwrap_or(host.len());
    (
        user.unwrap_or_default(),
        host.get(..end).unwrap_or_default(),
    )
}

/// What stands behind the first colon; all of it where there is none.
fn behind_scheme(uri: &[u8]) -> &[u8] {
    let colon = uri.iter().position(|byte| *byte == b':');
    let from = colon.map_or(0, |at| at.saturating_add(1));
    uri.get(from..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_compared_without_parameters() {
        for (other, same) in [
            ("sip:bob@EXAMPLE.com", true),
            ("SIP:bob@example.com;transport=tcp?x=y", true),
            ("sip:Bob@example.com", false),
            ("sip:bob@example.com:5061", false),
            ("sip:example.com", false),
            ("", false),
        ] {
            let found = same_address(b"sip:bob@example.com;user=phone", other.as_bytes());
            assert_eq!(found, same, "{other}");
        }
        assert!(!same_address(b"", b""));
    }
}
