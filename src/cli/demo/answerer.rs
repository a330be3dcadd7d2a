//! Systems that are called: the PBX, the public network, voicemail. RFC 3261 user agent servers
//! without a socket of their own.

use std::collections::HashMap;
use std::net::SocketAddr;

use rsip::Method;

use super::sip::{Message, Reply, Request, Start, address_of, user_of};
use super::timing::{Due, Out, Repeated};

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// It rings and is answered.
    Answers { after_ms: u64 },
    /// It is answered without ringing.
    PicksUp,
    /// It rings, is answered, and the callee hangs up.
    HangsUp { after_ms: u64 },
    /// It rings and nobody comes.
    Rings,
    /// It rings and the callee declines.
    Declines { after_ms: u64 },
    /// The phone is busy.
    IsBusy,
    /// No phone is registered.
    IsUnplugged,
    /// There is no such number.
    IsUnknown,
}

/// Who answers under a user part, and how.
pub(super) type Book = Box<dyn Fn(&str) -> (Manner, String) + Send>;

/// One such system.
pub(super) struct Answerer {
    local: SocketAddr,
    book: Book,
    /// By the branch of the INVITE.
    calls: HashMap<String, Call>,
    /// INVITEs that were answered 300–699.
    refused: usize,
}

/// One INVITE and what it led to.
struct Call {
    invite: Message,
    from: SocketAddr,
    tag: String,
    name: String,
    manner: Manner,
    state: State,
}

enum State {
    /// It rings, until something happens by itself.
    Ringing {
        until: u64,
    },
    /// The final response waits for its ACK.
    Answered {
        status: u16,
        sent: Repeated,
    },
    /// The call was acknowledged; the callee may hang up by itself.
    Open {
        until: u64,
    },
    /// The callee's BYE waits for its answer.
    Leaving {
        sent: Repeated,
    },
    Over,
}

/// Nothing happens by itself.
const NEVER: u64 = u64::MAX;

impl Answerer {
    /// A system at that address.
    pub(super) fn new(local: SocketAddr, book: Book) -> Self {
        Self {
            local,
            book,
            calls: HashMap::new(),
            refused: 0,
        }
    }

    /// How many INVITEs were answered with a failure.
    pub(super) fn refused(&self) -> usize {
        self.refused
    }

    /// How many calls are open.
    pub(super) fn open(&self) -> usize {
        let is_open = |call: &&Call| matches!(call.state, State::Open { .. });
        self.calls.values().filter(is_open).count()
    }

    /// A datagram came in.
    pub(super) fn receive(&mut self, now: u64, from: SocketAddr, bytes: &[u8], out: &mut Out) {
        let Some(message) = Message::read(bytes) else {
            return;
        };
        match message.start.clone() {
            Start::Request { method, uri } => match method.as_str() {
                "INVITE" => self.on_invite(now, from, &uri, message, out),
                "ACK" => self.on_ack(now, &message),
                "CANCEL" => self.on_cancel(now, from, &message, out),
                "BYE" => self.on_bye(from, &message, out),
                _ => out.push((from, message.respond(&refusal(405, "Method Not Allowed")))),
            },
            Start::Response { status, .. } => self.on_response(status, &message),
        }
    }

    fn on_invite(&mut self, now: u64, from: SocketAddr, uri: &str, invite: Message, out: &mut Out) {
        let Some(branch) = invite.branch() else {
            return;
        };
        if let Some(call) = self.calls.get(&branch) {
            return call.repeat(self.local, out);
        }
        if invite.to_tag().is_some() {
            out.push((from, invite.respond(&refusal(488, "Not Acceptable Here"))));
            return;
        }
        let (manner, name) = (self.book)(user_of(uri));
        let mut call = Call {
            from,
            tag: format!("t{}-{}", self.local.port(), self.calls.len()),
            name,
            manner,
            state: State::Over,
            invite,
        };
        call.begin(now, self.local, out);
        self.refused += usize::from(call.has_failed());
        self.calls.insert(branch, call);
    }

