//! The called side: a PBX, a voicemail system and far ends that behave well, badly or not at all.

use std::rc::Rc;

use crate::caller::{Ending, Errand};
use crate::network::Network;
use crate::phone::{Act, Leg, Phones, Stage};

/// How a called phone behaves beyond its script.
#[derive(Debug, Clone, Copy, Default)]
pub struct Habit {
    pub on_cancel: OnCancel,
    /// Answers 481 to whatever comes within the dialog.
    pub denies_dialog: bool,
    /// A second phone answers too, with a tag of its own.
    pub forks: bool,
    /// Answers with session timers where it is asked for them.
    pub keeps_time: bool,
}

/// What a CANCEL meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnCancel {
    /// 200, and 487 to the INVITE.
    #[default]
    Obeys,
    /// 200, but the INVITE is answered 200 all the same.
    Crosses,
    /// 200, and the INVITE is never answered.
    Stalls,
    /// Nothing at all.
    Ignores,
}

/// How a call comes out at the called side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answers,
    Refuses(u16),
    RingsForEver,
    TriesForEver,
    Silent,
}

const FATES: &[(u64, Fate)] = &[
    (55, Fate::Answers),
    (8, Fate::Refuses(486)),
    (5, Fate::Refuses(603)),
    (4, Fate::Refuses(404)),
    (4, Fate::Refuses(480)),
    (3, Fate::Refuses(503)),
    (2, Fate::Refuses(500)),
    (1, Fate::Refuses(302)),
    (1, Fate::Refuses(600)),
    (1, Fate::Refuses(415)),
    (9, Fate::RingsForEver),
    (3, Fate::TriesForEver),
    (4, Fate::Silent),
];

const CANCELS: &[(u64, OnCancel)] = &[
    (70, OnCancel::Obeys),
    (12, OnCancel::Crosses),
    (8, OnCancel::Stalls),
    (10, OnCancel::Ignores),
];

impl Phones {
    /// An INVITE without a tag: a call, unless it is the same call on another way (§8.2.2.2).
    pub fn on_call(&mut self, net: &mut Network, number: usize) {
        let m = Rc::clone(&self.servers[number].request);
        let is_merged = self.servers[..number].iter().rev().take(400).any(|other| {
            let o = &other.request;
            !other.is_final
                && o.is("INVITE")
                && o.call_id() == m.call_id()
                && o.cseq() == m.cseq()
                && o.uri() == m.uri()
        });
        if is_merged {
            self.respond(net, number, 482, "");
            return;
        }
        let fate = net.chance.weighted(FATES);
        if fate == Fate::Silent {
            return;
        }
        let leg = self.add_callee(net, number);
        self.respond(net, number, 100, "");
        let mut at = net.chance.range(1, 400);
        if net.chance.percent(85) && fate != Fate::TriesForEver || fate == Fate::RingsForEver {
            self.later(net, at, leg, Act::Respond(180));
            if net.chance.percent(25) {
                self.later(net, at + 300, leg, Act::Respond(183));
            }
            at += net.chance.range(100, 25_000);
        }
        match fate {
            Fate::Answers => self.later(net, at, leg, Act::Respond(200)),
            Fate::Refuses(status) => self.later(net, at, leg, Act::Respond(status)),
            Fate::RingsForEver | Fate::TriesForEver | Fate::Silent => {}
        }
    }

    fn add_callee(&mut self, net: &mut Network, number: usize) -> usize {
        let (at, m) = (
            self.servers[number].at,
            Rc::clone(&self.servers[number].request),
        );
        let tag = format!("b{}", self.legs.len());
        let chance = &mut net.chance;
        let ends = chance.weighted(&[
            (40, Some(Ending::Bye)),
            (8, Some(Ending::Vanish)),
            (52, None),
        ]);
        let refreshes = chance.percent(15);
        let errand = Errand {
            talks_ms: chance.range(0, 60_000),
            ends,
            refreshes_at: if refreshes {
                vec![chance.range(0, 30_000)]
            } else {
                Vec::new()
            },
            uses_update: chance.percent(50),
            ..Errand::default()
        };
        let habit = Habit {
            on_cancel: chance.weighted(CANCELS),
            denies_dialog: chance.percent(4),
            forks: chance.percent(5),
            keeps_time: chance.percent(70),
        };
        let mut leg = Leg {
            at,
            call_id: m.call_id().to_owned(),
            local: format!("{};tag={tag}", m.header("To").unwrap_or_default()),
            remote: String::new(),
            local_tag: tag,
            remote_tag: String::new(),
            target: String::new(),
            routes: Vec::new(),
            cseq: 100,
            stage: Stage::Early,
            invite: number,
            ok: None,
            ok_interval: 0,
            ok_server: 0,
            ack: None,
            session_s: 0,
            refreshes: false,
            session_ends: u64::MAX,
            errand,
            habit,
        };
        Self::learn_dialog(&mut leg, &m, false);
        let leg = self.add_leg(leg);
        self.servers[number].leg = Some(leg);
        leg
    }

