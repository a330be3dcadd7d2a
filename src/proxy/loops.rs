//! Telling a loop from a spiral (RFC 3261 §16.3(4), §16.6(8), RFC 5393 §4.2).

use super::divert::is_diversion;
use super::keys::mix;
use super::request::ProxyRequest;
use super::{Arrival, Proxy};
use crate::message::{Name, NameAddr};

/// Headers whose whole value routing may depend on: Route, who calls and how private they are,
/// who has diverted the call, whether it is an emergency centre.
const ROUTING: [Name; 5] = [
    Name::Route,
    Name::PAssertedIdentity,
    Name::Privacy,
    Name::Diversion,
    Name::Priority,
];

impl Proxy {
    /// A keyed hash over everything in a request that routing looks at, with Call-ID and CSeq: the
    /// second part of our branch. A request that comes back with the same check has looped; with
    /// another one it is a spiral (a PBX sent it back to us as diverted, say).
    pub(super) fn loop_check(&self, arrival: &Arrival, request: &ProxyRequest<'_>) -> u32 {
        let message = &request.message;
        let number = request.cseq.number;
        let check = self.keys.check(arrival.call_key, request.uri_bytes, number);
        let mut others = ROUTING.iter().chain(&[Name::HistoryInfo]);
        if others.all(|name| message.count(*name) == 0) {
            return check;
        }
        let values = ROUTING.into_iter().flat_map(|name| message.headers(name));
        let diversions = message
            .values(Name::HistoryInfo)
            .map(|value| value.bytes)
            .filter(|entry| NameAddr::parse(entry).is_ok_and(|entry| is_diversion(&entry)));
        let fields = values.map(|header| header.value).chain(diversions);
        fields.fold(check, |check, field| {
            mix(u64::from(check), self.keys.tag(field)) as u32
        })
    }
}
