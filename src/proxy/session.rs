//! Session timers as a proxy keeps them (RFC 4028 §8): asks for one, never below anybody's minimum.

use super::carry_out::Source;
use super::forward::Origin;
use super::policy::Policy;
use super::rejection::Rejection;
use super::request::ProxyRequest;
use super::{InviteKey, Proxy};
use crate::message::forward::{line, write_number};
use crate::message::{Edits, Header, Message, Method, Name};

/// The option tag of RFC 4028.
const TIMER: &[u8] = b"timer";
/// What Min-SE means where it is absent, and the least that anybody may ask for (RFC 4028 §5).
pub(super) const LEAST_S: u32 = 90;

/// Refuses a session interval below our minimum where the caller can choose another one.
///
/// # Errors
/// 422: the caller supports timers and asks for less.
pub(super) fn check(request: &ProxyRequest<'_>, policy: &Policy) -> Result<(), Rejection> {
    let message = &request.message;
    let is_too_small = is_refresh(request.method)
        && interval(message).is_some_and(|asked| asked < minimum(policy))
        && supports_timer(message);
    match is_too_small {
        true => Err(Rejection::SessionIntervalTooSmall),
        false => Ok(()),
    }
}

/// Our minimum, seconds.
pub(super) fn minimum(policy: &Policy) -> u32 {
    policy.timers.session_min_s.max(LEAST_S)
}

/// Brings what a copy asks for into order. A caller without timers cannot be refused usefully, so
/// our minimum goes into Min-SE instead; Session-Expires is never below Min-SE. Nothing else of
/// either is touched, least of all the refresher.
pub(super) fn edit(message: &Message<'_>, policy: &Policy, edits: &mut Edits) {
    let Some(asked) = interval(message) else {
        return;
    };
    if !message.method().is_some_and(is_refresh) {
        return;
    }
    let mut least_s = least(message).unwrap_or(LEAST_S);
    if !supports_timer(message) && asked < minimum(policy) {
        least_s = least_s.max(minimum(policy));
        match message.header(Name::MinSe) {
            Some(header) => replace_number(&header, least_s, edits),
            None => edits.insert(message.headers_end(), |out| {
                line(out, b"Min-SE", |out| write_number(out, least_s.into()));
            }),
        }
    }
    if asked < least_s
        && let Some(header) = message.header(Name::SessionExpires)
    {
        replace_number(&header, least_s, edits);
    }
}

/// INVITE and UPDATE refresh a session (RFC 4028 §3).
fn is_refresh(method: Method) -> bool {
    matches!(method, Method::Invite | Method::Update)
}

/// The interval that a request asks for, seconds.
fn interval(message: &Message<'_>) -> Option<u32> {
    leading_number(message.header(Name::SessionExpires)?.value)
}

/// The least interval that the hops before us take, seconds.
fn least(message: &Message<'_>) -> Option<u32> {
    leading_number(message.header(Name::MinSe)?.value)
}

fn supports_timer(message: &Message<'_>) -> bool {
    // Option tags are tokens: nothing in them hides a comma.
    let mut headers = message.headers(Name::Supported);
    headers.any(|header| {
        let mut tags = header.value.split(|byte| *byte == b',');
        tags.any(|tag| tag.trim_ascii().eq_ignore_ascii_case(TIMER))
    })
}

fn digits(value: &[u8]) -> usize {
    value.iter().take_while(|b| b.is_ascii_digit()).count()
}

fn leading_number(value: &[u8]) -> Option<u32> {
    std::str::from_utf8(value.get(..digits(value))?)
        .ok()?
        .parse()
        .ok()
}

fn replace_number(header: &Header<'_>, number: u32, edits: &mut Edits) {
    let start = header.value_span.start;
    edits.replace(start..start + digits(header.value), |out| {
        write_number(out, number.into());
    });
}

impl Proxy {
    /// Asks for a session timer where the caller supports them and asks for none (§8.1). What the
    /// copy asks for is remembered for the response.
    pub(super) fn offer_session_timer(
        &mut self,
        key: InviteKey,
        source: &Source<'_>,
        policy: &Policy,
    ) {
        let message = &source.message;
        let is_first = matches!(source.origin, Origin::Received(_));
        let seconds = policy.timers.session_expires_s;
        if seconds == 0 || !is_first || !supports_timer(message) {
            return;
        }
        let least_s = least(message).unwrap_or(0);
        let offered = match interval(message) {
            Some(asked) => asked.max(least_s),
            None => {
                let offered = seconds.max(least_s).max(minimum(policy));
                line(&mut self.scratch.lines, b"Session-Expires", |out| {
                    write_number(out, offered.into());
                });
                offered
            }
        };
        if let Some(story) = self.story_of(key) {
            story.offered_session_s = offered;
        }
    }
}
