//! A phone that calls: an RFC 3261 user agent client without a socket of its own.

use std::net::SocketAddr;

use rsip::Method;

use super::sip::{Contact, Message, Reply, Request, Start, address_of, user_of};
use super::timing::{Due, Out, Repeated};

/// What a phone is told once.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// Its own address.
    pub local: SocketAddr,
    /// The value of From, without tag.
    pub from: String,
    /// Headers of its INVITEs that `rsip` has no type for.
    pub others: Vec<(&'static str, String)>,
    /// Tells its calls from all others.
    pub call_id: String,
}

/// One phone with one call at a time.
#[derive(Debug)]
pub(super) struct Phone {
    line: Line,
    cseq: u32,
    invite: Option<Invite>,
    dialog: Option<Dialog>,
    /// A CANCEL or BYE that waits for its answer, and its CSeq method.
    waiting: Option<(Method, Repeated)>,
    /// What was heard of the call that was placed last, 100 left out, repetitions told once.
    heard: Vec<u16>,
    last: Option<Message>,
    has_ended: bool,
}

/// The INVITE that was sent last.
#[derive(Debug)]
struct Invite {
    uri: String,
    branch: String,
    cseq: u32,
    sent: Repeated,
    progress: Progress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Nothing was heard yet: the INVITE is sent again.
    Calling,
    /// A provisional response came.
    Proceeding,
    /// The final response came, or none in time.
    Final,
}

/// An answered call.
#[derive(Debug)]
struct Dialog {
    /// The To of the 200, tag included.
    to: String,
    target: String,
    routes: Vec<String>,
    next: SocketAddr,
    ack: Vec<u8>,
}

impl Phone {
    /// A phone on the hook.
    pub(super) fn new(line: Line) -> Self {
        Self {
            line,
            cseq: 0,
            invite: None,
            dialog: None,
            waiting: None,
            heard: Vec::new(),
            last: None,
            has_ended: false,
        }
    }

    /// Its Call-ID.
    pub(super) fn call_id(&self) -> &str {
        &self.line.call_id
    }

    /// Every status that was heard of the last call, the final one included.
    pub(super) fn heard(&self) -> &[u16] {
        &self.heard
    }

    /// The final response to the last call.
    pub(super) fn final_response(&self) -> Option<&Message> {
        self.last.as_ref()
    }

    /// Whether there will be no (further) answer to the last call.
    pub(super) fn is_settled(&self) -> bool {
        let is_final = |invite: &Invite| invite.progress == Progress::Final;
        self.invite.as_ref().is_none_or(is_final)
    }

    /// Whether the other side rings.
    pub(super) fn hears_ringing(&self) -> bool {
        self.heard.contains(&180)
    }

    /// Whether the call was answered and then ended, by either side.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Who answered.
    pub(super) fn answered_by(&self) -> Option<Contact> {
        let last = self.last.as_ref()?;
        last.contact().filter(|_| last.status() == Some(200))
    }

    /// Places a call. After a redirect the next one has the same Call-ID (RFC 3261 §8.1.3.4).
    pub(super) fn dial(&mut self, uri: &str, to: SocketAddr, now: u64, out: &mut Out) {
        self.cseq += 1;
        self.heard.clear();
        self.last = None;
        let branch = self.branch(Method::Invite);
        let from = &self.line.from;
        let user = user_of(from.split_once('<').map_or(from, |(_, uri)| uri));
        let mut request = self.request(Method::Invite, uri, &branch);
        request.contact = Some(format!("<sip:{user}@{}>", self.line.local));
        request.others = self.line.others.clone();
        let sent = Repeated::send(to, request.write(), false, now, out);
        self.invite = Some(Invite {
            uri: uri.to_owned(),
            branch,
            cseq: self.cseq,
            sent,
            progress: Progress::Calling,
        });
    }

    /// Gives the call up before it is answered (RFC 3261 §9.1). Only for a call that rings.
    pub(super) fn cancel(&mut self, now: u64, out: &mut Out) {
        let Some(invite) = self.invite.as_ref() else {
            return;
        };
        if invite.progress != Progress::Proceeding {
            return;
        }
        let mut request = self.request(Method::Cancel, &invite.uri, &invite.branch);
        request.cseq = invite.cseq;
        let sent = Repeated::send(invite.sent.to, request.write(), true, now, out);
        self.waiting = Some((Method::Cancel, sent));
    }

