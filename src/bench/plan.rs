//! What is to be played: scenarios with their weights and users, times, checks, addresses.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::check::Wrong;
use super::targets::Targets;
use super::templates::Templates;
use crate::message::Transport;

/// One kind of call, seen from the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scenario {
    /// INVITE, 180, 200, ACK, hold, BYE, 200.
    Call,
    /// INVITE, 302, ACK.
    Redirect,
    /// INVITE, 480, 486 or 603, ACK.
    Reject,
    /// INVITE, 180, CANCEL, 200, 487, ACK.
    NoAnswer,
    /// As `Call`; the proxy sends it on to somebody else, at the address for forwarded calls.
    Forward,
    /// As `Call`; answered by voicemail, while the callee only rings.
    Voicemail,
    /// REGISTER, 200; with credentials when it is challenged.
    Register,
    /// SUBSCRIBE, 200, NOTIFY, hold, SUBSCRIBE that ends it, 200, NOTIFY.
    Subscribe,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Call,
        Self::Redirect,
        Self::Reject,
        Self::NoAnswer,
        Self::Forward,
        Self::Voicemail,
        Self::Register,
        Self::Subscribe,
    ];

    /// Its name on the command line and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Redirect => "redirect",
            Self::Reject => "reject",
            Self::NoAnswer => "no-answer",
            Self::Forward => "forward",
            Self::Voicemail => "voicemail",
            Self::Register => "register",
            Self::Subscribe => "subscribe",
        }
    }

    /// The scenario of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|scenario| scenario.name() == name)
    }

    /// The final statuses that are right where nothing else is asked for.
    pub const fn usual_finals(self) -> &'static [u16] {
        match self {
            Self::Call | Self::Forward | Self::Voicemail | Self::Register => &[200],
            // RFC 6665 §4.1.2.1: a 202 is a 200.
            Self::Subscribe => &[200, 202],
            Self::Redirect => &[302],
            Self::Reject => &[480, 486, 603],
            Self::NoAnswer => &[487],
        }
    }

    /// Whether somebody has to ring: the callee, voicemail or the server itself.
    pub const fn needs_callee(self) -> bool {
        matches!(
            self,
            Self::Call | Self::NoAnswer | Self::Forward | Self::Voicemail
        )
    }
}

/// What is subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Event {
    /// RFC 4235: who rings or speaks.
    #[default]
    Dialog,
    /// RFC 3856: how somebody can be reached.
    Presence,
}

impl Event {
    /// Its name in the Event header.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dialog => "dialog",
            Self::Presence => "presence",
        }
    }
}

/// One scenario of a mix.
#[derive(Debug, Clone)]
pub struct Item {
    /// What is played.
    pub scenario: Scenario,
    /// How often, beside the weights of the others.
    pub weight: u32,
    /// Who is called.
    pub targets: Arc<Targets>,
    /// The final statuses that are right.
    pub finals: Vec<u16>,
}

/// Where one side of a call is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Seat {
    /// Who calls, registers and subscribes.
    Caller,
    /// Whom the proxy calls first.
    Callee,
    /// Where forwarded calls and voicemail arrive.
    Elsewhere,
}

impl Seat {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Caller, Self::Callee, Self::Elsewhere];
}

/// The checks that are made; all, unless some are switched off for a server that means to change
/// what they check.
#[derive(Debug, Clone, Copy)]
pub struct Checks {
    skipped: u32,
}

impl Checks {
    /// Every check.
    pub const ALL: Self = Self { skipped: 0 };

    /// The same without one.
    #[must_use]
    pub fn without(self, wrong: Wrong) -> Self {
        Self {
            skipped: self.skipped | 1 << wrong as u32,
        }
    }

    /// Whether this is looked at.
    #[inline]
    pub fn wants(self, wrong: Wrong) -> bool {
        self.skipped & 1 << wrong as u32 == 0
    }
}

/// The times of a call, nanoseconds.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// How long the callee rings before it answers; in `no-answer`, before the caller gives up.
    pub ring_ns: u64,
    /// How long a call lasts between ACK and BYE, a subscription between its first NOTIFY and its end.
    pub hold_ns: u64,
    /// RFC 3261 §17: the first retransmission over UDP.
    pub t1_ns: u64,
    /// The longest pause between two.
    pub t2_ns: u64,
    /// After which a transaction without its answer has failed (timers B and F).
    pub timeout_ns: u64,
    /// From which on an answer counts as late.
    pub late_ns: u64,
}

/// Who calls, to servers that want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name.
    pub user: String,
    /// The password.
    pub password: String,
}

