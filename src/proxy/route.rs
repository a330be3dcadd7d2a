//! Where a request goes next: Route headers, strict routers, the address of the next hop
//! (RFC 3261 §16.4, §16.6 steps 6 and 7).

use std::ops::Range;

use smallvec::SmallVec;

use super::hop::{Endpoints, Flow, Hop, Hops};
use super::keys::Keys;
use super::names::{Lookup, Sought};
use super::policy::{NextHop, Policy};
use super::rejection::Rejection;
use super::request::ProxyRequest;
use super::shared::Shared;
use super::token::FlowToken;
use super::{Arrival, Proxy};
use crate::message::{Fault, Message, Name, NameAddr, Uri, Value};
use crate::transaction::branch::read_hex;

/// The name of the Record-Route parameter that holds our token.
pub(super) const TOKEN_PARAM: &[u8] = b"pm";

/// What the Route headers of a request say.
#[derive(Debug, Default)]
pub(super) struct Routed {
    /// Route values to take off: ours, and one moved into the Request-URI.
    pub drop: SmallVec<[Range<usize>; 2]>,
    /// A new Request-URI from a Route (strict routing), as a range of the message.
    pub uri: Option<Range<usize>>,
    /// The Request-URI must be put last into the Route (the next hop routes strictly).
    pub append_uri: bool,
    /// The URI whose host is the next hop, as a range of the message; none means the Request-URI.
    pub next: Option<Range<usize>>,
    /// The request carries our token: it belongs to a dialog that we put ourselves into.
    pub is_ours: bool,
    /// The flow that a value of ours names for the way on (RFC 5626 §5.3).
    pub flow: Option<FlowToken>,
    /// A header line that asserts who has authenticated, for those we trust (RFC 3325 §5).
    pub asserted: Option<Box<[u8]>>,
    /// How many values of ours there were.
    own_values: u8,
}

impl Routed {
    /// Reads the Route headers. Values that name us at the front are taken off (§16.4).
    pub(super) fn read(
        request: &ProxyRequest<'_>,
        call_key: u64,
        policy: &Policy,
        keys: &Keys,
    ) -> Result<Self, Rejection> {
        let mut routed = Self::default();
        if request.message.count(Name::Route) == 0 {
            return Ok(routed);
        }
        let mut values = request.message.values(Name::Route);
        let mut next = values.next();
        if next.is_none() {
            return Ok(routed);
        }
        if is_our_record_route(&request.uri, policy) {
            routed.repair_strict(request, call_key, policy, keys)?;
            return Ok(routed);
        }
        while let Some(value) = next {
            let (uri, span) = uri_of(&value)?;
            let is_first = routed.own_values == 0;
            if !(policy.is_our_address(uri.host, uri.port) || is_first && is_us(&uri, policy)) {
                routed.next = Some(span.clone());
                if !uri.is_lr() {
                    routed.take_off(&value);
                    routed.uri = Some(span);
                    routed.append_uri = true;
                }
                break;
            }
            routed.is_ours |= has_token(&uri, call_key, keys);
            routed.flow = FlowToken::read(uri.user, keys);
            routed.own_values = routed.own_values.saturating_add(1);
            routed.take_off(&value);
            next = values.next();
        }
        Ok(routed)
    }

    /// The previous hop routes strictly: our own Route came as the Request-URI, and the target
    /// stands last in the Route (§16.4).
    fn repair_strict(
        &mut self,
        request: &ProxyRequest<'_>,
        call_key: u64,
        policy: &Policy,
        keys: &Keys,
    ) -> Result<(), Rejection> {
        self.is_ours = has_token(&request.uri, call_key, keys);
        let values: SmallVec<[Value<'_>; 4]> = request.message.values(Name::Route).collect();
        let Some((last, others)) = values.split_last() else {
            return Ok(());
        };
        self.uri = Some(uri_of(last)?.1);
        for value in others {
            let (uri, span) = uri_of(value)?;
            if !policy.is_our_address(uri.host, uri.port) {
                self.next = Some(span);
                break;
            }
            self.take_off(value);
        }
        self.take_off(last);
        Ok(())
    }

    /// The flow that a request goes on by. Where we put in one value for both sides, the token in
    /// it may be that of the side it came from.
    pub(super) fn onward_flow(&self, arrival: &Arrival) -> Option<FlowToken> {
        self.flow
            .filter(|flow| self.own_values > 1 || !flow.is_of(arrival))
    }

    /// Marks a Route value as to be cut; where a line loses all its values, the line goes.
    fn take_off(&mut self, value: &Value<'_>) {
        let line = &value.header.line;
        let is_last = value.cut.end == value.span.end;
        let start = self
            .drop
            .last()
            .filter(|cut| line.contains(&cut.start))
            .map(|cut| cut.start);
        match start {
            None => self.drop.push(value.cut.clone()),
            Some(start) => {
                self.drop.pop();
                let whole = is_last && start == value.header.value_span.start;
                self.drop.push(if whole {
                    line.clone()
                } else {
                    start..value.cut.end
                });
            }
        }
    }
}

/// The URI of a Route value and its place in the message.
fn uri_of<'m>(value: &Value<'m>) -> Result<(Uri<'m>, Range<usize>), Rejection> {
    let read = NameAddr::parse_with_uri(value.bytes);
    let (address, uri) = read.map_err(|_| Fault::MalformedRoute)?;
    let offset = (address.uri.as_ptr() as usize).saturating_sub(value.bytes.as_ptr() as usize);
    let start = value.span.start + offset;
    Ok((uri, start..start + address.uri.len()))
}