    /// Ends an answered call.
    pub(super) fn hang_up(&mut self, now: u64, out: &mut Out) {
        self.cseq += 1;
        let branch = self.branch(Method::Bye);
        let Some(dialog) = self.dialog.take() else {
            return;
        };
        let mut request = self.request(Method::Bye, &dialog.target, &branch);
        request.to = dialog.to;
        request.routes = dialog.routes;
        let sent = Repeated::send(dialog.next, request.write(), true, now, out);
        self.waiting = Some((Method::Bye, sent));
    }

    fn branch(&self, method: Method) -> String {
        format!("z9hG4bK{}{method}{}", self.line.call_id, self.cseq)
    }

    fn request(&self, method: Method, uri: &str, branch: &str) -> Request {
        Request {
            method,
            uri: uri.to_owned(),
            via: (self.line.local, branch.to_owned()),
            from: format!("{};tag={}", self.line.from, self.tag()),
            to: format!("<{uri}>"),
            call_id: self.line.call_id.clone(),
            cseq: self.cseq,
            routes: Vec::new(),
            contact: None,
            others: Vec::new(),
        }
    }

    fn tag(&self) -> String {
        format!("f{}", self.line.call_id)
    }

    /// A datagram came in from there.
    pub(super) fn receive(&mut self, from: SocketAddr, bytes: &[u8], out: &mut Out) {
        let Some(message) = Message::read(bytes) else {
            return;
        };
        match &message.start {
            Start::Request { method, .. } => self.on_request(method, &message, from, out),
            Start::Response { status, .. } => match message.cseq_method() {
                Some(Method::Invite) => self.on_answer(*status, message, out),
                Some(method) => self.on_end_of(method, *status),
                None => {}
            },
        }
    }

    /// The other side wants something in the dialog: it hangs up, or is refused.
    fn on_request(&mut self, method: &str, message: &Message, from: SocketAddr, out: &mut Out) {
        let is_ours = message.call_id() == self.line.call_id;
        let (status, phrase) = match method {
            "ACK" => return,
            "BYE" if is_ours && (self.dialog.is_some() || self.has_ended) => {
                self.dialog = None;
                self.has_ended = true;
                (200, "OK")
            }
            "BYE" => (481, "Call/Transaction Does Not Exist"),
            _ => (405, "Method Not Allowed"),
        };
        let reply = Reply {
            status,
            phrase,
            tag: &self.tag(),
            contact: None,
            has_body: false,
        };
        out.push((from, message.respond(&reply)));
    }

    /// A response to the INVITE.
    fn on_answer(&mut self, status: u16, message: Message, out: &mut Out) {
        let Some(invite) = &mut self.invite else {
            return;
        };
        if message.branch().as_deref() != Some(&invite.branch) {
            return;
        }
        let is_first_final = invite.progress != Progress::Final;
        match status {
            100..=199 if is_first_final => invite.progress = Progress::Proceeding,
            100..=199 => return,
            200..=299 => return self.on_success(message, is_first_final, out),
            _ => {
                invite.progress = Progress::Final;
                let to = invite.sent.to;
                out.push((to, self.ack_of_failure(&message)));
            }
        }
        if is_first_final {
            self.note(status);
        }
        if is_first_final && status >= 300 {
            self.last = Some(message);
        }
    }

    fn note(&mut self, status: u16) {
        if status > 100 && self.heard.last() != Some(&status) {
            self.heard.push(status);
        }
    }

    /// The ACK of a 300–699 belongs to the INVITE's transaction (RFC 3261 §17.1.1.3).
    fn ack_of_failure(&self, message: &Message) -> Vec<u8> {
        let Some(invite) = &self.invite else {
            return Vec::new();
        };
        let mut request = self.request(Method::Ack, &invite.uri, &invite.branch);
        request.cseq = invite.cseq;
        request.to = message.to().to_owned();
        request.write()
    }

    /// The first 200 opens the dialog; each one is acknowledged (RFC 3261 §13.2.2.4).
    fn on_success(&mut self, message: Message, is_first: bool, out: &mut Out) {
        if let Some(invite) = self.invite.as_mut().filter(|_| is_first) {
            invite.progress = Progress::Final;
            let (next, to) = (invite.sent.to, message.to().to_owned());
            let mut routes = message.record_routes();
            routes.reverse();
            let target = message
                .contact()
                .map_or_else(String::new, |contact| contact.uri);
            let first = routes.first().unwrap_or(&target);
            let next = address_of(first).unwrap_or(next);
            let mut request = self.request(Method::Ack, &target, &self.branch(Method::Ack));
            request.to = to.clone();
            request.routes = routes.clone();
            self.dialog = Some(Dialog {
                to,
                target,
                routes,
                next,
                ack: request.write(),
            });
            self.note(200);
            self.last = Some(message);
        }
        if let Some(dialog) = &self.dialog {
            out.push((dialog.next, dialog.ack.clone()));
        }
    }

