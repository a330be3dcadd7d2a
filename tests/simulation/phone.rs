//! Phones by RFC 3261: their transactions with timers of their own, and the dialogs they are in.
//! What a phone does and when is its script's affair: `caller`, `callee`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::callee::Habit;
use crate::caller::Errand;
use crate::network::{Event, Network};
use crate::sip::{Sip, uri_of};

const T1: u64 = 500;
const T2: u64 = 4_000;
const T1_64: u64 = 64 * T1;

/// What is due at a phone.
#[derive(Debug, Clone, Copy)]
pub enum Timer {
    /// A client transaction sends its request again.
    Repeat(usize),
    /// It heard nothing for 64*T1.
    GiveUp(usize),
    /// A server transaction sends its 300–699 again.
    RepeatFinal(usize),
    /// A dialog sends its 2xx again.
    RepeatOk(usize, u32),
    /// A dialog's party does something of its own will.
    Act(usize, Act),
    /// A caller dials.
    Dial(usize),
}

/// What a party does of its own will.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Cancel,
    Bye,
    Vanish,
    /// A re-INVITE, or an UPDATE.
    Refresh,
    /// The session was not refreshed in time.
    SessionEnds,
    /// A response of that status to the INVITE.
    Respond(u16),
}

/// How far a party is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Early,
    Up,
    Over,
    /// Vanished: hears and says nothing.
    Gone,
}

/// One party of one dialog, or of what may become one.
#[derive(Clone)]
pub struct Leg {
    pub at: SocketAddr,
    pub call_id: String,
    pub local: String,
    pub remote: String,
    pub local_tag: String,
    pub remote_tag: String,
    pub target: String,
    pub routes: Vec<String>,
    pub cseq: u32,
    pub stage: Stage,
    /// The caller's client transaction, or the callee's server transaction.
    pub invite: usize,
    /// A 2xx that waits for its ACK, and its CSeq.
    pub ok: Option<(Rc<Sip>, u32)>,
    pub ok_interval: u64,
    /// The server transaction of that 2xx.
    pub ok_server: usize,
    /// The ACK of the last 2xx.
    pub ack: Option<Rc<Sip>>,
    pub session_s: u64,
    pub refreshes: bool,
    pub session_ends: u64,
    pub errand: Errand,
    pub habit: Habit,
}

/// A request on its way.
pub struct Client {
    pub leg: usize,
    pub request: Rc<Sip>,
    pub interval: u64,
    pub heard: bool,
    pub done: bool,
    pub ack: Option<Rc<Sip>>,
    pub cancelled: bool,
    /// The first final response.
    pub answer: Option<u16>,
}

/// A request that came in.
pub struct Server {
    pub leg: Option<usize>,
    pub request: Rc<Sip>,
    pub from: SocketAddr,
    pub at: SocketAddr,
    pub response: Option<Rc<Sip>>,
    pub is_final: bool,
    pub is_acked: bool,
    pub interval: u64,
    pub since: u64,
}

/// All phones of a run.
pub struct Phones {
    pub proxy: SocketAddr,
    pub legs: Vec<Leg>,
    pub clients: Vec<Client>,
    pub servers: Vec<Server>,
    by_branch: HashMap<String, usize>,
    by_dialog: HashMap<(String, String), usize>,
    next_body: u64,
}

impl Phones {
    pub fn new(proxy: SocketAddr) -> Self {
        Self {
            proxy,
            legs: Vec::new(),
            clients: Vec::new(),
            servers: Vec::new(),
            by_branch: HashMap::new(),
            by_dialog: HashMap::new(),
            next_body: 0,
        }
    }

    /// Adds a party and makes it findable by Call-ID and its tag.
    pub fn add_leg(&mut self, leg: Leg) -> usize {
        let number = self.legs.len();
        self.by_dialog
            .insert((leg.call_id.clone(), leg.local_tag.clone()), number);
        self.legs.push(leg);
        number
    }

    /// A body that no other message has, with lines in it that look like a message.
    pub fn body(&mut self) -> String {
        self.next_body += 1;
        let filler = "a=x\r\n".repeat(self.next_body as usize % 7);
        format!("v=0\r\no=- {}\r\n\r\nVia: none\r\n{filler}", self.next_body)
    }

