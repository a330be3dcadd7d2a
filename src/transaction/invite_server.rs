//! The INVITE server transaction: RFC 3261 figure 7 with RFC 6026 figure 4's Accepted state.

use super::{Base, Due, Ms, Retransmit, soonest};

/// The state of an INVITE received from upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InviteServer {
    /// Provisional responses only so far.
    Proceeding,
    /// A 300–699 was sent; it is retransmitted until the ACK comes.
    Completed {
        /// Retransmits the response; never on a reliable transport.
        timer_g: Option<Retransmit>,
        /// Gives up waiting for the ACK.
        timer_h: Ms,
    },
    /// The ACK came; its retransmissions are absorbed.
    Confirmed {
        /// Ends the transaction.
        timer_i: Ms,
    },
    /// A 2xx was forwarded; INVITE retransmissions are absorbed, further 2xx are forwarded.
    Accepted {
        /// Ends the transaction.
        timer_l: Ms,
    },
    /// Nothing more is expected.
    Terminated,
}

impl InviteServer {
    /// Whether a retransmitted INVITE is answered with the last response (else it is absorbed).
    pub fn repeats_response(&self) -> bool {
        matches!(self, Self::Proceeding | Self::Completed { .. })
    }

    /// Whether a final response may still be chosen.
    pub fn is_proceeding(&self) -> bool {
        matches!(self, Self::Proceeding)
    }

    /// Whether a 2xx may be forwarded (RFC 6026 §7.1: again and again while Accepted).
    pub fn takes_2xx(&self) -> bool {
        matches!(self, Self::Proceeding | Self::Accepted { .. })
    }

    /// A final response is sent upstream.
    pub fn on_final(&mut self, status: u16, now: Ms, base: &Base) {
        match self {
            Self::Proceeding if status < 300 => {
                *self = Self::Accepted {
                    timer_l: now + base.t1_64(),
                };
            }
            Self::Proceeding => {
                let timer_g = (!base.reliable).then(|| Retransmit::first(now, base.t1));
                *self = Self::Completed {
                    timer_g,
                    timer_h: now + base.t1_64(),
                };
            }
            _ => {}
        }
    }

    /// An ACK for a 300–699 came in.
    pub fn on_ack(&mut self, now: Ms, base: &Base) {
        if matches!(self, Self::Completed { .. }) {
            let wait = if base.reliable { 0 } else { base.t4 };
            *self = Self::Confirmed {
                timer_i: now + wait,
            };
        }
    }

    /// When [`InviteServer::on_timeout`] must be called.
    pub fn deadline(&self) -> Option<Ms> {
        match self {
            Self::Completed { timer_g, timer_h } => {
                soonest([timer_g.map(|timer| timer.at), Some(*timer_h)])
            }
            Self::Confirmed { timer_i: at } | Self::Accepted { timer_l: at } => Some(*at),
            Self::Proceeding | Self::Terminated => None,
        }
    }

    /// The time has come to look at the timers.
    pub fn on_timeout(&mut self, now: Ms, base: &Base) -> Due {
        match self {
            Self::Completed { timer_h, .. } if *timer_h <= now => {
                *self = Self::Terminated;
                Due::TimedOut
            }
            Self::Completed {
                timer_g: Some(timer),
                ..
            } if timer.at <= now => {
                *timer = timer.next(now, base.t2);
                Due::Retransmit
            }
            Self::Confirmed { timer_i: at } | Self::Accepted { timer_l: at } if *at <= now => {
                *self = Self::Terminated;
                Due::Ended
            }
            _ => Due::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UDP: Base = Base {
        t1: 500,
        t2: 4_000,
        t4: 5_000,
        reliable: false,
    };
    const TCP: Base = Base {
        reliable: true,
        ..UDP
    };

    fn completed(base: &Base) -> InviteServer {
        let mut server = InviteServer::Proceeding;
        server.on_final(486, 0, base);
        server
    }

    #[test]
    fn proceeding_repeats_its_provisional_on_a_retransmission() {
        assert!(InviteServer::Proceeding.repeats_response());
        assert_eq!(InviteServer::Proceeding.deadline(), None);
    }

    #[test]
    fn a_2xx_leads_to_accepted_which_absorbs_the_invite_until_timer_l() {
        let mut server = InviteServer::Proceeding;
        server.on_final(200, 0, &UDP);
        assert!(!server.repeats_response() && server.takes_2xx());
        assert_eq!(server.on_timeout(31_999, &UDP), Due::Nothing);
        assert_eq!(server.on_timeout(32_000, &UDP), Due::Ended);
        assert_eq!(server, InviteServer::Terminated);
    }

    #[test]
    fn a_failure_is_retransmitted_at_doubling_intervals_up_to_t2() {
        let mut server = completed(&UDP);
        let mut fired = Vec::new();
        while let Some(at) = server.deadline() {
            match server.on_timeout(at, &UDP) {
                Due::Retransmit => fired.push(at),
                Due::TimedOut => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(fired[..5], [500, 1_500, 3_500, 7_500, 11_500]);
    }

    #[test]
    fn timer_h_ends_a_failure_that_is_never_acknowledged() {
        let mut server = completed(&UDP);
        assert_eq!(server.on_timeout(32_000, &UDP), Due::TimedOut);
        assert_eq!(server, InviteServer::Terminated);
    }

    #[test]
    fn a_reliable_transport_does_not_retransmit() {
        assert_eq!(completed(&TCP).deadline(), Some(32_000));
    }

    #[test]
    fn the_ack_leads_to_confirmed_which_timer_i_ends() {
        let mut server = completed(&UDP);
        server.on_ack(100, &UDP);
        assert_eq!(server, InviteServer::Confirmed { timer_i: 5_100 });
        assert!(!server.repeats_response());
        assert_eq!(server.on_timeout(5_100, &UDP), Due::Ended);
    }

    #[test]
    fn on_a_reliable_transport_timer_i_is_zero() {
        let mut server = completed(&TCP);
        server.on_ack(100, &TCP);
        assert_eq!(server.on_timeout(100, &TCP), Due::Ended);
    }

    #[test]
    fn an_ack_changes_no_other_state() {
        for mut server in [
            InviteServer::Proceeding,
            InviteServer::Accepted { timer_l: 9 },
        ] {
            let before = server;
            server.on_ack(1, &UDP);
            assert_eq!(server, before);
        }
    }

    #[test]
    fn a_second_final_changes_nothing() {
        let mut server = completed(&UDP);
        let before = server;
        server.on_final(200, 1, &UDP);
        assert_eq!(server, before);
    }
}