    /// CANCEL or BYE was answered.
    fn on_end_of(&mut self, method: Method, status: u16) {
        let is_awaited = self
            .waiting
            .as_ref()
            .is_some_and(|(waits, _)| *waits == method);
        if is_awaited && status >= 200 {
            self.waiting = None;
            self.has_ended |= method == Method::Bye && status < 300;
        }
    }

    /// Time has passed.
    pub(super) fn on_time(&mut self, now: u64, out: &mut Out) {
        if let Some(invite) = &mut self.invite
            && invite.progress == Progress::Calling
            && invite.sent.on_time(now, out) == Due::GaveUp
        {
            invite.progress = Progress::Final;
        }
        if let Some((_, sent)) = &mut self.waiting
            && sent.on_time(now, out) == Due::GaveUp
        {
            self.waiting = None;
        }
    }

    /// When [`Phone::on_time`] has something to do.
    pub(super) fn deadline(&self) -> Option<u64> {
        let calling = |invite: &&Invite| invite.progress == Progress::Calling;
        let invite = self.invite.as_ref().filter(calling);
        let invite = invite.map(|invite| invite.sent.deadline());
        let waiting = self.waiting.as_ref().map(|(_, sent)| sent.deadline());
        invite.into_iter().chain(waiting).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URI: &str = "sip:101@example.com";

    struct Desk {
        phone: Phone,
        out: Out,
    }

    fn proxy() -> SocketAddr {
        "127.0.0.1:5060".parse().unwrap()
    }

    impl Desk {
        fn dialled() -> Self {
            let line = Line {
                local: "127.0.0.1:5070".parse().unwrap(),
                from: "\"Paula\" <sip:150@example.com>".to_owned(),
                others: vec![("Privacy", "id".to_owned())],
                call_id: "c1".to_owned(),
            };
            let mut desk = Self {
                phone: Phone::new(line),
                out: Out::new(),
            };
            desk.phone.dial(URI, proxy(), 0, &mut desk.out);
            desk
        }

        fn sent(&mut self) -> Vec<(SocketAddr, Message)> {
            let out = std::mem::take(&mut self.out);
            let read = |(to, bytes): (SocketAddr, Vec<u8>)| (to, Message::read(&bytes).unwrap());
            out.into_iter().map(read).collect()
        }

        fn methods(&mut self) -> Vec<String> {
            let first = |message: Message| match message.start {
                Start::Request { method, .. } => method,
                Start::Response { status, .. } => status.to_string(),
            };
            self.sent()
                .into_iter()
                .map(|(_, message)| first(message))
                .collect()
        }

        /// What the proxy answers to a request of the phone.
        fn hears(&mut self, request: &Message, status: u16) {
            let reply = Reply {
                status,
                phrase: "Something",
                tag: "t",
                contact: Some("\"Anna\" <sip:101@127.0.0.1:5080>".to_owned()),
                has_body: false,
            };
            let bytes = request.respond(&reply);
            let routed = String::from_utf8(bytes).unwrap();
            let routed = routed.replacen(
                "\r\nFrom:",
                "\r\nRecord-Route: <sip:127.0.0.1:5061;lr>\r\nFrom:",
                1,
            );
            self.phone
                .receive(proxy(), routed.as_bytes(), &mut self.out);
        }

        fn invite(&mut self) -> Message {
            self.sent().remove(0).1
        }
    }

    #[test]
    fn an_invite_is_sent_again_until_a_provisional_comes() {
        let mut desk = Desk::dialled();
        let invite = desk.invite();
        assert_eq!(invite.other("Privacy"), Some("id"));
        desk.phone.on_time(499, &mut desk.out);
        assert!(desk.out.is_empty());
        desk.phone.on_time(500, &mut desk.out);
        assert_eq!(desk.methods(), ["INVITE"]);
        desk.hears(&invite, 100);
        assert_eq!(desk.phone.deadline(), None);
        assert!(desk.phone.heard().is_empty(), "a 100 is not told");
    }

    #[test]
    fn an_invite_nobody_answers_ends_with_timer_b() {
        let mut desk = Desk::dialled();
        while let Some(at) = desk.phone.deadline() {
            desk.phone.on_time(at, &mut desk.out);
        }
        assert_eq!(desk.methods().len(), 7);
        assert!(desk.phone.is_settled() && desk.phone.final_response().is_none());
    }

    #[test]
    fn each_failure_is_acknowledged_and_heard_once() {
        let mut desk = Desk::dialled();
        let invite = desk.invite();
        desk.hears(&invite, 486);
        desk.hears(&invite, 486);
        let acks = desk.sent();
        assert_eq!(acks.len(), 2);
        let (to, ack) = &acks[0];
        assert_eq!((*to, ack.branch()), (proxy(), invite.branch()));
        assert_eq!(ack.to_tag().unwrap(), "t");
        assert_eq!(desk.phone.heard(), [486]);
        assert!(desk.phone.is_settled());
    }

    #[test]
    fn each_200_is_acknowledged_along_the_route() {
        let mut desk = Desk::dialled();
        let invite = desk.invite();
        desk.hears(&invite, 180);
        desk.hears(&invite, 180);
        desk.hears(&invite, 200);
        desk.hears(&invite, 200);
        let acks = desk.sent();
        assert_eq!(acks.len(), 2);
        let (to, ack) = &acks[1];
        assert_eq!(
            to.to_string(),
            "127.0.0.1:5061",
            "to the first of the route"
        );
        assert_ne!(ack.branch(), invite.branch());
        let uri = "sip:101@127.0.0.1:5080".to_owned();
        let method = "ACK".to_owned();
        assert_eq!(ack.start, Start::Request { method, uri });
        assert_eq!(desk.phone.heard(), [180, 200]);
        assert_eq!(desk.phone.answered_by().unwrap().name, "Anna");
    }

    #[test]
    fn a_bye_is_sent_again_until_it_is_answered() {
        let mut desk = Desk::dialled();
        let invite = desk.invite();
        desk.hears(&invite, 200);
        desk.out.clear();
        desk.phone.hang_up(1_000, &mut desk.out);
        let bye = desk.invite();
        desk.phone.on_time(1_500, &mut desk.out);
        assert_eq!(desk.methods(), ["BYE"]);
        assert!(!desk.phone.has_ended());
        desk.hears(&bye, 200);
        assert!(desk.phone.has_ended() && desk.phone.deadline().is_none());
    }

    #[test]
    fn a_bye_that_is_refused_ends_no_call_properly() {
        let mut desk = Desk::dialled();
        let invite = desk.invite();
        desk.hears(&invite, 200);
        desk.out.clear();
        desk.phone.hang_up(1_000, &mut desk.out);
        let bye = desk.invite();
        desk.hears(&bye, 481);
        assert!(!desk.phone.has_ended() && desk.phone.deadline().is_none());
    }

    #[test]
    fn the_other_side_may_hang_up() {
        let mut desk = Desk::dialled();
        let invite = desk.invite();
        desk.hears(&invite, 200);
        desk.out.clear();
        let bye = String::from_utf8(invite.respond(&Reply {
            status: 200,
            phrase: "OK",
            tag: "t",
            contact: None,
            has_body: false,
        }))
        .unwrap()
        .replacen("SIP/2.0 200 OK", "BYE sip:150@127.0.0.1:5070 SIP/2.0", 1);
        for _ in 0..2 {
            desk.phone.receive(proxy(), bye.as_bytes(), &mut desk.out);
        }
        assert_eq!(
            desk.methods(),
            ["200", "200"],
            "a repeated BYE is answered again"
        );
        assert!(desk.phone.has_ended());
    }

    #[test]
    fn a_cancel_has_the_invites_branch_and_waits_for_a_provisional() {
        let mut desk = Desk::dialled();
        let invite = desk.invite();
        desk.phone.cancel(10, &mut desk.out);
        assert!(desk.out.is_empty());
        desk.hears(&invite, 180);
        desk.phone.cancel(20, &mut desk.out);
        let cancel = desk.invite();
        assert_eq!(cancel.branch(), invite.branch());
        desk.hears(&cancel, 200);
        assert!(
            !desk.phone.is_settled(),
            "the INVITE's answer is still to come"
        );
        desk.hears(&invite, 487);
        assert_eq!(desk.phone.heard(), [180, 487]);
        assert!(desk.phone.is_settled());
    }

    #[test]
    fn a_redirected_call_keeps_its_call_id_and_counts_on() {
        let mut desk = Desk::dialled();
        let first = desk.invite();
        desk.hears(&first, 302);
        desk.out.clear();
        desk.phone
            .dial("sip:vm@127.0.0.1:5090", proxy(), 5, &mut desk.out);
        let second = desk.invite();
        assert_eq!(second.call_id(), first.call_id());
        assert_ne!(second.branch(), first.branch());
        desk.hears(&first, 302);
        assert!(
            desk.phone.heard().is_empty(),
            "what is late counts for nothing"
        );
    }
}
