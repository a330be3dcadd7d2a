//! Sequences of messages into an engine, on a virtual clock: callers and callees that do what they
//! like in any order, and messages cut, spoiled and repeated.

use super::harness::*;
use pointsman::message::{Index, Method, Name};
use std::collections::{HashMap, HashSet};

const PEOPLE: [&str; 3] = [
    r#"{"id":"bob","display_name":"Bob"}"#,
    r#"{"id":"dora","display_name":"Dora","status":"dnd"}"#,
    r#"{"id":"finn","display_name":"Finn","settings":{"available":{"no_answer":"voicemail"}}}"#,
];
const STEPS: usize = 64;
const STATUSES: [&str; 10] = [
    "100 Trying",
    "180 Ringing",
    "183 Session Progress",
    "200 OK",
    "302 Moved Temporarily",
    "404 Not Found",
    "486 Busy Here",
    "487 Request Terminated",
    "503 Service Unavailable",
    "603 Decline",
];
const METHODS: [&str; 8] = [
    "INVITE",
    "MESSAGE",
    "OPTIONS",
    "REGISTER",
    "SUBSCRIBE",
    "BYE",
    "INFO",
    "FROBNICATE",
];
const USERS: [&str; 4] = ["bob", "dora", "finn", "nobody"];

/// Takes bytes off the front of the input; zeros when it is used up.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> usize {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        usize::from(*first)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.next() % from.len()]
    }

    fn some(&mut self, limit: usize) -> Vec<u8> {
        let count = (self.next() % limit).min(self.0.len());
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken.to_vec()
    }
}

struct Play<'a> {
    input: Bytes<'a>,
    world: World,
    /// What went to callees, and what to the caller, that may be answered or gone on from.
    down: Vec<Sent>,
    up: Vec<Sent>,
    /// What was received, for repetitions.
    received: Vec<(&'static str, Vec<u8>)>,
    finals: HashMap<Vec<u8>, (u16, u64)>,
    /// When the step began in which something was sent: a wait is long.
    since_ms: u64,
    /// Every INVITE by its transaction.
    begun: HashMap<Vec<u8>, Vec<u8>>,
    /// INVITEs that spoiled messages may have meddled with.
    spoiled: HashSet<Vec<u8>>,
}

/// Plays the sequence that the bytes say. Whatever comes: no panic, no table larger than what was
/// sent, one final response for each INVITE, and nothing left in the end.
pub fn sequence(data: &[u8]) {
    let mut play = Play {
        input: Bytes(data),
        world: World::new(retargeting(), &PEOPLE),
        down: Vec::new(),
        up: Vec::new(),
        received: Vec::new(),
        finals: HashMap::new(),
        since_ms: 0,
        begun: HashMap::new(),
        spoiled: HashSet::new(),
    };
    for _ in 0..STEPS {
        if play.input.0.is_empty() {
            break;
        }
        play.step();
        let load = play.world.engine.load();
        let (all, bound) = (
            load.invites + load.relays + load.calls,
            4 * play.received.len(),
        );
        assert!(all <= bound, "{load:?} of {bound}");
    }
    // Calls that nobody ends are ended by their limit.
    play.world.advance(13 * 3_600_000);
    play.world.assert_drained();
}

