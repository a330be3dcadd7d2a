//! Watchers: phones with a lamp beside a name, which must show what the directory says.

use std::net::SocketAddr;
use std::rc::Rc;

use crate::checker::{Verdict, Violation};
use crate::harness::address;
use crate::network::{Event, Network};
use crate::people::id_of;
use crate::sip::Sip;

/// How often a watcher looks at what it has to do.
pub const TICK_MS: u64 = 1_000;
/// So long after the last change a lamp must show it: a NOTIFY may get lost for 32 s. Refreshes come
/// much later, so that it is not they that mend a lamp.
const SETTLED_MS: u64 = 40_000;

pub struct Watchers {
    all: Vec<Watcher>,
    proxy: SocketAddr,
    /// When they end their subscriptions.
    ends: u64,
}

struct Watcher {
    at: SocketAddr,
    who: usize,
    /// How many subscriptions it has begun: part of the Call-ID.
    begun: u32,
    cseq: u32,
    /// The notifier's tag, once it is known.
    tag: Option<String>,
    /// The SUBSCRIBE that waits for its answer, and how often it was sent.
    waiting: Option<(Rc<Sip>, u32)>,
    refresh_at: u64,
    since: u64,
    lamp: Vec<String>,
    last_cseq: u32,
    is_leaving: bool,
}

impl Watchers {
    pub fn new(proxy: SocketAddr, whom: impl IntoIterator<Item = usize>, ends: u64) -> Self {
        let watcher = |(number, who): (usize, usize)| Watcher {
            at: Self::address_of(number),
            who,
            begun: 0,
            cseq: 0,
            tag: None,
            waiting: None,
            refresh_at: 0,
            since: 0,
            lamp: Vec::new(),
            last_cseq: 0,
            is_leaving: false,
        };
        let all = whom.into_iter().enumerate().map(watcher).collect();
        Self { all, proxy, ends }
    }

    pub fn address_of(number: usize) -> SocketAddr {
        address(&format!("192.0.2.{}:5060", 200 + number))
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn find(&self, at: SocketAddr) -> Option<usize> {
        self.all.iter().position(|watcher| watcher.at == at)
    }

    /// Something is due at a watcher.
    pub fn tick(&mut self, net: &mut Network, number: usize) {
        let (proxy, is_over) = (self.proxy, net.now >= self.ends);
        let watcher = &mut self.all[number];
        match &mut watcher.waiting {
            Some((_, tries)) if *tries > 32 => watcher.forget(),
            Some((request, tries)) => {
                *tries += 1;
                let request = Rc::clone(request);
                net.send(watcher.at, proxy, request);
            }
            None if is_over && watcher.tag.is_some() && !watcher.is_leaving => {
                watcher.is_leaving = true;
                watcher.subscribe(net, proxy, number, "0");
            }
            None if is_over => {}
            None if watcher.tag.is_none() => {
                watcher.begun += 1;
                (watcher.cseq, watcher.last_cseq) = (0, 0);
                watcher.lamp.clear();
                watcher.since = net.now;
                watcher.subscribe(net, proxy, number, "600");
            }
            None if net.now >= watcher.refresh_at => watcher.subscribe(net, proxy, number, "600"),
            None => {}
        }
        let goes_on = !is_over || watcher.waiting.is_some() || watcher.tag.is_some();
        if goes_on && net.now < self.ends + 60_000 {
            net.after(TICK_MS, Event::Watch(number));
        }
    }

    /// A message came to a watcher.
    pub fn receive(&mut self, net: &mut Network, number: usize, from: SocketAddr, m: &Rc<Sip>) {
        let watcher = &mut self.all[number];
        if m.is("NOTIFY") {
            let status = watcher.on_notify(number, m);
            let copied = ["Via", "From", "To", "Call-ID", "CSeq"];
            let mut text = format!("SIP/2.0 {status}\r\n");
            for name in copied {
                text += &format!("{name}: {}\r\n", m.header(name).unwrap_or_default());
            }
            net.send(
                watcher.at,
                from,
                Sip::of(&(text + "Content-Length: 0\r\n\r\n")),
            );
        } else if let Some(status) = m.status() {
            watcher.on_response(net, status, m);
        }
    }

    /// How many believe that they have a subscription.
    pub fn believing(&self) -> usize {
        let believes = |watcher: &&Watcher| watcher.tag.is_some();
        self.all.iter().filter(believes).count()
    }

    /// Whether every lamp that had the time to shows what `marks` say; `changed` is when they did so
    /// last for each subscriber.
    pub fn check(&self, now: u64, marks: &[(u16, u16)], changed: &[u64]) -> Verdict {
        for (number, watcher) in self.all.iter().enumerate() {
            let since = watcher.since.max(changed[watcher.who]);
            let is_settled = watcher.tag.is_some() && now >= since + SETTLED_MS;
            let (calls, ringing) = marks[watcher.who];
            let mut expected = Vec::new();
            if calls > 0 || ringing == 0 {
                expected.push(if calls > 0 { "confirmed" } else { "terminated" });
            }
            if ringing > 0 {
                expected.push("early");
            }
            if is_settled && !watcher.is_leaving && watcher.lamp != expected {
                let lamp = &watcher.lamp;
                return Err(Violation {
                    rule: format!("a lamp shows {lamp:?} and should show {expected:?}"),
                    call_id: watcher.call_id(number),
                });
            }
        }
        Ok(())
    }
}

impl Watcher {
    fn call_id(&self, number: usize) -> String {
        format!("lamp{number}-{}@sim", self.begun)
    }

