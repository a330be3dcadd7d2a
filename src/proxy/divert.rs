//! The texts of a forwarded call: its new target, Diversion (RFC 5806), History-Info (RFC 7044) and
//! voicemail URIs (RFC 4458).

use std::io::Write as _;

use smallvec::SmallVec;

use super::hop::Hops;
use super::policy::{Policy, Voicemail};
use super::route::{Towards, Unroutable, is_ours};
use super::shared::Shared;
use crate::message::forward::write_number;
use crate::message::{Message, Name, NameAddr, Scheme, Uri};
use crate::presence::{Handle, Target};
use crate::routing::{Destination, Divert, History};

/// What the texts of one diversion are made of.
pub(super) struct Diversion<'a> {
    pub divert: &'a Divert,
    /// The Request-URI as the caller dialled it: it names the first called subscriber.
    pub dialled: &'a Uri<'a>,
    pub dialled_bytes: &'a [u8],
    /// The call's diversions before this one; the first one visited was called first.
    pub history: &'a History,
    pub policy: &'a Policy,
    pub shared: &'a Shared,
}

impl Diversion<'_> {
    /// Appends the target's URI. `host_port` completes a bare number.
    pub(super) fn write_target(&self, host_port: &[u8], out: &mut Vec<u8>) {
        match &self.divert.to {
            Destination::Target(target) | Destination::Subscriber { target, .. } => {
                write_target(target, host_port, out);
            }
            Destination::Voicemail { of } => {
                if let Some(voicemail) = &self.policy.voicemail {
                    self.write_voicemail(voicemail, *of, out);
                }
            }
        }
    }

    /// The voicemail URI of a subscriber's box, with RFC 4458's target and cause.
    fn write_voicemail(&self, voicemail: &Voicemail, of: Handle, out: &mut Vec<u8>) {
        out.extend_from_slice(voicemail.before.as_bytes());
        if voicemail.per_subscriber {
            self.write_id(of, out);
        }
        out.extend_from_slice(voicemail.after.as_bytes());
        out.extend_from_slice(b";target=");
        let mut target = Vec::with_capacity(64);
        self.write_subscriber(of, &mut target);
        escape(&target, out);
        let cause = self
            .divert
            .hops
            .last()
            .map_or(302, |hop| hop.cause.number());
        let _ = write!(out, ";cause={cause}");
    }

    /// The URI that stands for a subscriber: as dialled where they were called first.
    fn write_subscriber(&self, handle: Handle, out: &mut Vec<u8>) {
        let first_hop = self.divert.hops.first().map(|hop| hop.subscriber);
        if self.history.visited.is_empty() && first_hop == Some(handle) {
            let bytes = self.dialled_bytes;
            let end = bytes
                .iter()
                .position(|b| matches!(b, b';' | b'?'))
                .unwrap_or(bytes.len());
            out.extend_from_slice(bytes.get(..end).unwrap_or(bytes));
            return;
        }
        out.extend_from_slice(b"sip:");
        self.write_id(handle, out);
        out.push(b'@');
        out.extend_from_slice(self.dialled.host_port);
    }

    fn write_id(&self, handle: Handle, out: &mut Vec<u8>) {
        if let Some(profile) = self.shared.directory.profile_guard(handle) {
            out.extend_from_slice(profile.id().as_bytes());
        }
    }

    /// Appends a Diversion line for each hop, the last one on top (RFC 5806 §3).
    pub(super) fn write_diversion(&self, out: &mut Vec<u8>) {
        for hop in self.divert.hops.iter().rev() {
            out.extend_from_slice(b"Diversion: <");
            self.write_subscriber(hop.subscriber, out);
            out.extend_from_slice(b">;reason=");
            out.extend_from_slice(hop.cause.diversion_reason().as_bytes());
            out.extend_from_slice(b";counter=1\r\n");
        }
    }

    /// Appends a History-Info line that continues the one the message has (RFC 7044 §9.1, §10.3).
    pub(super) fn write_history(&self, message: &Message<'_>, target: &[u8], out: &mut Vec<u8>) {
        let mut index: SmallVec<[u8; 32]> = SmallVec::new();
        out.extend_from_slice(b"History-Info: ");
        match last_entry(message) {
            Some((last, uri)) if is_same_target(uri, self.dialled) => index.extend_from_slice(last),
            Some((last, _)) => {
                index.extend_from_slice(last);
                index.extend_from_slice(b".0");
                out.push(b'<');
                out.extend_from_slice(self.dialled_bytes);
                out.extend_from_slice(b">;index=");
                out.extend_from_slice(&index);
                out.extend_from_slice(b", ");
            }
            None => {
                index.push(b'1');
                out.push(b'<');
                out.extend_from_slice(self.dialled_bytes);
                out.extend_from_slice(b">;index=1, ");
            }
        }
        let hops = self.divert.hops.len();
        for (at, hop) in self.divert.hops.iter().enumerate() {
            let parent = index.clone();
            index.extend_from_slice(b".1");
            out.push(b'<');
            match self.divert.hops.get(at + 1) {
                Some(next) => self.write_subscriber(next.subscriber, out),
                None => out.extend_from_slice(target),
            }
            let in_uri = at + 1 == hops && matches!(self.divert.to, Destination::Voicemail { .. });
            if !in_uri {
                out.extend_from_slice(b";cause=");
                write_number(out, hop.cause.number().into());
            }
            out.extend_from_slice(b">;index=");
            out.extend_from_slice(&index);
            out.extend_from_slice(b";mp=");
            out.extend_from_slice(&parent);
            if at + 1 < hops {
                out.extend_from_slice(b", ");
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Where a retargeted call is sent, and whose number completes a bare target.
    pub(super) fn hops(&self, towards: &Towards<'_>) -> Result<Hops, Unroutable> {
        let policy = self.policy;
        let hop = match &self.divert.to {
            Destination::Voicemail { .. } => policy.voicemail.as_ref().map(|v| &v.hop),
            Destination::Subscriber { .. } => policy.next_hop.as_ref(),
            Destination::Target(target) => match target.as_ref() {
                Target::Uri { uri, .. } => return uri_hops(uri, towards),
                Target::Number { .. } => return towards.outbound(),
            },
        };
        towards.next_hop(hop.ok_or(Unroutable::Nowhere)?)
    }

    /// `host[:port]` that completes a bare number in a retargeted Request-URI.
    pub(super) fn retarget_host(&self) -> &[u8] {
        let policy = self.policy;
        match &self.divert.to {
            Destination::Subscriber { .. } => self.dialled.host_port,
            _ => policy
                .outbound
                .as_ref()
                .or(policy.next_hop.as_ref())
                .map_or(self.dialled.host_port, |hop| hop.host_port.as_bytes()),
        }
    }
}

/// Where a forwarding's URI leads: a domain of ours means the PBX.
fn uri_hops(text: &str, towards: &Towards<'_>) -> Result<Hops, Unroutable> {
    let uri = Uri::parse(text.as_bytes()).map_err(|_| Unroutable::Nowhere)?;
    if uri.scheme == Scheme::Tel || is_ours(&uri, towards.policy) {
        return towards.outbound();
    }
    towards.uri(&uri)
}

/// A number becomes `sip:number@host`, a URI stays as it was set.
fn write_target(target: &Target, host_port: &[u8], out: &mut Vec<u8>) {
    match target {
        Target::Uri { uri, .. } => out.extend_from_slice(uri.as_bytes()),
        Target::Number { dialled, .. } => {
            out.extend_from_slice(b"sip:");
            out.extend_from_slice(dialled.as_bytes());
            out.push(b'@');
            out.extend_from_slice(host_port);
        }
    }
}

/// Escapes what may not stand in a URI parameter's value (RFC 3261 §25.1 `paramchar`).
fn escape(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'+' => {
                out.push(*byte);
            }
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
}

/// The index and the URI of the message's last History-Info entry.
fn last_entry<'m>(message: &Message<'m>) -> Option<(&'m [u8], &'m [u8])> {
    let last = message.values(Name::HistoryInfo).last()?;
    let entry = NameAddr::parse(last.bytes).ok()?;
    let index = entry.param(b"index")??;
    let is_sane = index.len() <= 24 && index.iter().all(|b| b.is_ascii_digit() || *b == b'.');
    is_sane.then_some((index, entry.uri))
}

/// Whether an entry is about the Request-URI: if not, a hop before us wrote none, and our index
/// shows the gap (RFC 7044 §10.3(6)). Parameters and headers may have come and gone.
fn is_same_target(entry: &[u8], dialled: &Uri<'_>) -> bool {
    Uri::parse(entry).is_ok_and(|entry| {
        entry.user == dialled.user && entry.host.eq_ignore_ascii_case(dialled.host)
    })
}

/// The diversions a call has behind it when it comes to us, from Diversion and History-Info. The
/// larger count of the two is believed; the visited are in the order they were called.
pub(super) fn read_history(
    message: &Message<'_>,
    resolve: impl Fn(&Uri<'_>) -> Option<Handle>,
) -> History {
    let mut history = History::default();
    if message.count(Name::Diversion) + message.count(Name::HistoryInfo) == 0 {
        return history;
    }
    let mut visit = |bytes: &[u8]| {
        let address = NameAddr::parse(bytes).ok()?;
        let handle = resolve(&Uri::parse(address.uri).ok()?)?;
        if !history.visited.contains(&handle) && history.visited.len() < 16 {
            history.visited.push(handle);
        }
        Some(())
    };
    let diversions: SmallVec<[_; 4]> = message.values(Name::Diversion).collect();
    let mut counted = 0u32;
    for value in diversions.iter().rev() {
        visit(value.bytes);
        let counter = NameAddr::parse(value.bytes).ok().and_then(|address| {
            std::str::from_utf8(address.param(b"counter")??)
                .ok()?
                .parse::<u32>()
                .ok()
        });
        counted = counted.saturating_add(counter.unwrap_or(1).clamp(1, 255));
    }
    let mut retargeted = 0u32;
    let entries: SmallVec<[_; 4]> = message.values(Name::HistoryInfo).collect();
    for (at, value) in entries.iter().enumerate() {
        let Ok(address) = NameAddr::parse(value.bytes) else {
            continue;
        };
        retargeted += u32::from(is_diversion(&address));
        if at + 1 < entries.len() {
            visit(value.bytes);
        }
    }
    history.diversions = counted.max(retargeted).min(255) as u8;
    history
}

/// Whether a History-Info entry tells of a diversion: another user took the call (RFC 7044 §10.4),
/// or a cause is given (RFC 4458).
pub(super) fn is_diversion(entry: &NameAddr<'_>) -> bool {
    entry.param(b"mp").is_some()
        || Uri::parse(entry.uri).is_ok_and(|uri| uri.param(b"cause").is_some())
}