impl Play<'_> {
    fn step(&mut self) {
        self.since_ms = self.world.now_ms;
        match self.input.next() % 11 {
            0 | 1 => self.request(),
            2 | 3 => self.respond(),
            4 => self.cancel(),
            5 => self.acknowledge(),
            6 => self.go_on(),
            7 => self.wait(),
            8 => self.spoil(),
            9 => self.repeat(),
            _ => self.unreachable(),
        }
    }

    fn receive(&mut self, from: &'static str, bytes: Vec<u8>) {
        if !self.is_first_of_its_branch(&bytes) {
            return;
        }
        self.forget_final(&bytes);
        let sent = self.world.receive(from, &bytes);
        self.received.push((from, bytes));
        self.take(sent);
    }

    /// Whether no other INVITE has had its branch: no client uses one again (RFC 3261 §8.1.1.7).
    fn is_first_of_its_branch(&mut self, bytes: &[u8]) -> bool {
        let is_request = !bytes.starts_with(b"SIP/2.0 ");
        let Some(key) = invite_key(bytes).filter(|_| is_request) else {
            return true;
        };
        let first = self.begun.entry(key.clone());
        let is_same = first.or_insert_with(|| bytes.to_vec()) == bytes;
        is_same || self.spoiled.contains(&key)
    }

    /// A transaction that is over may begin again.
    fn forget_final(&mut self, bytes: &[u8]) {
        let now = self.world.now_ms;
        if let Some(key) = invite_key(bytes) {
            self.finals
                .retain(|other, (_, at)| *other != key || now < *at + 4_000);
        }
    }

    fn take(&mut self, sent: Vec<Sent>) {
        for sent in sent {
            let Some(status) = sent.status() else {
                self.down.push(sent);
                continue;
            };
            if let Some(key) = invite_key(&sent.bytes).filter(|_| status >= 200) {
                let now = self.since_ms;
                let (first, _) = *self.finals.entry(key.clone()).or_insert((status, now));
                assert!(
                    first == status || self.spoiled.contains(&key),
                    "{status} after {first}: {}",
                    sent.text()
                );
            }
            self.up.push(sent);
        }
    }

    fn call(&mut self) -> (String, String) {
        let user = self.input.pick(&USERS);
        let call = format!("c{}", self.input.next() % 6);
        (format!("sip:{user}@example.com"), call)
    }

    fn request(&mut self) {
        let method = self.input.pick(&METHODS);
        let (uri, call) = self.call();
        let extra = self.input.pick(&[
            "",
            "Require: x\r\n",
            "Proxy-Require: x\r\n",
            "Supported: timer\r\n",
        ]);
        let bytes = request(method, &uri, &call, extra).into_bytes();
        self.mark_other(&bytes);
        self.receive(CALLER, bytes);
    }

    /// Another INVITE under the branch of an earlier one meddles with it.
    fn mark_other(&mut self, bytes: &[u8]) {
        let Some(key) = invite_key(bytes) else { return };
        let is_other =
            |(_, old): &(&str, Vec<u8>)| old != bytes && invite_key(old).as_ref() == Some(&key);
        if self.received.iter().any(is_other) {
            self.spoiled.insert(key);
        }
    }

    fn respond(&mut self) {
        let Some(request) = self.one_of_down() else {
            return;
        };
        let status = self.input.pick(&STATUSES);
        let extra = self.input.pick(&[
            "",
            "Contact: <sip:d@192.0.2.7>\r\n",
            "Session-Expires: 90;refresher=uas\r\n",
        ]);
        self.receive(PBX, respond(&request, status, extra).into_bytes());
    }

    fn one_of_down(&mut self) -> Option<Sent> {
        let back = self.input.next() % 8;
        let at = self
            .down
            .len()
            .checked_sub(1 + back.min(self.down.len().saturating_sub(1)))?;
        self.down.get(at).cloned()
    }

    fn one_of_up(&mut self) -> Option<Sent> {
        let back = self.input.next() % 8;
        let at = self
            .up
            .len()
            .checked_sub(1 + back.min(self.up.len().saturating_sub(1)))?;
        self.up.get(at).cloned()
    }

    fn cancel(&mut self) {
        let (uri, call) = self.call();
        self.receive(CALLER, cancel(&uri, &call).into_bytes());
    }

    fn acknowledge(&mut self) {
        let Some(response) = self.one_of_up() else {
            return;
        };
        let (uri, call) = self.call();
        if response.header("From").is_some() && response.header("To").is_some() {
            self.receive(CALLER, ack_failure(&uri, &call, &response).into_bytes());
        }
    }

    fn go_on(&mut self) {
        let Some(response) = self.one_of_up() else {
            return;
        };
        let has = |name| response.header(name).is_some();
        if !(has("From") && has("To") && has("Call-ID")) {
            return;
        }
        let method = self.input.pick(&["ACK", "BYE", "INVITE", "UPDATE", "INFO"]);
        let (cseq, turned) = (
            self.input.next() as u32,
            self.input.next().is_multiple_of(2),
        );
        let bytes = in_dialog(&response, method, cseq, turned, "").into_bytes();
        self.mark_other(&bytes);
        self.receive(if turned { PBX } else { CALLER }, bytes);
    }

    fn wait(&mut self) {
        let ms = self.input.pick(&[
            1, 499, 500, 4_000, 5_000, 31_000, 32_000, 33_000, 190_000, 2_000_000,
        ]);
        let sent = self.world.advance(ms);
        self.take(sent);
    }

    /// An earlier message with some bytes cut out and others put in.
    fn spoil(&mut self) {
        let Some((from, mut bytes)) = self.one_received() else {
            return;
        };
        let at = (self.input.next() * 256 + self.input.next()) % (bytes.len() + 1);
        let end = (at + self.input.next() % 40).min(bytes.len());
        let insert = self.input.some(24);
        let keys = [invite_key(&bytes), {
            bytes.splice(at..end, insert);
            invite_key(&bytes)
        }];
        self.spoiled.extend(keys.into_iter().flatten());
        self.receive(from, bytes);
    }

    fn repeat(&mut self) {
        if let Some((from, bytes)) = self.one_received() {
            self.receive(from, bytes);
        }
    }

    fn one_received(&mut self) -> Option<(&'static str, Vec<u8>)> {
        let at = self.input.next() % self.received.len().max(1);
        self.received.get(at).cloned()
    }

    fn unreachable(&mut self) {
        let sent = self.world.unreachable(PBX);
        self.take(sent);
    }
}

/// What tells one INVITE from another on the caller's side: Call-ID and the branch at the top.
fn invite_key(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut index = Index::new();
    let message = index.parse(bytes).ok()?;
    let cseq = message
        .cseq()
        .ok()
        .filter(|cseq| cseq.method == Method::Invite)?;
    let via = message.top_via().ok()?;
    let call_id = message.header(Name::CallId)?.value;
    Some([call_id, via.branch, &cseq.number.to_be_bytes()].concat())
}