    fn forget(&mut self) {
        (self.tag, self.waiting) = (None, None);
    }

    fn subscribe(&mut self, net: &mut Network, proxy: SocketAddr, number: usize, expires: &str) {
        self.cseq += 1;
        let (own, callee, cseq, begun) = (self.at, id_of(self.who), self.cseq, self.begun);
        let tag = self.tag.as_ref().map(|tag| format!(";tag={tag}"));
        let uri = match &self.tag {
            Some(_) => format!("sip:{proxy}"),
            None => format!("sip:{callee}@example.com"),
        };
        let text = format!(
            "SUBSCRIBE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKw{number}-{begun}-{cseq}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:watcher{number}@example.com>;tag=w{number}-{begun}\r\n\
             To: <sip:{callee}@example.com>{}\r\nCall-ID: {}\r\nCSeq: {cseq} SUBSCRIBE\r\n\
             Contact: <sip:{own}>\r\nEvent: dialog\r\nExpires: {expires}\r\nContent-Length: 0\r\n\r\n",
            tag.unwrap_or_default(),
            self.call_id(number),
        );
        let request = Sip::of(&text);
        self.waiting = Some((Rc::clone(&request), 1));
        net.send(own, proxy, request);
    }

    fn on_response(&mut self, net: &mut Network, status: u16, m: &Sip) {
        let waits = self.waiting.as_ref();
        if waits.is_none_or(|(request, _)| request.branch(0) != m.branch(0)) {
            return;
        }
        self.waiting = None;
        match status {
            200 if self.is_leaving => self.tag = None,
            200 => {
                self.tag = Some(m.to_tag().to_owned());
                self.refresh_at = net.now + net.chance.range(300_000, 500_000);
            }
            // A request of before was overtaken by its own repetition; or there is no room now.
            500 | 503 => self.refresh_at = net.now + 5_000,
            _ => self.forget(),
        }
    }

    fn on_notify(&mut self, number: usize, m: &Sip) -> &'static str {
        let is_ours = m.call_id() == self.call_id(number)
            && self.tag.as_ref().is_none_or(|tag| *tag == m.sender_tag());
        if !is_ours {
            return "481 Subscription Does Not Exist";
        }
        let (cseq, _) = m.cseq();
        if cseq < self.last_cseq {
            return "500 Request Out Of Order";
        }
        self.last_cseq = cseq;
        let states = m.body().split("<state>").skip(1);
        self.lamp = states
            .map(|rest| rest.split('<').next().unwrap_or_default().to_owned())
            .collect();
        let state = m.header("Subscription-State").unwrap_or_default();
        match state.starts_with("terminated") {
            true => self.forget(),
            false if !self.is_leaving => self.tag = Some(m.sender_tag().to_owned()),
            false => {}
        }
        "200 OK"
    }
}