/// Whether a Route leads to us by the name of a domain of ours, as of a phone that has it as its
/// outbound proxy.
fn is_us(uri: &Uri<'_>, policy: &Policy) -> bool {
    uri.user.is_empty() && uri.param(b"maddr").is_none() && is_ours(uri, policy)
}

/// Whether a Request-URI is a value that we once put into a Record-Route.
fn is_our_record_route(uri: &Uri<'_>, policy: &Policy) -> bool {
    uri.user.is_empty()
        && uri.param(TOKEN_PARAM).is_some()
        && policy.is_our_address(uri.host, uri.port)
}

/// Whether a request is of a dialog that we put ourselves into: its first Route, or its
/// Request-URI from a strict router, carries our token.
pub(super) fn carries_token(message: &Message<'_>, call_key: u64, keys: &Keys) -> bool {
    let first = message.values(Name::Route).next();
    let route = first.and_then(|value| uri_of(&value).ok());
    let is_ours = |uri: &Uri<'_>| has_token(uri, call_key, keys);
    route.is_some_and(|(uri, _)| is_ours(&uri))
        || message.parsed_uri().is_ok_and(|uri| is_ours(&uri))
}

fn has_token(uri: &Uri<'_>, call_key: u64, keys: &Keys) -> bool {
    uri.param(TOKEN_PARAM)
        .flatten()
        .and_then(read_hex)
        .is_some_and(|token| token == keys.token(call_key))
}

/// Whether a URI is in one of our domains. An explicit port must be one that we listen on: another
/// service may run on the same address.
pub(super) fn is_ours(uri: &Uri<'_>, policy: &Policy) -> bool {
    policy.is_ours(uri.host)
        && match uri.port {
            None => true,
            Some(port) => {
                let mut listeners = policy.listeners.iter();
                listeners.any(|listener| listener.port == port)
                    || port == 5060 && uri.ip().is_none()
            }
        }
}

/// Looking up where a request can go, without ever waiting for it.
pub(super) struct Towards<'a> {
    pub policy: &'a Policy,
    shared: &'a Shared,
    /// Chooses among equal targets: the same for all requests of a call.
    call_key: u64,
    upstream_listener: u8,
    now_ms: u64,
}

impl Proxy {
    /// Looks up for a call that came in by a listener.
    pub(super) fn towards(&self, call_key: u64, upstream_listener: u8) -> Towards<'_> {
        Towards {
            policy: &self.policy,
            shared: &self.shared,
            call_key,
            upstream_listener,
            now_ms: self.now.ms,
        }
    }
}

impl Towards<'_> {
    /// The hop of a flow (RFC 5626 §5.3). Where its connection is gone, `others` are tried, unless
    /// only the other side could open one.
    pub(super) fn flow(
        &self,
        flow: FlowToken,
        others: impl FnOnce() -> Result<Hops, Unroutable>,
    ) -> Result<Hops, Unroutable> {
        let (id, listener) = match flow {
            FlowToken::Datagram { from, listener } => {
                return Ok(std::iter::once(Hop::new(from, listener)).collect());
            }
            FlowToken::Connection { id, listener } => (id, listener),
        };
        let Some(view) = self.shared.flows.get(id) else {
            return match self.policy.transport(listener).is_websocket() {
                true => Err(Unroutable::FlowGone),
                false => others(),
            };
        };
        let hop = Hop {
            flow: Flow::Only(id),
            ..Hop::new(view.peer, view.listener)
        };
        Ok(std::iter::once(hop).collect())
    }

    /// The hops to a URI's host (RFC 3263).
    pub(super) fn uri(&self, uri: &Uri<'_>) -> Result<Hops, Unroutable> {
        if uri.host.is_empty() {
            return self.outbound();
        }
        let sought = Sought::of(uri).ok_or(Unroutable::Nowhere)?;
        self.known(self.shared.seek(&sought, self.call_key, self.now_ms))
    }

    /// The hops to a configured system: those of its nodes, in their order.
    pub(super) fn next_hop(&self, next_hop: &NextHop) -> Result<Hops, Unroutable> {
        let found = self.shared.seek_group(next_hop, self.call_key, self.now_ms);
        self.known(found)
    }

    fn known(&self, found: Lookup) -> Result<Hops, Unroutable> {
        match found {
            Lookup::Found(endpoints) => self.hops(&endpoints),
            Lookup::Pending => Err(Unroutable::Pending),
            Lookup::Nothing => Err(Unroutable::Nowhere),
        }
    }

    /// Where requests go whose URI names no host (`tel:`): the PBX, or what is configured for it.
    pub(super) fn outbound(&self) -> Result<Hops, Unroutable> {
        let hop = self.policy.outbound.as_ref();
        let hop = hop.or(self.policy.next_hop.as_ref());
        self.next_hop(hop.ok_or(Unroutable::Nowhere)?)
    }

    fn hops(&self, endpoints: &Endpoints) -> Result<Hops, Unroutable> {
        let towards = |endpoint| self.policy.hop_to(endpoint, self.upstream_listener);
        let hops: Hops = endpoints.iter().filter_map(towards).collect();
        match hops.is_empty() {
            true => Err(Unroutable::Nowhere),
            false => Ok(hops),
        }
    }
}

/// Why there is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unroutable {
    /// The name is being resolved; a retransmission will find it.
    Pending,
    /// There is none.
    Nowhere,
    /// The connection is gone, and nobody else leads there.
    FlowGone,
}
