//! What a request may require of us, and what we say that we can do (RFC 3261 §8.2.2.3, §11.2,
//! §16.3(5), §20.29, §20.32).

use super::rejection::Rejection;
use super::request::ProxyRequest;
use super::{Arrival, Proxy};
use crate::message::{Message, Method, Name, Reply, write_response};

/// Option tags that a request may demand of a proxy: who demands a privacy service gets what we can
/// give, and a refusal where more is critical (RFC 3323 §4.3).
const OF_A_PROXY: &[&[u8]] = &[b"privacy"];

/// What our answer to OPTIONS says (§11.2).
const CAPABILITIES: &[u8] = b"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, PRACK, UPDATE, \
    INFO, SUBSCRIBE, NOTIFY, REFER, MESSAGE, PUBLISH\r\nAccept: application/sdp\r\n\
    Accept-Encoding: identity\r\nAccept-Language: en\r\n";

/// We keep session timers (RFC 4028) and write History-Info (RFC 7044).
const SUPPORTED: &[u8] = b"Supported: timer, histinfo\r\n";
/// Where phones register with us, their Path and flows are kept too (RFC 3327, RFC 5626).
const SUPPORTED_BY_A_REGISTRAR: &[u8] = b"Supported: timer, histinfo, path, outbound\r\n";

/// Every option tag that a request demands of a proxy must be ours (§16.3(5)). An ACK is never
/// refused; its INVITE would have been.
///
/// # Errors
/// One of them is not.
pub(super) fn check(request: &ProxyRequest<'_>) -> Result<(), Rejection> {
    refuse_unknown(request, Name::ProxyRequire)
}

/// The same for what a request to ourselves demands of its recipient (§8.2.2.3).
pub(super) fn check_recipient(request: &ProxyRequest<'_>) -> Result<(), Rejection> {
    refuse_unknown(request, Name::Require)
}

fn refuse_unknown(request: &ProxyRequest<'_>, name: Name) -> Result<(), Rejection> {
    let is_exempt = matches!(request.method, Method::Ack | Method::Cancel);
    let demands_none = request.message.count(name) == 0;
    match is_exempt || demands_none || unknown(&request.message, name).next().is_none() {
        true => Ok(()),
        false => Err(Rejection::BadExtension(name)),
    }
}

fn unknown<'m>(message: &Message<'m>, name: Name) -> impl Iterator<Item = &'m [u8]> + use<'m> {
    let known = match name {
        Name::ProxyRequire => OF_A_PROXY,
        _ => &[],
    };
    let tags = message.values(name).map(|value| value.bytes);
    tags.filter(move |tag| !known.iter().any(|ours| ours.eq_ignore_ascii_case(tag)))
}

/// Appends the Unsupported header of a 420: what is not ours, and nothing else (§8.2.2.3).
pub(super) fn write_unsupported(message: &Message<'_>, name: Name, out: &mut Vec<u8>) {
    for (at, tag) in unknown(message, name).enumerate() {
        out.extend_from_slice(if at == 0 { b"Unsupported: " } else { b", " });
        out.extend_from_slice(tag);
    }
    out.extend_from_slice(b"\r\n");
}

/// Whether we stay on the path of what a request begins: it makes a dialog (RFC 6665 §4.3, RFC
/// 3515), or may do so for all we know (§16.6(4)). An INVITE always has our Record-Route.
pub(super) fn may_make_dialog(method: Method) -> bool {
    matches!(
        method,
        Method::Subscribe | Method::Notify | Method::Refer | Method::Other
    )
}

impl Proxy {
    /// Which event packages are served here (RFC 6665 §8.2.2).
    pub(super) fn write_allow_events(&self, out: &mut Vec<u8>) {
        for (at, package) in self.policy.events.packages.iter().enumerate() {
            let before: &[u8] = if at == 0 { b"Allow-Events: " } else { b", " };
            out.extend_from_slice(before);
            out.extend_from_slice(package.name().as_bytes());
        }
        if !self.policy.events.packages.is_empty() {
            out.extend_from_slice(b"\r\n");
        }
    }

    /// OPTIONS to ourselves (§11).
    pub(super) fn answer_ourselves(
        &mut self,
        arrival: &Arrival,
        request: &ProxyRequest<'_>,
    ) -> Result<(), Rejection> {
        check_recipient(request)?;
        let tag = self.stateless_tag(arrival);
        let supported = match self.policy.registrar {
            Some(_) => SUPPORTED_BY_A_REGISTRAR,
            None => SUPPORTED,
        };
        let mut headers = [CAPABILITIES, supported].concat();
        self.write_allow_events(&mut headers);
        let reply = Reply {
            status: 200,
            source: Some(arrival.from),
            to_tag: Some(&tag),
            headers: &headers,
            ..Reply::default()
        };
        let hop = arrival.reply_hop(&request.via);
        self.out
            .send(&hop, |out| write_response(&request.message, &reply, out));
        Ok(())
    }
}
