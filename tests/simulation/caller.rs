//! The calling side, and what either side does within a dialog.

use std::net::SocketAddr;
use std::rc::Rc;

use crate::callee::Habit;
use crate::network::Network;
use crate::phone::{Act, Leg, Phones, Stage};
use crate::sip::{Sip, param, uri_of};

/// From then on nobody goes on talking.
const EVENING_MS: u64 = 1_600_000;

/// What a caller is about to do.
#[derive(Debug, Clone, Default)]
pub struct Errand {
    /// Gives up after so many milliseconds without an answer.
    pub cancels_after: Option<u64>,
    pub talks_ms: u64,
    /// How the talk ends on this side, if it does.
    pub ends: Option<Ending>,
    pub refreshes_at: Vec<u64>,
    pub uses_update: bool,
    /// Dials the target of a 302 so many times more; with a new Call-ID or the same.
    pub follows: u8,
    pub follows_anew: bool,
    pub headers: String,
    pub wants_cancel: bool,
    pub is_extra: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Bye,
    Vanish,
}

/// A call to be placed.
#[derive(Debug, Clone)]
pub struct Plan {
    pub at: SocketAddr,
    pub call_id: String,
    pub from: String,
    pub to: String,
    /// The sent-by of the Via: it may be a lie.
    pub via: String,
    pub errand: Errand,
}

impl Phones {
    /// Dials.
    pub fn dial(&mut self, net: &mut Network, plan: Plan) {
        let tag = format!("a{}", self.legs.len());
        let leg = self.add_leg(Leg {
            at: plan.at,
            call_id: plan.call_id,
            local: format!("<{}>;tag={tag}", plan.from),
            remote: format!("<{}>", plan.to),
            local_tag: tag,
            remote_tag: String::new(),
            target: plan.to,
            routes: Vec::new(),
            cseq: 1,
            stage: Stage::Early,
            invite: 0,
            ok: None,
            ok_interval: 0,
            ok_server: 0,
            ack: None,
            session_s: 0,
            refreshes: false,
            session_ends: u64::MAX,
            habit: Habit {
                keeps_time: plan.errand.headers.contains("timer"),
                ..Habit::default()
            },
            errand: plan.errand,
        });
        self.send_invite(net, leg, &plan.via, "");
        if let Some(ms) = self.legs[leg].errand.cancels_after {
            self.later(net, ms, leg, Act::Cancel);
        }
    }

    fn send_invite(&mut self, net: &mut Network, leg: usize, via: &str, extra: &str) {
        let body = self.body();
        let (party, branch) = (&self.legs[leg], self.next_branch());
        let text = format!(
            "INVITE {} SIP/2.0\r\nVia: SIP/2.0/UDP {via};branch={branch}\r\nMax-Forwards: 70\r\n\
             From: {}\r\nTo: <{}>\r\nCall-ID: {}\r\nCSeq: {} INVITE\r\n\
             Contact: <sip:phone@{}>\r\n{}{extra}Content-Type: application/sdp\r\n\
             Content-Length: {}\r\n\r\n{body}",
            party.target,
            party.local,
            uri_of(&party.remote),
            party.call_id,
            party.cseq,
            party.at,
            party.errand.headers,
            body.len()
        );
        self.legs[leg].invite = self.send_request(net, leg, Sip::of(&text));
    }

    pub fn want_cancel(&mut self, net: &mut Network, leg: usize) {
        self.legs[leg].errand.wants_cancel = true;
        let client = &self.clients[self.legs[leg].invite];
        if client.heard && !client.done && !client.cancelled {
            self.send_cancel(net, self.legs[leg].invite);
        }
    }

    pub fn on_provisional(&mut self, net: &mut Network, number: usize) {
        let client = &self.clients[number];
        let wants = self.legs[client.leg].errand.wants_cancel;
        if wants && client.request.to_tag().is_empty() && !client.done && !client.cancelled {
            self.send_cancel(net, number);
        }
    }

    fn send_cancel(&mut self, net: &mut Network, number: usize) {
        let leg = self.clients[number].leg;
        self.clients[number].cancelled = true;
        let cancel = hop_request(&self.clients[number].request, "CANCEL", None);
        self.send_request(net, leg, cancel);
    }