/// What one thread plays.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The scenarios, none of weight 0.
    pub items: Vec<Item>,
    /// The messages.
    pub templates: Arc<Templates>,
    /// The server under test.
    pub server: SocketAddr,
    /// How it is spoken to.
    pub transport: Transport,
    /// Where each seat is bound, by [`Seat`]; the callee's are `None` where the server itself
    /// answers.
    pub seats: [Option<SocketAddr>; 3],
    /// The times of a call.
    pub times: Times,
    /// What is checked.
    pub checks: Checks,
    /// Whether the server is a back-to-back user agent (RFC 7092): what reaches the callee is a call of
    /// the server's own, found by the user of From, which begins with the Call-ID of the caller's.
    pub is_back_to_back: bool,
    /// What is subscribed to.
    pub event: Event,
    /// The domain of `{domain}`.
    pub domain: String,
    /// With what calls that are challenged are placed again.
    pub credentials: Option<Credentials>,
    /// A random number that tells this run's messages from others'.
    pub seed: u32,
    /// Which of the threads this is.
    pub thread: u8,
    /// How many there are.
    pub threads: u8,
    /// How many turns of the mix a call is behind the one before it: 1 where each thread plays the
    /// whole mix; so many as there are threads where they share it, so that a counted run has each
    /// scenario as often as its weight says.
    pub turn_step: u8,
    /// How many calls may be open at once.
    pub most_open: u32,
    /// So many and room for those that rest.
    pub slots: u32,
    /// Whether hosts are sent to that are neither this machine nor of a private network.
    pub may_go_far: bool,
    /// How many wrong messages are kept to be shown.
    pub samples: usize,
}

impl Plan {
    /// The address of a seat.
    pub fn seat(&self, seat: Seat) -> Option<SocketAddr> {
        self.seats.get(seat as usize).copied().flatten()
    }

    /// Whether the callee is played here.
    pub fn plays_callee(&self) -> bool {
        self.seat(Seat::Callee).is_some()
    }

    /// What is checked of a request that reaches the callee. That of a back-to-back user agent is no
    /// copy of the caller's: it has a dialog, hops and a session of its own.
    pub fn checks_at_callee(&self) -> Checks {
        if !self.is_back_to_back {
            return self.checks;
        }
        let own = [
            Wrong::CallId,
            Wrong::CSeq,
            Wrong::FromTag,
            Wrong::MaxForwards,
            Wrong::Contact,
            Wrong::Body,
        ];
        own.into_iter().fold(self.checks, Checks::without)
    }
}

/// Whether an address is this machine's or a private network's.
pub fn is_near(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            let is_shared = first == 100 && (64..128).contains(&second);
            ip.is_loopback() || ip.is_private() || ip.is_link_local() || is_shared
        }
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => is_near(ip.into()),
            None => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
        },
    }
}

/// The order in which the scenarios of a mix come: each as often as its weight says, spread as
/// evenly as can be.
pub(super) fn turns(items: &[Item]) -> Vec<u8> {
    let total: i64 = items.iter().map(|item| i64::from(item.weight)).sum();
    let mut credits = vec![0_i64; items.len()];
    let mut turns = Vec::new();
    for _ in 0..total {
        for (credit, item) in credits.iter_mut().zip(items) {
            *credit += i64::from(item.weight);
        }
        let richest = credits
            .iter_mut()
            .enumerate()
            .max_by_key(|(index, credit)| (**credit, usize::MAX - index));
        if let Some((index, credit)) = richest {
            *credit -= total;
            turns.push(index as u8);
        }
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_spread_evenly() {
        let item = |weight| Item {
            scenario: Scenario::Call,
            weight,
            targets: Arc::default(),
            finals: Vec::new(),
        };
        assert_eq!(turns(&[item(1)]), [0]);
        assert_eq!(turns(&[item(2), item(1), item(1)]), [0, 1, 2, 0]);
        let turns = turns(&[item(7), item(2), item(1)]);
        let count = |index| turns.iter().filter(|turn| **turn == index).count();
        assert_eq!([count(0), count(1), count(2)], [7, 2, 1]);
        assert!(
            !turns
                .windows(4)
                .any(|four| four.iter().all(|turn| *turn == 1))
        );
    }

    #[test]
    fn every_scenario_has_its_name() {
        for scenario in Scenario::ALL {
            assert_eq!(Scenario::from_name(scenario.name()), Some(scenario));
        }
        assert_eq!(Scenario::from_name("calls"), None);
    }

    #[test]
    fn a_check_can_be_left_out() {
        let checks = Checks::ALL.without(Wrong::Body);
        assert!(!checks.wants(Wrong::Body) && checks.wants(Wrong::Via));
    }

    #[test]
    fn private_networks_and_this_machine_are_near() {
        let near = [
            "127.50.0.1",
            "10.1.2.3",
            "192.168.0.1",
            "172.16.0.1",
            "::1",
            "fd00::1",
        ];
        assert!(near.iter().all(|ip| is_near(ip.parse().unwrap())));
        let far = [
            "192.0.2.1",
            "8.8.8.8",
            "2001:db8::1",
            "172.32.0.1",
            "::ffff:8.8.8.8",
        ];
        assert!(far.iter().all(|ip| !is_near(ip.parse().unwrap())));
    }
}
