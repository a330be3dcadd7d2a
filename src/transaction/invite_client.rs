//! The INVITE client transaction: RFC 3261 figure 5 with RFC 6026 figure 5's Accepted state.

use super::{Base, Due, Ms, Reaction, Retransmit, soonest};

/// The state of an INVITE sent downstream on one branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InviteClient {
    /// Sent, nothing heard yet.
    Calling {
        /// Retransmits the INVITE; never on a reliable transport.
        timer_a: Option<Retransmit>,
        /// Gives up.
        timer_b: Ms,
    },
    /// A provisional response came; the proxy's Timer C watches from here on.
    Proceeding,
    /// A 300–699 came and was acknowledged; its retransmissions are acknowledged again.
    Completed {
        /// Ends the transaction.
        timer_d: Ms,
    },
    /// A 2xx came; further 2xx are passed on.
    Accepted {
        /// Ends the transaction.
        timer_m: Ms,
    },
    /// Nothing more is expected.
    Terminated,
}

impl InviteClient {
    /// The INVITE is being sent now.
    pub fn start(now: Ms, base: &Base) -> Self {
        let timer_a = (!base.reliable).then(|| Retransmit::first(now, base.t1));
        Self::Calling {
            timer_a,
            timer_b: now + base.t1_64(),
        }
    }

    /// Whether no final response has come yet.
    pub fn is_pending(&self) -> bool {
        matches!(self, Self::Calling { .. } | Self::Proceeding)
    }

    /// Whether a CANCEL may be sent: only after a provisional response (RFC 3261 §9.1).
    pub fn is_cancellable(&self) -> bool {
        matches!(self, Self::Proceeding)
    }

    /// A response came in.
    pub fn on_response(&mut self, status: u16, now: Ms, base: &Base) -> Reaction {
        match (*self, status) {
            (Self::Calling { .. } | Self::Proceeding, 100..=199) => {
                *self = Self::Proceeding;
                Reaction::Pass
            }
            (Self::Calling { .. } | Self::Proceeding, 200..=299) => {
                *self = Self::Accepted {
                    timer_m: now + base.t1_64(),
                };
                Reaction::Pass
            }
            (Self::Calling { .. } | Self::Proceeding, 300..=699) => {
                let wait = if base.reliable {
                    0
                } else {
                    base.t1_64().max(32_000)
                };
                *self = Self::Completed {
                    timer_d: now + wait,
                };
                Reaction::PassAndAck
            }
            (Self::Completed { .. }, 300..=699) => Reaction::Ack,
            (Self::Accepted { .. }, 200..=299) => Reaction::Pass,
            _ => Reaction::Drop,
        }
    }

    /// The transport refused the INVITE (RFC 3261 §17.1.4): the same as a 503 from downstream.
    pub fn on_transport_failure(&mut self) {
        *self = Self::Terminated;
    }

    /// The owner gave the branch up, after a CANCEL that brought no final response (§9.1).
    pub fn abandon(&mut self) {
        *self = Self::Terminated;
    }

    /// When [`InviteClient::on_timeout`] must be called.
    pub fn deadline(&self) -> Option<Ms> {
        match self {
            Self::Calling { timer_a, timer_b } => {
                soonest([timer_a.map(|timer| timer.at), Some(*timer_b)])
            }
            Self::Completed { timer_d: at } | Self::Accepted { timer_m: at } => Some(*at),
            Self::Proceeding | Self::Terminated => None,
        }
    }

    /// The time has come to look at the timers.
    pub fn on_timeout(&mut self, now: Ms, _base: &Base) -> Due {
        match self {
            Self::Calling { timer_b, .. } if *timer_b <= now => {
                *self = Self::Terminated;
                Due::TimedOut
            }
            Self::Calling {
                timer_a: Some(timer),
                ..
            } if timer.at <= now => {
                *timer = timer.next(now, Ms::MAX);
                Due::Retransmit
            }
            Self::Completed { timer_d: at } | Self::Accepted { timer_m: at } if *at <= now => {
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

    #[test]
    fn timer_a_doubles_without_bound_until_timer_b() {
        let mut client = InviteClient::start(0, &UDP);
        let mut fired = Vec::new();
        loop {
            let at = client.deadline().unwrap();
            match client.on_timeout(at, &UDP) {
                Due::Retransmit => fired.push(at),
                due => break assert_eq!((due, at), (Due::TimedOut, 32_000)),
            }
        }
        assert_eq!(fired, [500, 1_500, 3_500, 7_500, 15_500, 31_500]);
    }

    #[test]
    fn a_reliable_transport_has_no_timer_a() {
        assert_eq!(InviteClient::start(0, &TCP).deadline(), Some(32_000));
    }

    #[test]
    fn a_provisional_stops_both_timers() {
        let mut client = InviteClient::start(0, &UDP);
        assert!(!client.is_cancellable());
        assert_eq!(client.on_response(100, 1, &UDP), Reaction::Pass);
        assert_eq!(client.deadline(), None);
        assert!(client.is_cancellable());
        assert_eq!(client.on_response(180, 2, &UDP), Reaction::Pass);
    }

    #[test]
    fn a_2xx_leads_to_accepted_and_every_2xx_is_passed_until_timer_m() {
        let mut client = InviteClient::start(0, &UDP);
        assert_eq!(client.on_response(200, 10, &UDP), Reaction::Pass);
        assert_eq!(client.on_response(200, 20, &UDP), Reaction::Pass);
        assert_eq!(client.on_response(486, 30, &UDP), Reaction::Drop);
        assert_eq!(client.on_timeout(32_009, &UDP), Due::Nothing);
        assert_eq!(client.on_timeout(32_010, &UDP), Due::Ended);
        assert_eq!(client.on_response(200, 33_000, &UDP), Reaction::Drop);
    }

    #[test]
    fn a_failure_is_acknowledged_each_time_it_comes_until_timer_d() {
        let mut client = InviteClient::start(0, &UDP);
        assert_eq!(client.on_response(486, 10, &UDP), Reaction::PassAndAck);
        assert_eq!(client.on_response(486, 20, &UDP), Reaction::Ack);
        assert_eq!(client.on_response(180, 20, &UDP), Reaction::Drop);
        assert_eq!(client.on_response(200, 20, &UDP), Reaction::Drop);
        assert_eq!(client.on_timeout(32_010, &UDP), Due::Ended);
    }

    #[test]
    fn on_a_reliable_transport_timer_d_is_zero() {
        let mut client = InviteClient::start(0, &TCP);
        client.on_response(603, 10, &TCP);
        assert_eq!(client.on_timeout(10, &TCP), Due::Ended);
    }

    #[test]
    fn a_transport_failure_ends_it() {
        let mut client = InviteClient::start(0, &UDP);
        client.on_transport_failure();
        assert_eq!((client.deadline(), client.is_pending()), (None, false));
    }
}