    /// A datagram reaches a phone.
    pub fn receive(&mut self, net: &mut Network, from: SocketAddr, at: SocketAddr, m: &Rc<Sip>) {
        if m.status().is_some() {
            self.on_response(net, m);
        } else if m.is("ACK") {
            self.on_ack(m);
        } else {
            self.on_request(net, from, at, m);
        }
    }

    fn on_response(&mut self, net: &mut Network, m: &Rc<Sip>) {
        let number = m
            .branch(0)
            .strip_prefix("z9hG4bKsim")
            .and_then(|n| n.parse::<usize>().ok());
        let Some(number) = number.filter(|n| *n < self.clients.len()) else {
            return;
        };
        let leg = self.clients[number].leg;
        if self.legs[leg].stage == Stage::Gone {
            return;
        }
        let status = m.status().unwrap_or(0);
        if m.cseq().1 == "CANCEL" {
            self.on_cancel_response(number, status);
            return;
        }
        let client = &mut self.clients[number];
        let was_done = client.done;
        client.heard = true;
        client.done |= status >= 200;
        if status >= 200 {
            client.answer.get_or_insert(status);
        }
        let is_invite = client.request.is("INVITE");
        match status {
            100..=199 => self.on_provisional(net, number),
            200..=299 if is_invite => self.on_ok(net, number, m, was_done),
            _ if is_invite => self.on_refusal(net, number, m, was_done),
            _ if !was_done => self.on_dialog_answer(net, leg, m),
            _ => {}
        }
    }

    fn on_cancel_response(&mut self, number: usize, _status: u16) {
        let request = Rc::clone(&self.clients[number].request);
        let same =
            |c: &&mut Client| c.request.is("CANCEL") && c.request.branch(0) == request.branch(0);
        if let Some(cancel) = self.clients.iter_mut().skip(number).find(same) {
            cancel.done = true;
        }
    }

    fn on_ack(&mut self, m: &Rc<Sip>) {
        if let Some(server) = self.by_branch.get(&format!("{}INVITE", m.branch(0))) {
            self.servers[*server].is_acked = true;
        }
        if let Some(leg) = self.leg_of(m) {
            let leg = &mut self.legs[leg];
            if leg.ok.as_ref().is_some_and(|(_, cseq)| *cseq == m.cseq().0) {
                leg.ok = None;
            }
        }
    }

    fn leg_of(&self, m: &Sip) -> Option<usize> {
        let key = (m.call_id().to_owned(), m.to_tag().to_owned());
        self.by_dialog.get(&key).copied()
    }

    fn on_request(&mut self, net: &mut Network, from: SocketAddr, at: SocketAddr, m: &Rc<Sip>) {
        let key = format!("{}{}", m.branch(0), m.method());
        if let Some(number) = self.by_branch.get(&key).copied() {
            self.repeat_response(net, number);
            return;
        }
        let leg = self.leg_of(m);
        if leg.is_some_and(|leg| self.legs[leg].stage == Stage::Gone) {
            return;
        }
        let number = self.servers.len();
        self.servers.push(Server {
            leg,
            request: Rc::clone(m),
            from,
            at,
            response: None,
            is_final: false,
            is_acked: false,
            interval: T1,
            since: net.now,
        });
        match (m.method(), m.to_tag().is_empty()) {
            ("CANCEL", _) => {
                let invite = self
                    .by_branch
                    .get(&format!("{}INVITE", m.branch(0)))
                    .copied();
                if self.on_cancel(net, number, invite) {
                    self.by_branch.insert(key, number);
                }
                return;
            }
            ("INVITE", true) => self.on_call(net, number),
            _ => self.on_dialog_request(net, number),
        }
        self.by_branch.insert(key, number);
    }

    fn repeat_response(&mut self, net: &mut Network, number: usize) {
        let server = &self.servers[number];
        let is_gone = server
            .leg
            .is_some_and(|leg| self.legs[leg].stage == Stage::Gone);
        if let (Some(response), false) = (&server.response, is_gone) {
            net.send(server.at, server.from, Rc::clone(response));
        }
    }

    /// Answers a request; a 300–699 to an INVITE is sent again until its ACK comes.
    pub fn respond(&mut self, net: &mut Network, number: usize, status: u16, extra: &str) {
        let tag = self.servers[number]
            .leg
            .map(|leg| self.legs[leg].local_tag.clone());
        let response =
            self.write_response(number, status, tag.as_deref().unwrap_or("stray"), extra);
        let server = &mut self.servers[number];
        server.response = Some(Rc::clone(&response));
        server.is_final = status >= 200;
        server.since = net.now;
        net.send(server.at, server.from, response);
        if status >= 300 && server.request.is("INVITE") {
            net.timer(T1, Timer::RepeatFinal(number));
        }
    }

