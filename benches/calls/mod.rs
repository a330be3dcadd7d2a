//! Whole calls through one engine without sockets: phones that send and answer what real ones do.
//! What a message costs the phones can be told apart: only [`Site::take`] enters the engine.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    reason = "a bench that cannot set itself up has failed"
)]

use std::sync::Arc;

use pointsman::engine::{Engine, Input, Now, Outbox, Shared, Source};
use pointsman::message::{Index, Name};
use pointsman::presence::{Directory, Subscriber};
use pointsman::store::{Embedded, Options, Store};

use crate::harness::{self, CALLER, PBX, SDP, address};

/// The engine with everything around it, and its store in a directory of its own.
pub struct Site {
    engine: Engine,
    out: Outbox,
    subscribers: u32,
    number: u32,
    ms: u64,
    ms_per_call: u64,
    scripts: Scripts,
    enter: fn(&mut dyn FnMut()),
    _directory: tempfile::TempDir,
}

/// The messages of a caller, made once with a place-holder for the call's number.
struct Scripts {
    invite: Script,
    refused_ack: Script,
}

struct Script {
    text: Vec<u8>,
    callee_at: Vec<usize>,
    call_at: Vec<usize>,
}

/// Where the callee's number stands in a script, and where the call's own does.
const CALLEE: &str = "########";
const CALL: &str = "%%%%%%%%";

impl Site {
    /// So many subscribers who all want `kind`: `redirect`, `reject` or, else, to be connected.
    /// They are called in an order that no cache can guess.
    pub fn new(kind: &str, subscribers: u32, ms_per_call: u64) -> Self {
        let policy = harness::policy();
        let directory = Directory::new(7);
        for number in 0..subscribers {
            let json = document(kind, number);
            let subscriber: Subscriber = serde_json::from_str(&json).unwrap();
            directory.put(&subscriber, &policy.plan).unwrap();
        }
        let files = tempfile::tempdir().unwrap();
        let store = Embedded::open(files.path(), Options::default()).unwrap();
        let shared = Arc::new(Shared::new(policy, Arc::new(directory), [7; 32], 1));
        let calls = store.open_calls(1, &|_| 0).unwrap().remove(0);
        let journal = store.journals(1).unwrap().remove(0);
        let now = Now {
            ms: 0,
            unix_ms: harness::NOON_UNIX_MS,
        };
        Self {
            engine: Engine::new(0, shared, calls, journal, now),
            out: Outbox::new(),
            subscribers,
            number: 0,
            ms: 0,
            ms_per_call,
            scripts: Scripts::new(),
            enter: |work| work(),
            _directory: files,
        }
    }

    /// From now on the engine is entered through `enter`, which may measure.
    pub fn measure_with(&mut self, enter: fn(&mut dyn FnMut())) {
        self.enter = enter;
    }

    /// INVITE, the final response, ACK.
    pub fn refused(&mut self) {
        let numbers = self.numbers();
        let invite = std::mem::take(&mut self.scripts.invite.fill(numbers).text);
        assert_eq!(self.take(CALLER, &invite), 1);
        self.scripts.invite.text = invite;
        let ack = std::mem::take(&mut self.scripts.refused_ack.fill(numbers).text);
        assert_eq!(self.take(CALLER, &ack), 0);
        self.scripts.refused_ack.text = ack;
        self.pass_time();
    }

    /// INVITE, 180, 200, ACK, BYE, 200: 6 in, 7 out.
    pub fn full_call(&mut self) {
        let dialog = self.answered();
        self.ended(&dialog);
        self.pass_time();
    }

    /// An INVITE that the PBX has not answered; what it got.
    pub fn pending(&mut self) -> Vec<u8> {
        let numbers = self.numbers();
        let invite = std::mem::take(&mut self.scripts.invite.fill(numbers).text);
        let sent = self.take(CALLER, &invite);
        self.scripts.invite.text = invite;
        assert_eq!(sent, 2, "100 and INVITE");
        self.number += 1;
        self.sent(1)
    }

    /// INVITE, 180, 200, ACK.
    pub fn answered(&mut self) -> Dialog {
        let (callee, id) = self.numbers();
        let received = self.pending();
        self.number -= 1;
        let route = line(&received, Name::RecordRoute);
        let dialog = Dialog {
            id: format!("{id:08}"),
            callee: format!("{callee:08}"),
            route: route.replace("Record-Route", "Route"),
        };
        let ringing = reply(&received, "180 Ringing", &dialog.id, "");
        assert_eq!(self.take(PBX, ringing.as_bytes()), 1);
        let answer = reply(&received, "200 OK", &dialog.id, SDP);
        assert_eq!(self.take(PBX, answer.as_bytes()), 1);
        let ack = dialog.request("ACK", 1);
        assert_eq!(self.take(CALLER, ack.as_bytes()), 1);
        dialog
    }

    /// BYE, 200.
    pub fn ended(&mut self, dialog: &Dialog) {
        let bye = dialog.request("BYE", 2);
        assert_eq!(self.take(CALLER, bye.as_bytes()), 1);
        let received = self.sent(0);
        let answer = reply(&received, "200 OK", &dialog.id, "");
        assert_eq!(self.take(PBX, answer.as_bytes()), 1);
    }

    /// Lets the transactions of earlier calls end, so that tables stay as full as in real life.
    pub fn pass_time(&mut self) {
        self.number += 1;
        self.pass(self.ms_per_call);
    }

    /// Time passes as the host sees it.
    pub fn pass(&mut self, ms: u64) {
        self.ms += ms;
        let (now, engine, out) = (self.now(), &mut self.engine, &mut self.out);
        (self.enter)(&mut || {
            if engine.next_timeout().is_some_and(|at| at <= now.ms) {
                engine.handle_timeouts(now, out);
                out.clear();
            }
        });
    }

