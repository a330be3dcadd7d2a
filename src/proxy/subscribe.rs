//! SUBSCRIBE to a package that is served here (RFC 6665 §4.2.1): who may watch whom, and for how
//! long. The answer is kept for Timer J, so a retransmission gets the same one.

use std::io::Write as _;
use std::sync::Arc;

use super::caller::identify;
use super::extensions::check_recipient;
use super::keys::mix;
use super::rejection::Rejection;
use super::request::ProxyRequest;
use super::watches::Watch;
use super::{Arrival, Now, Policy, Proxy, Shared, WatchKey};
use crate::event::{
    Asked, Dialog, End, Package, RESERVED_CSEQ, Refusal, Rules, Sight, Subscription, WayBack,
    event_of, see, unfolded, write_contact,
};
use crate::message::{Message, Method, Name, Reply};
use crate::presence::{Handle, Profile};

/// The package of a SUBSCRIBE, and which of several subscriptions in one dialog it is.
pub(super) type Event<'m> = (Package, &'m [u8]);

impl Proxy {
    /// What a SUBSCRIBE asks for, where it is ours to answer: its package is served here, and it is
    /// for a subscriber or refers to a dialog that we have made.
    pub(super) fn own_event<'m>(
        &self,
        arrival: &Arrival,
        request: &ProxyRequest<'m>,
        presentity: Option<Handle>,
    ) -> Option<Event<'m>> {
        let event = self.served_event(request)?;
        let is_ours = match request.to.tag {
            Some(tag) => tag == self.stateless_tag(arrival),
            None => presentity.is_some(),
        };
        is_ours.then_some(event)
    }

    /// What a SUBSCRIBE asks for, where its package is served here, whoever it is of.
    pub(super) fn served_event<'m>(&self, request: &ProxyRequest<'m>) -> Option<Event<'m>> {
        if request.method != Method::Subscribe || self.policy.events.packages.is_empty() {
            return None;
        }
        let event = event_of(&request.message)?;
        self.policy.events.packages.has(event.0).then_some(event)
    }

    /// Answers a SUBSCRIBE, and tells the watcher how things are.
    pub(super) fn subscribe(
        &mut self,
        arrival: &Arrival,
        request: &ProxyRequest<'_>,
        server_key: u64,
    ) -> Result<(), Rejection> {
        check_recipient(request)?;
        let rules = self.policy.events;
        let mut headers = std::mem::take(&mut self.scratch.lines);
        headers.clear();
        let outcome = match event_of(&request.message) {
            Some(event) => self.watch(arrival, request, (event, rules)),
            None => Err(Refusal::Gone),
        };
        let (status, reason) = match outcome {
            Ok((_, expires_s)) => {
                self.write_accepted(arrival, &request.message, expires_s, &mut headers);
                (200, "")
            }
            Err(refusal) => {
                refusal.write_headers(&rules, self.policy.retry_after_s, &mut headers);
                (refusal.status(), refusal.reason_phrase())
            }
        };
        self.count_subscribe(outcome.err());
        let reply = Reply {
            status,
            reason: reason.as_bytes(),
            headers: &headers,
            ..Reply::default()
        };
        self.answer_and_keep(arrival, request, server_key, reply);
        self.scratch.lines = headers;
        if let Ok((key, _)) = outcome {
            self.tell_watcher(key);
        }
        Ok(())
    }

    /// The header lines of a 200 (RFC 6665 §4.2.1.1, RFC 3261 §12.1.1).
    fn write_accepted(
        &self,
        arrival: &Arrival,
        message: &Message<'_>,
        expires_s: u32,
        out: &mut Vec<u8>,
    ) {
        for route in message.headers(Name::RecordRoute) {
            out.extend_from_slice(b"Record-Route: ");
            out.extend(unfolded(route.value));
            out.extend_from_slice(b"\r\n");
        }
        if let Some(listener) = self.policy.listeners.get(usize::from(arrival.listener)) {
            write_contact(&listener.advertised, listener.transport, out);
        }
        let _ = write!(out, "Expires: {expires_s}\r\n");
        self.write_allow_events(out);
    }

    fn count_subscribe(&self, refusal: Option<Refusal>) {
        if let Some(counters) = self.counters() {
            let (result, label) = match refusal {
                None => ("accepted", ""),
                Some(refusal) => ("refused", refusal.label()),
            };
            counters.subscriptions.inc(result, label);
        }
    }

    /// Makes, refreshes or ends a subscription; hands back which and for how many seconds.
    fn watch(
        &mut self,
        arrival: &Arrival,
        request: &ProxyRequest<'_>,
        (event, rules): (Event<'_>, Rules),
    ) -> Result<(WatchKey, u32), Refusal> {
        let asked = Asked::read(&request.message, event, &rules)?;
        let watcher = self.watcher(arrival, request)?;
        let tag = request.from.tag.unwrap_or_default();
        let key = self.watch_key(arrival.call_key, tag, event);
        let (present, is_new) = (self.watches.find(key), !request.is_in_dialog());
        match present {
            None if is_new => self.begin_watch(arrival, request, (key, asked, watcher)),
            None => Err(Refusal::Gone),
            Some(present) if is_new && self.watches.is_over(present) => {
                self.forget_watch(present);
                self.begin_watch(arrival, request, (key, asked, watcher))
            }
            Some(present) => self.refresh_watch(arrival, request, (present, asked, watcher)),
        }
    }

    /// What finds a subscription: its dialog by Call-ID and the watcher's tag, package and id.
    pub(super) fn watch_key(&self, call_key: u64, tag: &[u8], event: Event<'_>) -> u64 {
        let event = mix(event.0 as u64, self.keys.tag(event.1));
        mix(mix(call_key, self.keys.tag(tag)), event)
    }

    /// Who asks: a subscriber who is proven, or by a trusted system nobody in particular.
    fn watcher(
        &self,
        arrival: &Arrival,
        request: &ProxyRequest<'_>,
    ) -> Result<Option<Handle>, Refusal> {
        let policy = &self.policy;
        let (peer, is_known) = self.peer_of(policy, arrival);
        let is_believed = match is_known {
            true => peer.trust_identity && !peer.external,
            false => policy.auth.methods.is_empty(),
        };
        let believed = || {
            let identity = identify(request, peer, policy, &self.shared.directory);
            identity.subscriber.filter(|_| is_believed)
        };
        match request.authenticated.or_else(believed) {
            None if !is_known => Err(Refusal::Unproven),
            watcher => Ok(watcher),
        }
    }

    fn begin_watch(
        &mut self,
        arrival: &Arrival,
        request: &ProxyRequest<'_>,
        (key, asked, watcher): (u64, Asked<'_>, Option<Handle>),
    ) -> Result<(WatchKey, u32), Refusal> {
        let (directory, policy) = (Arc::clone(&self.shared.directory), Arc::clone(&self.policy));
        let presentity = self.around().resolve_uri(&request.uri);
        let presentity = presentity.ok_or(Refusal::Gone)?;
        let profile = directory.profile(presentity).ok_or(Refusal::Gone)?;
        let watching = watcher.and_then(|watcher| directory.profile(watcher));
        let sight = sight(&self.shared, &policy, self.now);
        see(sight, (presentity, &profile), watching.as_deref()).ok_or(Refusal::NotShown)?;
        let uri = String::from_utf8_lossy(entity_of(request.uri_bytes));
        let mut subscription = Subscription {
            package: asked.package,
            event_id: asked.id.into(),
            presentity,
            presentity_id: profile.id().into(),
            entity: uri.into(),
            watcher_id: watching.as_deref().map_or("", Profile::id).into(),
            dialog: self.dialog_of(arrival, request, &asked),
            way: self.way_back(arrival, request),
            expires_unix_ms: self.end_of(asked.expires_s),
            cseq: 0,
            reserved_cseq: RESERVED_CSEQ,
            slot: None,
            is_counted: false,
        };
        let is_once = asked.expires_s == 0;
        let ledger = &self.shared.ledger;
        ledger.add(&mut subscription, &policy.events, !is_once)?;
        let hop = arrival.reply_hop(&request.via);
        let mut watch = Watch::new(key, subscription, hop);
        watch.end = is_once.then_some(End::Timeout);
        let (key, is_first) = self.watches.insert(watch);
        if is_first {
            directory.watched().watch(presentity, self.shard);
        }
        Ok((key, asked.expires_s))
    }

    fn refresh_watch(
        &mut self,
        arrival: &Arrival,
        request: &ProxyRequest<'_>,
        (key, asked, watcher): (WatchKey, Asked<'_>, Option<Handle>),
    ) -> Result<(WatchKey, u32), Refusal> {
        let directory = Arc::clone(&self.shared.directory);
        let watcher = watcher.and_then(|watcher| directory.profile(watcher));
        let (way, expires_unix_ms) = (
            self.way_back(arrival, request),
            self.end_of(asked.expires_s),
        );
        let (ledger, watches) = (&self.shared.ledger, &mut self.watches);
        let watch = watches.get_mut(key).ok_or(Refusal::Gone)?;
        if watch.end.is_some() {
            return Err(Refusal::Gone);
        }
        if *watch.subscription.watcher_id != *watcher.as_deref().map_or("", Profile::id) {
            return Err(Refusal::Unproven);
        }
        if request.cseq.number <= watch.subscription.dialog.remote_cseq {
            return Err(Refusal::OutOfOrder);
        }
        let mut refreshed = watch.subscription.clone();
        refreshed.dialog.remote_cseq = request.cseq.number;
        refreshed.dialog.target = asked.target.into();
        refreshed.way = way;
        refreshed.expires_unix_ms = expires_unix_ms;
        if asked.expires_s > 0 {
            ledger.update(&refreshed)?;
        } else {
            ledger.erase(&mut refreshed);
            watch.end = Some(End::Timeout);
        }
        watch.subscription = refreshed;
        watch.hop = arrival.reply_hop(&request.via);
        watch.told = None;
        watches.make_due(key);
        Ok((key, asked.expires_s))
    }

    fn dialog_of(
        &self,
        arrival: &Arrival,
        request: &ProxyRequest<'_>,
        asked: &Asked<'_>,
    ) -> Dialog {
        let message = &request.message;
        let value = |name: Name| message.header(name).map(|header| header.value);
        let mut local: Vec<u8> = unfolded(value(Name::To).unwrap_or_default()).collect();
        local.extend_from_slice(b";tag=");
        local.extend_from_slice(&self.stateless_tag(arrival));
        Dialog {
            call_id: message.call_id().unwrap_or_default().into(),
            local: local.into(),
            remote: unfolded(value(Name::From).unwrap_or_default()).collect(),
            target: asked.target.into(),
            routes: asked.routes.as_slice().into(),
            remote_cseq: request.cseq.number,
        }
    }

    /// Over a connection that is gone another one is opened to where responses would go (RFC 3261
    /// §18.2.2).
    fn way_back(&self, arrival: &Arrival, request: &ProxyRequest<'_>) -> WayBack {
        WayBack {
            listener: arrival.listener,
            transport: self.policy.transport(arrival.listener),
            peer: arrival.reply_hop(&request.via).to,
        }
    }

    fn end_of(&self, expires_s: u32) -> i64 {
        let lasts_ms = i64::from(expires_s) * 1_000;
        self.now.unix_ms.saturating_add(lasts_ms)
    }
}

/// What watchers are shown is seen by this.
pub(super) fn sight<'a>(shared: &'a Shared, policy: &'a Policy, now: Now) -> Sight<'a> {
    Sight {
        directory: &shared.directory,
        statuses: &policy.house.statuses,
        visibility: policy.visibility,
        now_unix_s: now.unix_ms.div_euclid(1_000),
    }
}

/// A URI without its parameters and headers: whom documents are about.
fn entity_of(uri: &[u8]) -> &[u8] {
    let end = uri.iter().position(|byte| matches!(byte, b';' | b'?'));
    uri.get(..end.unwrap_or(uri.len())).unwrap_or(uri)
}