    /// A 2xx to an INVITE: acknowledged each time (§13.2.2.4).
    pub fn on_ok(&mut self, net: &mut Network, number: usize, m: &Rc<Sip>, was_done: bool) {
        let leg = self.clients[number].leg;
        let is_reinvite = !self.clients[number].request.to_tag().is_empty();
        let cseq = m.cseq().0;
        if is_reinvite {
            if !was_done {
                let ack = self.dialog_request(leg, "ACK", cseq, "");
                self.legs[leg].ack = Some(ack);
                self.learn_session(net, leg, m, true);
            }
            self.send_ack(net, leg, cseq);
            return;
        }
        let tag = m.to_tag().to_owned();
        let leg = if self.legs[leg].remote_tag.is_empty() {
            self.answered(net, leg, m);
            leg
        } else {
            match self.fork_of(leg, &tag) {
                Some(fork) => fork,
                None => self.extra_answer(net, leg, m),
            }
        };
        self.send_ack(net, leg, cseq);
    }

    fn send_ack(&mut self, net: &mut Network, leg: usize, cseq: u32) {
        let ack = self.legs[leg]
            .ack
            .clone()
            .filter(|ack| ack.cseq().0 == cseq);
        if let Some(ack) = ack {
            net.send(self.legs[leg].at, self.proxy, ack);
        }
    }

    fn fork_of(&self, leg: usize, tag: &str) -> Option<usize> {
        let first = &self.legs[leg];
        if first.remote_tag == tag {
            return Some(leg);
        }
        (leg + 1..self.legs.len()).find(|other| {
            let other = &self.legs[*other];
            other.local_tag == first.local_tag && other.remote_tag == tag && other.at == first.at
        })
    }

    fn answered(&mut self, net: &mut Network, leg: usize, m: &Rc<Sip>) {
        let was_given_up = self.legs[leg].stage == Stage::Over;
        Self::learn_dialog(&mut self.legs[leg], m, true);
        self.legs[leg].stage = Stage::Up;
        let ack = self.dialog_request(leg, "ACK", m.cseq().0, "");
        self.legs[leg].ack = Some(ack);
        self.learn_session(net, leg, m, true);
        let errand = self.legs[leg].errand.clone();
        if was_given_up || errand.wants_cancel || errand.is_extra {
            self.later(net, 1, leg, Act::Bye);
            return;
        }
        self.plan_talk(net, leg);
    }

    /// A second dialog of a fork: it is ended at once, as the RFC advises.
    fn extra_answer(&mut self, net: &mut Network, leg: usize, m: &Rc<Sip>) -> usize {
        let mut fork = self.legs[leg].clone();
        fork.errand.is_extra = true;
        fork.stage = Stage::Early;
        let number = self.legs.len();
        self.legs.push(fork);
        self.answered(net, number, m);
        number
    }

    /// Everything a party does while it talks.
    pub fn plan_talk(&mut self, net: &mut Network, leg: usize) {
        let errand = self.legs[leg].errand.clone();
        for at in errand.refreshes_at {
            self.later(net, at, leg, Act::Refresh);
        }
        match errand.ends {
            Some(Ending::Bye) => self.later(net, errand.talks_ms, leg, Act::Bye),
            Some(Ending::Vanish) => self.later(net, errand.talks_ms, leg, Act::Vanish),
            None => {}
        }
    }

    /// What the two sides agreed on for session timers (RFC 4028).
    pub fn learn_session(&mut self, net: &mut Network, leg: usize, m: &Sip, is_client: bool) {
        let session_s = m.session_s();
        let value = m.header("Session-Expires").unwrap_or_default();
        let refresher = param(value, "refresher").unwrap_or("uac");
        let party = &mut self.legs[leg];
        party.session_s = session_s;
        party.refreshes = (refresher == "uac") == is_client;
        if session_s == 0 {
            party.session_ends = u64::MAX;
            return;
        }
        party.session_ends = net.now + session_s * 1_000;
        self.later(net, session_s * 1_000, leg, Act::SessionEnds);
        if self.legs[leg].refreshes {
            self.later(net, session_s * 500, leg, Act::Refresh);
        }
    }