    /// A response as RFC 3261 §8.2.6 makes it, with Record-Route and a body where one belongs.
    pub fn write_response(
        &mut self,
        number: usize,
        status: u16,
        tag: &str,
        extra: &str,
    ) -> Rc<Sip> {
        let body = if matches!(status, 180..=299) {
            self.body()
        } else {
            String::new()
        };
        let server = &self.servers[number];
        let mut text = format!("SIP/2.0 {status} So it is\r\n");
        let copied = ["Via", "From", "To", "Call-ID", "CSeq", "Record-Route"];
        for name in copied {
            for value in server.request.headers(name) {
                let untagged = name == "To" && server.request.to_tag().is_empty() && status > 100;
                let tag = if untagged {
                    format!(";tag={tag}")
                } else {
                    String::new()
                };
                text += &format!("{name}: {value}{tag}\r\n");
            }
        }
        text += &format!("Contact: <sip:phone@{}>\r\n{extra}", server.at);
        Sip::of(&format!(
            "{text}Content-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    /// Sends a request in a transaction of its own.
    pub fn send_request(&mut self, net: &mut Network, leg: usize, request: Rc<Sip>) -> usize {
        let number = self.clients.len();
        net.send(self.legs[leg].at, self.proxy, Rc::clone(&request));
        self.clients.push(Client {
            leg,
            request,
            interval: T1,
            heard: false,
            done: false,
            ack: None,
            cancelled: false,
            answer: None,
        });
        net.timer(T1, Timer::Repeat(number));
        net.timer(T1_64, Timer::GiveUp(number));
        number
    }

    /// The branch of the next request.
    pub fn next_branch(&self) -> String {
        format!("z9hG4bKsim{}", self.clients.len())
    }

    /// A request within a dialog (RFC 3261 §12.2.1.1).
    pub fn dialog_request(&mut self, leg: usize, method: &str, cseq: u32, extra: &str) -> Rc<Sip> {
        let has_body = matches!(method, "INVITE" | "UPDATE" | "INFO" | "ACK");
        let body = if has_body { self.body() } else { String::new() };
        let party = &self.legs[leg];
        let routes: String = party
            .routes
            .iter()
            .map(|r| format!("Route: {r}\r\n"))
            .collect();
        let branch = if method == "ACK" {
            format!("z9hG4bKack{}x{leg}x{cseq}", self.clients.len())
        } else {
            self.next_branch()
        };
        Sip::of(&format!(
            "{method} {} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch={branch}\r\nMax-Forwards: 70\r\n\
             {routes}From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:phone@{}>\r\n{extra}Content-Length: {}\r\n\r\n{body}",
            party.target,
            party.at,
            party.local,
            party.remote,
            party.call_id,
            party.at,
            body.len()
        ))
    }

    /// Takes route set and target of a dialog from the message that made it (§12.1).
    pub fn learn_dialog(leg: &mut Leg, m: &Sip, is_caller: bool) {
        leg.routes = m.headers("Record-Route").map(str::to_owned).collect();
        if is_caller {
            leg.routes.reverse();
            leg.remote = m.header("To").unwrap_or_default().to_owned();
            leg.remote_tag = m.to_tag().to_owned();
        } else {
            leg.remote = m.header("From").unwrap_or_default().to_owned();
            leg.remote_tag = m.sender_tag().to_owned();
        }
        leg.target = uri_of(m.header("Contact").unwrap_or_default()).to_owned();
    }

    /// The party ends its dialog.
    pub fn hang_up(&mut self, net: &mut Network, leg: usize) {
        if self.legs[leg].stage != Stage::Up {
            return;
        }
        self.legs[leg].stage = Stage::Over;
        self.legs[leg].ok = None;
        self.legs[leg].cseq += 1;
        let bye = self.dialog_request(leg, "BYE", self.legs[leg].cseq, "");
        self.send_request(net, leg, bye);
    }

    /// Something is due.
    pub fn fire(&mut self, net: &mut Network, timer: Timer) {
        match timer {
            Timer::Repeat(number) => self.repeat(net, number),
            Timer::GiveUp(number) => self.give_up(net, number),
            Timer::RepeatFinal(number) => self.repeat_final(net, number),
            Timer::RepeatOk(leg, cseq) => self.repeat_ok(net, leg, cseq),
            Timer::Act(leg, act) => self.act(net, leg, act),
            Timer::Dial(_) => {}
        }
    }

    fn repeat(&mut self, net: &mut Network, number: usize) {
        let client = &mut self.clients[number];
        let is_invite = client.request.is("INVITE");
        if client.done || is_invite && client.heard || self.legs[client.leg].stage == Stage::Gone {
            return;
        }
        client.interval *= 2;
        if !is_invite {
            client.interval = client.interval.min(T2);
        }
        net.send(
            self.legs[client.leg].at,
            self.proxy,
            Rc::clone(&client.request),
        );
        net.timer(client.interval, Timer::Repeat(number));
    }

    fn give_up(&mut self, net: &mut Network, number: usize) {
        let client = &mut self.clients[number];
        let is_invite = client.request.is("INVITE");
        if client.done || is_invite && client.heard {
            return;
        }
        client.done = true;
        let leg = client.leg;
        let in_dialog = !client.request.to_tag().is_empty();
        if in_dialog && self.legs[leg].stage == Stage::Up {
            self.hang_up(net, leg);
        } else if is_invite && self.legs[leg].stage == Stage::Early {
            self.legs[leg].stage = Stage::Over;
        }
    }

    fn repeat_final(&mut self, net: &mut Network, number: usize) {
        let server = &mut self.servers[number];
        let is_gone = server
            .leg
            .is_some_and(|leg| self.legs[leg].stage == Stage::Gone);
        if server.is_acked || is_gone || net.now >= server.since + T1_64 {
            return;
        }
        server.interval = (server.interval * 2).min(T2);
        if let Some(response) = &server.response {
            net.send(server.at, server.from, Rc::clone(response));
        }
        net.timer(server.interval, Timer::RepeatFinal(number));
    }

    /// Sends a 2xx to an INVITE, again and again until its ACK comes (§13.3.1.4).
    pub fn send_ok(&mut self, net: &mut Network, number: usize, leg: usize, extra: &str) {
        let tag = self.legs[leg].local_tag.clone();
        let ok = self.write_response(number, 200, &tag, extra);
        let server = &mut self.servers[number];
        server.response = Some(Rc::clone(&ok));
        server.is_final = true;
        server.since = net.now;
        let cseq = server.request.cseq().0;
        net.send(server.at, server.from, Rc::clone(&ok));
        self.legs[leg].ok = Some((ok, cseq));
        self.legs[leg].ok_interval = T1;
        net.timer(T1, Timer::RepeatOk(leg, cseq));
        self.legs[leg].ok_server = number;
    }

    fn repeat_ok(&mut self, net: &mut Network, number: usize, cseq: u32) {
        let leg = &mut self.legs[number];
        let Some((ok, waits_for)) = &leg.ok else {
            return;
        };
        if *waits_for != cseq || leg.stage == Stage::Gone {
            return;
        }
        let server = &self.servers[leg.ok_server];
        if net.now >= server.since + T1_64 {
            leg.ok = None;
            self.hang_up(net, number);
            return;
        }
        net.send(server.at, server.from, Rc::clone(ok));
        leg.ok_interval = (leg.ok_interval * 2).min(T2);
        net.timer(leg.ok_interval, Timer::RepeatOk(number, cseq));
    }

    fn act(&mut self, net: &mut Network, leg: usize, act: Act) {
        let stage = self.legs[leg].stage;
        match act {
            Act::Cancel => self.want_cancel(net, leg),
            Act::Bye => self.hang_up(net, leg),
            Act::Vanish => self.legs[leg].stage = Stage::Gone,
            Act::Refresh if stage == Stage::Up => self.refresh(net, leg),
            Act::SessionEnds => {
                if net.now >= self.legs[leg].session_ends {
                    self.hang_up(net, leg);
                }
            }
            Act::Respond(status) => self.respond_to_call(net, leg, status),
            Act::Refresh => {}
        }
    }

    pub fn later(&mut self, net: &mut Network, ms: u64, leg: usize, act: Act) {
        net.after(ms, Event::Phone(Timer::Act(leg, act)));
    }
}