    fn on_ack(&mut self, now: u64, ack: &Message) {
        if let Some(call) = self.call_of(ack) {
            call.on_ack(now);
        }
    }

    fn on_cancel(&mut self, now: u64, from: SocketAddr, cancel: &Message, out: &mut Out) {
        let local = self.local;
        let branch = cancel.branch().unwrap_or_default();
        let Some(call) = self.calls.get_mut(&branch) else {
            out.push((
                from,
                cancel.respond(&refusal(481, "Call/Transaction Does Not Exist")),
            ));
            return;
        };
        out.push((from, cancel.respond(&call.reply(200, "OK", local))));
        if matches!(call.state, State::Ringing { .. }) {
            call.finish((487, "Request Terminated"), now, local, out);
            self.refused += 1;
        }
    }

    fn on_bye(&mut self, from: SocketAddr, bye: &Message, out: &mut Out) {
        let local = self.local;
        let answer = match self.call_of(bye) {
            Some(call) => {
                call.state = State::Over;
                bye.respond(&call.reply(200, "OK", local))
            }
            None => bye.respond(&refusal(481, "Call/Transaction Does Not Exist")),
        };
        out.push((from, answer));
    }

    /// The answer to a BYE of ours: its From has our tag.
    fn on_response(&mut self, status: u16, response: &Message) {
        let is_meant = |call: &&mut Call| {
            call.invite.call_id() == response.call_id()
                && response.from().ends_with(&format!(";tag={}", call.tag))
        };
        if status >= 200
            && response.cseq_method() == Some(Method::Bye)
            && let Some(call) = self.calls.values_mut().find(is_meant)
        {
            call.state = State::Over;
        }
    }

    /// The call that a request within it means.
    fn call_of(&mut self, request: &Message) -> Option<&mut Call> {
        let tag = request.to_tag()?;
        self.calls
            .values_mut()
            .find(|call| call.invite.call_id() == request.call_id() && call.tag == tag)
    }

    /// Time has passed.
    pub(super) fn on_time(&mut self, now: u64, out: &mut Out) {
        for call in self.calls.values_mut() {
            let had_failed = call.has_failed();
            call.on_time(now, self.local, out);
            self.refused += usize::from(call.has_failed() && !had_failed);
        }
    }

    /// When [`Answerer::on_time`] has something to do.
    pub(super) fn deadline(&self) -> Option<u64> {
        let deadlines = self.calls.values().map(|call| match &call.state {
            State::Ringing { until } | State::Open { until } => *until,
            State::Answered { sent, .. } | State::Leaving { sent } => sent.deadline(),
            State::Over => NEVER,
        });
        deadlines.min().filter(|at| *at != NEVER)
    }
}

impl Call {
    fn begin(&mut self, now: u64, local: SocketAddr, out: &mut Out) {
        let rings_until = match self.manner {
            Manner::Answers { after_ms }
            | Manner::HangsUp { after_ms }
            | Manner::Declines { after_ms } => now + after_ms,
            Manner::Rings => NEVER,
            Manner::PicksUp => return self.finish((200, "OK"), now, local, out),
            Manner::IsBusy => return self.finish((486, "Busy Here"), now, local, out),
            Manner::IsUnplugged => {
                return self.finish((480, "Temporarily Unavailable"), now, local, out);
            }
            Manner::IsUnknown => return self.finish((404, "Not Found"), now, local, out),
        };
        self.state = State::Ringing { until: rings_until };
        self.repeat(local, out);
    }

    /// Sends the final response, and again until its ACK comes.
    fn finish(
        &mut self,
        (status, phrase): (u16, &str),
        now: u64,
        local: SocketAddr,
        out: &mut Out,
    ) {
        let bytes = self.invite.respond(&self.reply(status, phrase, local));
        let sent = Repeated::send(self.from, bytes, true, now, out);
        self.state = State::Answered { status, sent };
    }

    fn has_failed(&self) -> bool {
        matches!(self.state, State::Answered { status, .. } if status >= 300)
    }