    /// The script says what the INVITE is answered; nothing once it has its final response.
    pub fn respond_to_call(&mut self, net: &mut Network, leg: usize, status: u16) {
        let number = self.legs[leg].invite;
        if self.servers[number].is_final || self.legs[leg].stage != Stage::Early {
            return;
        }
        if status == 200 {
            self.pick_up(net, number, leg);
            return;
        }
        let contact = "Retry-After: 1\r\n";
        self.respond(
            net,
            number,
            status,
            if status == 503 { contact } else { "" },
        );
        if status >= 300 {
            self.legs[leg].stage = Stage::Over;
        }
    }

    fn pick_up(&mut self, net: &mut Network, number: usize, leg: usize) {
        let session = self.servers[number].request.session_s();
        let agrees = session > 0 && self.legs[leg].habit.keeps_time;
        let refresher = *net.chance.pick(&["uac", "uas"]);
        let lines = if agrees {
            format!("Require: timer\r\nSession-Expires: {session};refresher={refresher}\r\n")
        } else {
            String::new()
        };
        let fork = self.legs[leg].habit.forks.then(|| {
            let mut fork = self.legs[leg].clone();
            fork.local_tag = format!("{}f", fork.local_tag);
            fork.local = format!("{}f", fork.local);
            self.add_leg(fork)
        });
        for leg in [Some(leg), fork].into_iter().flatten() {
            self.legs[leg].stage = Stage::Up;
            self.send_ok(net, number, leg, &lines);
            if let Some((ok, _)) = self.legs[leg].ok.clone() {
                self.learn_session(net, leg, &ok, false);
            }
            self.plan_talk(net, leg);
        }
    }

    /// A CANCEL; says whether it was answered, so that its retransmission is too.
    pub fn on_cancel(&mut self, net: &mut Network, cancel: usize, invite: Option<usize>) -> bool {
        let Some(invite) = invite else {
            self.respond(net, cancel, 481, "");
            return true;
        };
        let Some(leg) = self.servers[invite].leg else {
            return false;
        };
        let habit = self.legs[leg].habit.on_cancel;
        if habit == OnCancel::Ignores {
            return false;
        }
        self.servers[cancel].leg = Some(leg);
        self.respond(net, cancel, 200, "");
        if self.legs[leg].stage != Stage::Early || self.servers[invite].is_final {
            return true;
        }
        match habit {
            OnCancel::Obeys => {
                self.respond(net, invite, 487, "");
                self.legs[leg].stage = Stage::Over;
            }
            OnCancel::Crosses => self.respond_to_call(net, leg, 200),
            OnCancel::Stalls => self.legs[leg].stage = Stage::Gone,
            OnCancel::Ignores => {}
        }
        true
    }

    /// A request within a dialog, on either side.
    pub fn on_dialog_request(&mut self, net: &mut Network, number: usize) {
        let m = Rc::clone(&self.servers[number].request);
        let known = self.servers[number]
            .leg
            .and_then(|leg| self.dialog(leg, m.sender_tag()));
        self.servers[number].leg = known;
        let Some(leg) = known.filter(|leg| {
            self.legs[*leg].stage == Stage::Up && !self.legs[*leg].habit.denies_dialog
        }) else {
            if let Some(leg) = known {
                self.legs[leg].stage = Stage::Over;
                self.legs[leg].ok = None;
            }
            self.respond(net, number, 481, "");
            return;
        };
        let session = match m.session_s() {
            s if s == 0 || !self.legs[leg].habit.keeps_time => String::new(),
            s => format!("Require: timer\r\nSession-Expires: {s};refresher=uac\r\n"),
        };
        match m.method() {
            "BYE" => {
                self.legs[leg].stage = Stage::Over;
                self.legs[leg].ok = None;
                self.respond(net, number, 200, "");
            }
            "INVITE" if self.legs[leg].ok.is_some() => self.respond(net, number, 491, ""),
            "INVITE" => {
                self.send_ok(net, number, leg, &session);
                self.learn_answered_session(net, number, leg);
            }
            "UPDATE" => {
                self.respond(net, number, 200, &session);
                self.learn_answered_session(net, number, leg);
            }
            _ => self.respond(net, number, 501, ""),
        }
    }

    fn learn_answered_session(&mut self, net: &mut Network, number: usize, leg: usize) {
        if let Some(response) = self.servers[number].response.clone() {
            self.learn_session(net, leg, &response, false);
        }
    }

    /// Of the dialogs that share a caller's tag, the one with that other side.
    fn dialog(&self, leg: usize, remote_tag: &str) -> Option<usize> {
        if self.legs[leg].remote_tag == remote_tag {
            return Some(leg);
        }
        let tag = &self.legs[leg].local_tag;
        (leg..self.legs.len())
            .find(|l| self.legs[*l].local_tag == *tag && self.legs[*l].remote_tag == remote_tag)
    }
}
