//! Who sends a request: a peer we trust, a subscriber who proves it, or somebody who must
//! (RFC 3261 §22, §26.3.2.4). Challenges are stateless.

use std::net::IpAddr;

use smallvec::SmallVec;

use super::handle::Way;
use super::keys::mix;
use super::policy::{Peer, Policy};
use super::rejection::Rejection;
use super::request::ProxyRequest;
use super::route::Routed;
use super::{Arrival, Proxy};
use crate::auth::{Answer, Offence, Presentation, Presented, Side, Verdict};
use crate::message::{Message, Method, Name, Start, Uri};
use crate::presence::Handle;

/// How many headers with credentials are looked at; a client sends one for each realm on its way.
const CREDENTIALS_LIMIT: usize = 16;

impl Proxy {
    /// What is believed of who sent a request: by address, and by the certificate of its
    /// connection.
    pub(super) fn peer_of<'p>(&self, policy: &'p Policy, arrival: &Arrival) -> (&'p Peer, bool) {
        let flow = arrival.connection.and_then(|id| self.shared.flows.get(id));
        let identities = flow.as_ref().map(|flow| &*flow.identities);
        policy.peer(arrival.from.ip(), identities.unwrap_or_default())
    }

    /// Whether a new request is dropped unanswered because its source is shut out. Requests within
    /// our dialogs go on: the call began before.
    pub(super) fn is_shut_out(&self, arrival: &Arrival, message: &Message<'_>) -> bool {
        let bans = &self.shared.guard.bans;
        if !bans.is_banned(arrival.from.ip(), self.now.unix_ms) || self.is_exempt(arrival) {
            return false;
        }
        let in_our_dialog = message.top_via().is_ok_and(|via| {
            let routed = ProxyRequest::check(*message, via).and_then(|request| {
                Routed::read(&request, arrival.call_key, &self.policy, &self.keys)
            });
            routed.is_ok_and(|routed| routed.is_ours)
        });
        if !in_our_dialog {
            self.count(|c| &c.banned_requests);
        }
        !in_our_dialog
    }

    /// Takes off the credentials that answer a challenge of ours: the next hop cannot use them, and
    /// should not see them. Others' stay (§22.3).
    pub(super) fn take_off_credentials(&self, message: &Message<'_>, routed: &mut Routed) {
        for name in [Name::ProxyAuthorization, Name::Authorization] {
            for header in message.headers(name).take(CREDENTIALS_LIMIT) {
                let presented = Presented::parse(header.value);
                let guard = &self.shared.guard;
                if presented.is_some_and(|p| guard.is_for_us(&p, &self.policy.auth)) {
                    routed.drop.push(header.line.clone());
                }
            }
        }
    }

    /// Lets a request pass that need not be authenticated, or whose sender has proved who they
    /// are: then `request.authenticated` says who.
    ///
    /// # Errors
    /// The challenge; or the request is on behalf of somebody else.
    pub(super) fn authenticate(
        &self,
        arrival: &Arrival,
        request: &mut ProxyRequest<'_>,
        side: Side,
        key: u64,
    ) -> Result<(), Rejection> {
        let transaction = transaction(arrival, key);
        let challenge = |is_stale, is_wrong| Rejection::Unauthenticated {
            side,
            is_stale,
            is_wrong,
            transaction,
        };
        let Some(presented) = self.presented(&request.message, side) else {
            return Err(challenge(false, false));
        };
        let (verdict, owner) = self.judge(&presented, request, transaction);
        match verdict {
            Verdict::Right if !self.means(&presented, request) => Err(challenge(false, true)),
            Verdict::Right => {
                self.count(|c| &c.authentications);
                request.authenticated = owner;
                match self.is_own(request, owner) {
                    true => Ok(()),
                    false => Err(Rejection::NotTheirs),
                }
            }
            Verdict::Stale => Err(challenge(true, false)),
            Verdict::Wrong => Err(challenge(false, true)),
        }
    }

    /// In which role a request is challenged, if it must be authenticated at all: it begins
    /// something in a domain of ours, comes from nobody we know, and its method is among those
    /// configured.
    pub(super) fn needs_authentication(
        &self,
        request: &ProxyRequest<'_>,
        routed: &Routed,
        is_known: bool,
        way: &Result<Way, Rejection>,
    ) -> Option<Side> {
        let is_new = !is_known && !routed.is_ours;
        let is_served = !matches!(way, Err(Rejection::RelayDenied));
        let auth = &self.policy.auth;
        let is_event = self.served_event(request).is_some();
        let is_watching = is_event && (auth.registrar_is_local || matches!(way, Ok(Way::Notifier)));
        let is_named = match is_watching {
            true => !auth.methods.is_empty(),
            false => auth.challenges(request.method),
        };
        if !(is_new && is_served && is_named) {
            return None;
        }
        let is_ours = matches!(
            way,
            Ok(Way::Ourselves | Way::Notifier) | Err(Rejection::BadEvent)
        ) || is_event
            || request.method == Method::Register;
        Some(if is_ours { Side::Server } else { Side::Proxy })
    }

    /// Notes what a refusal says about its source; one that asks too fast gets no answer.
    pub(super) fn hold_against(
        &self,
        arrival: &Arrival,
        message: &Message<'_>,
        (rejection, key): (Rejection, u64),
    ) -> Rejection {
        let offence = match rejection {
            Rejection::Unauthenticated { is_wrong, .. } => {
                self.count(|c| &c.challenges);
                is_wrong.then_some(Offence::WrongCredentials)
            }
            Rejection::NotFound => self.missed(message.uri()).map(Offence::Miss),
            Rejection::NowhereToGo if self.policy.auth.hides_names() => {
                self.missed(message.uri()).map(Offence::Miss)
            }
            _ => return rejection,
        };
        if let Some(Offence::WrongCredentials) = offence {
            self.count(|c| &c.authentication_failures);
        }
        let rules = &self.policy.auth.bans;
        if rules.failures == 0 || self.is_exempt(arrival) {
            return rejection;
        }
        let (bans, address, now_ms) = self.bans_of(arrival);
        if let Some(offence) = offence {
            let transaction = transaction(arrival, key);
            if bans.note(address, (offence, transaction), rules, now_ms) {
                self.count(|c| &c.bans);
            }
        }
        match bans.answer(address, offence, now_ms) {
            Answer::Given => rejection,
            Answer::Withheld => Rejection::Withheld,
        }
    }

    /// Notes what is asserted of an authenticated sender, in place of what they assert of
    /// themselves (RFC 3325 §5).
    pub(super) fn assert_identity(&self, request: &ProxyRequest<'_>, routed: &mut Routed) {
        routed.asserted = self.asserted_identity(request);
        for name in [Name::PAssertedIdentity, Name::PPreferredIdentity] {
            let own = request.message.headers(name).map(|header| header.line);
            routed.drop.extend(own);
        }
    }

    /// The header line that asserts an authenticated sender towards those we trust
    /// (RFC 3325 §5): the From's address where it is theirs, else their id in our first domain.
    fn asserted_identity(&self, request: &ProxyRequest<'_>) -> Option<Box<[u8]>> {
        let handle = request.authenticated?;
        let mut line = b"P-Asserted-Identity: <".to_vec();
        match self.is_theirs(request.from.uri, handle) {
            true => line.extend_from_slice(request.from.uri),
            false => {
                let profile = self.shared.directory.profile_guard(handle)?;
                let domain = self.policy.domains.first();
                let host = domain.or(self.policy.listeners.first().map(|l| &l.host))?;
                let (open, close) = if host.contains(':') {
                    ("[", "]")
                } else {
                    ("", "")
                };
                line.extend_from_slice(
                    format!("sip:{}@{open}{host}{close}", profile.id()).as_bytes(),
                );
            }
        }
        line.extend_from_slice(b">\r\n");
        Some(line.into())
    }

    /// Stands for the name that a request has missed, where it is one that a subscriber could have:
    /// whoever scans tries those. Garbage is no attempt.
    fn missed(&self, uri: &[u8]) -> Option<u64> {
        let user = Uri::parse(uri).ok()?.unescaped_user();
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._~+*#-".contains(byte);
        let is_name = (1..=64).contains(&user.len()) && user.iter().all(is_plain);
        is_name.then(|| self.keys.tag(&user))
    }

    fn bans_of(&self, arrival: &Arrival) -> (&crate::auth::Bans, IpAddr, i64) {
        let bans = &self.shared.guard.bans;
        (bans, arrival.from.ip(), self.now.unix_ms)
    }

    fn is_exempt(&self, arrival: &Arrival) -> bool {
        let address = arrival.from.ip();
        let is_never = |block: &super::policy::Network| block.holds(address);
        self.policy.never_ban.iter().any(is_never) || self.peer_of(&self.policy, arrival).1
    }

    /// The credentials for our realm: those that answer a nonce of ours, else the first. The header
    /// of the role goes first; some phones mix them up.
    fn presented<'m>(&self, message: &Message<'m>, side: Side) -> Option<Presented<'m>> {
        let names = match side {
            Side::Server => [Name::Authorization, Name::ProxyAuthorization],
            Side::Proxy => [Name::ProxyAuthorization, Name::Authorization],
        };
        let realm = self.policy.auth.realm.as_bytes();
        let mut first = None;
        for name in names {
            for header in message.headers(name).take(CREDENTIALS_LIMIT) {
                let Some(presented) = Presented::parse(header.value) else {
                    continue;
                };
                if self.shared.guard.is_for_us(&presented, &self.policy.auth) {
                    return Some(presented);
                }
                if presented.realm == realm && first.is_none() {
                    first = Some(presented);
                }
            }
        }
        first
    }

    fn judge(
        &self,
        presented: &Presented<'_>,
        request: &ProxyRequest<'_>,
        transaction: u64,
    ) -> (Verdict, Option<Handle>) {
        let directory = &self.shared.directory;
        let mut key: SmallVec<[u8; 64]> = SmallVec::from_slice(presented.username);
        key.make_ascii_lowercase();
        let owner = directory.find(&key);
        let profile = owner.and_then(|handle| directory.profile_guard(handle));
        let credentials = profile.as_ref().and_then(|profile| profile.credentials());
        let method = match request.message.start() {
            Start::Request { method_bytes, .. } => method_bytes,
            Start::Response { .. } => &[],
        };
        let presentation = Presentation {
            method,
            transaction,
            now_s: self.now.unix_ms.div_euclid(1_000),
            is_resumed: self.resumed_until_ms.is_some(),
        };
        let guard = &self.shared.guard;
        let policy = &self.policy.auth;
        (
            guard.judge(policy, presented, credentials, &presentation),
            owner,
        )
    }

    /// Whether the URI that the credentials are for is the request's, as far as phones keep to it:
    /// the same, or the same user in a domain of ours, whichever name of ours the phone uses.
    fn means(&self, presented: &Presented<'_>, request: &ProxyRequest<'_>) -> bool {
        if presented.uri == request.uri_bytes {
            return true;
        }
        let Ok(uri) = Uri::parse(presented.uri) else {
            return false;
        };
        let is_ours = |host| self.policy.is_ours(host);
        let same_host = uri.host.eq_ignore_ascii_case(request.uri.host)
            || is_ours(uri.host) && is_ours(request.uri.host);
        same_host && uri.unescaped_user() == request.uri.unescaped_user()
    }

    /// Whether an authenticated sender may ask for this: a registration and a publication are
    /// their own only (§10.3(3), RFC 3903 §6(3)).
    fn is_own(&self, request: &ProxyRequest<'_>, owner: Option<Handle>) -> bool {
        let address = match request.method {
            Method::Register => request.to.uri,
            Method::Publish => request.uri_bytes,
            _ => return true,
        };
        owner.is_some_and(|owner| self.is_theirs(address, owner))
    }

    fn is_theirs(&self, uri: &[u8], owner: Handle) -> bool {
        let named = Uri::parse(uri)
            .ok()
            .and_then(|uri| self.around().resolve_uri(&uri));
        named == Some(owner)
    }
}

/// Stands for a request and its source: the same when it is sent again from there, and only then.
fn transaction(arrival: &Arrival, key: u64) -> u64 {
    let address = match arrival.from.ip().to_canonical() {
        IpAddr::V4(address) => u64::from(u32::from(address)),
        IpAddr::V6(address) => {
            let bits = u128::from(address);
            (bits >> 64) as u64 ^ bits as u64
        }
    };
    mix(key, mix(address, u64::from(arrival.from.port())))
}