    /// The last response once more, for a repeated INVITE.
    fn repeat(&self, local: SocketAddr, out: &mut Out) {
        match &self.state {
            State::Ringing { .. } => {
                let ringing = self.reply(180, "Ringing", local);
                out.push((self.from, self.invite.respond(&ringing)));
            }
            State::Answered { sent, .. } => sent.repeat(out),
            State::Open { .. } | State::Leaving { .. } | State::Over => {}
        }
    }

    fn reply<'a>(&'a self, status: u16, phrase: &'a str, local: SocketAddr) -> Reply<'a> {
        let uri = match &self.invite.start {
            Start::Request { uri, .. } => user_of(uri),
            Start::Response { .. } => "",
        };
        let is_open = (180..300).contains(&status);
        Reply {
            status,
            phrase,
            tag: &self.tag,
            contact: is_open.then(|| format!("\"{}\" <sip:{uri}@{local}>", self.name)),
            has_body: status == 200,
        }
    }

    fn on_ack(&mut self, now: u64) {
        let State::Answered { status, .. } = self.state else {
            return;
        };
        self.state = match self.manner {
            _ if status >= 300 => State::Over,
            Manner::HangsUp { after_ms } => State::Open {
                until: now + after_ms,
            },
            _ => State::Open { until: NEVER },
        };
    }

    fn on_time(&mut self, now: u64, local: SocketAddr, out: &mut Out) {
        match &mut self.state {
            State::Ringing { until } if *until <= now => {
                let declines = matches!(self.manner, Manner::Declines { .. });
                let answer = if declines {
                    (603, "Decline")
                } else {
                    (200, "OK")
                };
                self.finish(answer, now, local, out);
            }
            State::Open { until } if *until <= now => self.leave(now, local, out),
            State::Answered { sent, .. } | State::Leaving { sent } => {
                let due = sent.on_time(now, out);
                if due == Due::GaveUp {
                    self.state = State::Over;
                }
            }
            _ => {}
        }
    }

    /// The callee hangs up: a BYE the way that the Record-Route shows (RFC 3261 §12.1.1).
    fn leave(&mut self, now: u64, local: SocketAddr, out: &mut Out) {
        let routes = self.invite.record_routes();
        let contact = self.invite.contact();
        let target = contact.map_or_else(String::new, |contact| contact.uri);
        let first = routes.first().unwrap_or(&target);
        let next = address_of(first).unwrap_or(self.from);
        let bye = Request {
            method: Method::Bye,
            uri: target,
            via: (local, format!("z9hG4bKbye{}", self.tag)),
            from: format!("{};tag={}", self.invite.to(), self.tag),
            to: self.invite.from().to_owned(),
            call_id: self.invite.call_id().to_owned(),
            cseq: 1,
            routes,
            contact: None,
            others: Vec::new(),
        };
        let sent = Repeated::send(next, bye.write(), true, now, out);
        self.state = State::Leaving { sent };
    }
}