    /// How many calls are open.
    pub fn calls(&self) -> usize {
        self.engine.load().calls
    }

    /// Of the callee, and of the call.
    fn numbers(&self) -> (u32, u32) {
        let callee = (self.number % self.subscribers * 7_919) % self.subscribers;
        (callee, self.number)
    }

    fn now(&self) -> Now {
        Now {
            ms: self.ms,
            unix_ms: harness::NOON_UNIX_MS + self.ms as i64,
        }
    }

    /// As the host does with a datagram; how many are to be sent for it.
    fn take(&mut self, from: &str, bytes: &[u8]) -> usize {
        self.out.clear();
        let source = Source::datagram(address(from), 0);
        let (now, engine, out) = (self.now(), &mut self.engine, &mut self.out);
        (self.enter)(&mut || {
            if engine.admits(now, &source) {
                engine.handle(now, Input::Message { source, bytes }, out);
            }
        });
        self.out.transmits().len()
    }

    fn sent(&self, number: usize) -> Vec<u8> {
        self.out.payload(&self.out.transmits()[number]).to_vec()
    }
}

impl Scripts {
    fn new() -> Self {
        let head = |method: &str, tag: &str| {
            format!(
                "{method} sip:{CALLEE}@example.com SIP/2.0\r\n\
                 Via: SIP/2.0/UDP {CALLER};rport;branch=z9hG4bK{CALL}i\r\nMax-Forwards: 70\r\n\
                 From: \"Alice Caller\" <sip:3000000000@elsewhere.net>;tag={CALL}f\r\n\
                 To: <sip:{CALLEE}@example.com>{tag}\r\n\
                 Call-ID: {CALL}@uac.test.invalid\r\nCSeq: 1 {method}\r\n"
            )
        };
        let invite = format!(
            "{}Contact: <sip:3000000000@{CALLER}>\r\n\
             Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, INFO, UPDATE, PRACK\r\n\
             Supported: replaces, timer, path\r\nUser-Agent: LeanPhone 2.4.1\r\n\
             Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}",
            head("INVITE", ""),
            SDP.len()
        );
        let ack = head("ACK", ";tag=0123456789abcdef");
        Self {
            invite: Script::new(&invite),
            refused_ack: Script::new(&format!(
                "{ack}User-Agent: LeanPhone 2.4.1\r\nContent-Length: 0\r\n\r\n"
            )),
        }
    }
}

impl Script {
    fn new(text: &str) -> Self {
        let places = |place| text.match_indices(place).map(|(at, _)| at).collect();
        Self {
            text: text.as_bytes().to_vec(),
            callee_at: places(CALLEE),
            call_at: places(CALL),
        }
    }

    fn fill(&mut self, (callee, call): (u32, u32)) -> &mut Self {
        for (places, number) in [(&self.callee_at, callee), (&self.call_at, call)] {
            let digits = format!("{number:08}");
            for at in places {
                self.text[*at..*at + digits.len()].copy_from_slice(digits.as_bytes());
            }
        }
        self
    }
}

/// What the caller knows of a call that was answered.
pub struct Dialog {
    id: String,
    callee: String,
    route: String,
}

impl Dialog {
    fn request(&self, method: &str, cseq: u32) -> String {
        let Self { id, callee, route } = self;
        format!(
            "{method} sip:pbx@{PBX} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {CALLER};rport;branch=z9hG4bK{id}{method}\r\n{route}\
             Max-Forwards: 70\r\nFrom: \"Alice Caller\" <sip:3000000000@elsewhere.net>;tag={id}f\r\n\
             To: <sip:{callee}@example.com>;tag=uas{id}\r\nCall-ID: {id}@uac.test.invalid\r\n\
             CSeq: {cseq} {method}\r\nUser-Agent: LeanPhone 2.4.1\r\nContent-Length: 0\r\n\r\n"
        )
    }
}

fn document(kind: &str, number: u32) -> String {
    let rules = match kind {
        "redirect" => {
            r#","status":"away","settings":{"away":{"immediate":{"forward":"sip:8@192.0.2.9"}}}"#
        }
        "reject" => r#","status":"dnd""#,
        _ => r#","settings":{"in_call":{"immediate":"connect"}}"#,
    };
    format!(r#"{{"id":"{number:08}","display_name":"User {number}"{rules}}}"#)
}

/// A response of the PBX to a request that it got.
fn reply(request: &[u8], status: &str, id: &str, sdp: &str) -> String {
    let mut text = format!("SIP/2.0 {status}\r\n");
    for name in [Name::Via, Name::RecordRoute, Name::From] {
        text.push_str(&line(request, name));
    }
    let to = line(request, Name::To);
    text.push_str(to.trim_end());
    if !to.contains(";tag=") {
        text.push_str(&format!(";tag=uas{id}"));
    }
    text.push_str("\r\n");
    for name in [Name::CallId, Name::CSeq] {
        text.push_str(&line(request, name));
    }
    text.push_str(&format!(
        "Contact: <sip:pbx@{PBX}>\r\n\
         Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, INFO, UPDATE, PRACK\r\n\
         Server: LeanPBX 1.0\r\nContent-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    ));
    text
}

/// All lines of a name.
fn line(message: &[u8], name: Name) -> String {
    let mut index = Index::new();
    let message = index.parse(message).unwrap();
    let lines = message.headers(name);
    lines
        .map(|header| String::from_utf8_lossy(&message.bytes()[header.line]).into_owned())
        .collect()
}