    /// A re-INVITE or an UPDATE; it carries the session timer on.
    pub fn refresh(&mut self, net: &mut Network, leg: usize) {
        if net.now > EVENING_MS {
            self.hang_up(net, leg);
            return;
        }
        self.legs[leg].cseq += 1;
        let party = &self.legs[leg];
        let method = if party.errand.uses_update {
            "UPDATE"
        } else {
            "INVITE"
        };
        let session = match party.session_s {
            0 => String::new(),
            s => format!("Supported: timer\r\nSession-Expires: {s};refresher=uac\r\n"),
        };
        let request = self.dialog_request(leg, method, self.legs[leg].cseq, &session);
        self.send_request(net, leg, request);
    }

    /// The final response to an UPDATE or a BYE.
    pub fn on_dialog_answer(&mut self, net: &mut Network, leg: usize, m: &Rc<Sip>) {
        let is_update = m.cseq().1 == "UPDATE";
        match m.status() {
            Some(200) if is_update => self.learn_session(net, leg, m, true),
            Some(408 | 481) => self.hang_up(net, leg),
            _ => {}
        }
    }

    /// A 300–699 to an INVITE: acknowledged each time, and a 302 may be followed.
    pub fn on_refusal(&mut self, net: &mut Network, number: usize, m: &Rc<Sip>, was_done: bool) {
        let leg = self.clients[number].leg;
        let client = &mut self.clients[number];
        let is_reinvite = !client.request.to_tag().is_empty();
        if !was_done {
            client.ack = Some(hop_request(&client.request, "ACK", m.header("To")));
        }
        let ack = client.ack.clone();
        if let Some(ack) = ack {
            net.send(self.legs[leg].at, self.proxy, ack);
        }
        if was_done {
            return;
        }
        if is_reinvite {
            if matches!(m.status(), Some(408 | 481)) {
                self.hang_up(net, leg);
            }
            return;
        }
        let contact = uri_of(m.header("Contact").unwrap_or_default()).to_owned();
        let party = &self.legs[leg];
        let follows = party.errand.follows > 0 && !party.errand.wants_cancel;
        if m.status() == Some(302) && follows && contact.contains("@example.com") {
            self.follow(net, leg, contact, m);
        } else {
            self.legs[leg].stage = Stage::Over;
        }
    }

    fn follow(&mut self, net: &mut Network, leg: usize, contact: String, m: &Sip) {
        let told = ["Diversion", "History-Info"];
        let extra: String = told
            .iter()
            .flat_map(|name| {
                m.headers(name)
                    .map(move |value| format!("{name}: {value}\r\n"))
            })
            .collect();
        self.legs[leg].errand.follows -= 1;
        let via = self.legs[leg].at.to_string();
        if self.legs[leg].errand.follows_anew {
            let mut again = self.legs[leg].clone();
            self.legs[leg].stage = Stage::Over;
            again.call_id = format!("{}n", again.call_id);
            again.target = contact;
            let number = self.add_leg(again);
            self.send_invite(net, number, &via, &extra);
        } else {
            self.legs[leg].cseq += 1;
            self.legs[leg].target = contact;
            self.send_invite(net, leg, &via, &extra);
        }
    }
}

/// CANCEL and the ACK of a 300–699: hop by hop, with the INVITE's Via (§9.1, §17.1.1.3).
fn hop_request(invite: &Sip, method: &str, to: Option<&str>) -> Rc<Sip> {
    let field = |name| invite.header(name).unwrap_or_default();
    let routes: String = invite
        .headers("Route")
        .map(|r| format!("Route: {r}\r\n"))
        .collect();
    Sip::of(&format!(
        "{method} {} SIP/2.0\r\nVia: {}\r\nMax-Forwards: 70\r\n{routes}From: {}\r\nTo: {}\r\n\
         Call-ID: {}\r\nCSeq: {} {method}\r\nContent-Length: 0\r\n\r\n",
        invite.uri(),
        field("Via"),
        field("From"),
        to.unwrap_or(field("To")),
        field("Call-ID"),
        invite.cseq().0
    ))
}