fn refusal(status: u16, phrase: &str) -> Reply<'_> {
    Reply {
        status,
        phrase,
        tag: "refused",
        contact: None,
        has_body: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        pbx: Answerer,
        out: Out,
    }

    fn proxy() -> SocketAddr {
        "127.0.0.1:5060".parse().unwrap()
    }

    fn request(method: Method, branch: &str, to: &str) -> Vec<u8> {
        Request {
            method,
            uri: "sip:101@example.com".to_owned(),
            via: (proxy(), branch.to_owned()),
            from: "<sip:150@example.com>;tag=f".to_owned(),
            to: to.to_owned(),
            call_id: "one".to_owned(),
            cseq: 1,
            routes: Vec::new(),
            contact: Some("<sip:150@127.0.0.1:5070>".to_owned()),
            others: Vec::new(),
        }
        .write()
    }

    const TO: &str = "<sip:101@example.com>";
    const TAGGED: &str = "<sip:101@example.com>;tag=t5080-0";

    impl World {
        fn called(manner: Manner) -> Self {
            let book: Book = Box::new(move |user| (manner, format!("Phone {user}")));
            let mut world = Self {
                pbx: Answerer::new("127.0.0.1:5080".parse().unwrap(), book),
                out: Out::new(),
            };
            world.sends(0, Method::Invite, "b1", TO);
            world
        }

        fn sends(&mut self, now: u64, method: Method, branch: &str, to: &str) {
            let bytes = request(method, branch, to);
            self.pbx.receive(now, proxy(), &bytes, &mut self.out);
        }

        fn heard(&mut self) -> Vec<u16> {
            let out = std::mem::take(&mut self.out);
            let status = |bytes: &[u8]| Message::read(bytes).unwrap().status().unwrap_or(0);
            out.iter().map(|(_, bytes)| status(bytes)).collect()
        }
    }

    #[test]
    fn it_rings_then_answers_and_repeats_the_200_until_the_ack() {
        let mut world = World::called(Manner::Answers { after_ms: 100 });
        assert_eq!(world.heard(), [180]);
        world.sends(10, Method::Invite, "b1", TO);
        assert_eq!(world.heard(), [180], "a repeated INVITE rings nothing new");
        world.pbx.on_time(100, &mut world.out);
        world.pbx.on_time(600, &mut world.out);
        assert_eq!(world.heard(), [200, 200]);
        world.sends(610, Method::Ack, "b2", TAGGED);
        assert_eq!((world.pbx.open(), world.pbx.deadline()), (1, None));
        world.sends(700, Method::Bye, "b3", TAGGED);
        assert_eq!(world.heard(), [200]);
        assert_eq!((world.pbx.open(), world.pbx.refused()), (0, 0));
    }

    #[test]
    fn a_cancelled_call_ends_with_487_once() {
        let mut world = World::called(Manner::Rings);
        assert_eq!(world.pbx.deadline(), None);
        world.out.clear();
        world.sends(10, Method::Cancel, "b1", TO);
        world.sends(20, Method::Cancel, "b1", TO);
        assert_eq!(world.heard(), [200, 487, 200]);
        world.sends(30, Method::Ack, "b1", TAGGED);
        assert_eq!((world.pbx.refused(), world.pbx.deadline()), (1, None));
    }

    #[test]
    fn refusals_are_repeated_until_their_ack() {
        for (manner, status) in [
            (Manner::IsBusy, 486),
            (Manner::IsUnplugged, 480),
            (Manner::IsUnknown, 404),
        ] {
            let mut world = World::called(manner);
            world.pbx.on_time(500, &mut world.out);
            assert_eq!(world.heard(), [status, status]);
            world.sends(510, Method::Ack, "b1", TAGGED);
            assert_eq!((world.pbx.refused(), world.pbx.deadline()), (1, None));
        }
        let mut world = World::called(Manner::Declines { after_ms: 50 });
        world.pbx.on_time(50, &mut world.out);
        assert_eq!(world.heard(), [180, 603]);
    }

    #[test]
    fn a_callee_who_hangs_up_sends_a_bye_to_the_caller() {
        let mut world = World::called(Manner::HangsUp { after_ms: 50 });
        world.pbx.on_time(50, &mut world.out);
        world.sends(60, Method::Ack, "b2", TAGGED);
        world.out.clear();
        world.pbx.on_time(110, &mut world.out);
        let (to, bytes) = world.out.remove(0);
        let bye = Message::read(&bytes).unwrap();
        assert_eq!(to.to_string(), "127.0.0.1:5070");
        assert_eq!(bye.to(), "<sip:150@example.com>;tag=f");
        let answer = bye.respond(&refusal(200, "OK"));
        world.pbx.receive(120, proxy(), &answer, &mut world.out);
        assert_eq!(world.pbx.deadline(), None);
    }

    #[test]
    fn what_is_unknown_is_refused() {
        let mut world = World::called(Manner::PicksUp);
        assert_eq!(world.heard(), [200]);
        world.sends(1, Method::Bye, "b9", "<sip:x@y>;tag=other");
        world.sends(2, Method::Cancel, "b9", TO);
        world.sends(3, Method::Options, "b10", TO);
        world.sends(4, Method::Invite, "b11", TAGGED);
        assert_eq!(world.heard(), [481, 481, 405, 488]);
    }
}
