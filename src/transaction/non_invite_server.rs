//! The non-INVITE server transaction: RFC 3261 figure 8, with RFC 4320's rules on provisionals.

use super::{Base, Due, Ms};

/// The state of a request other than INVITE and ACK received from upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NonInviteServer {
    /// Nothing answered yet; retransmissions are absorbed.
    Trying {
        /// When a 100 is due.
        patience: Ms,
    },
    /// A provisional response was sent; retransmissions repeat it.
    Proceeding,
    /// The final response was sent; retransmissions repeat it.
    Completed {
        /// Ends the transaction.
        timer_j: Ms,
    },
    /// Nothing more is expected.
    Terminated,
}

impl NonInviteServer {
    /// A request came in. Its 100 is due when the client's timer E is reset to T2 (RFC 4320 §4.1):
    /// never before, on any transport.
    pub fn start(now: Ms, base: &Base) -> Self {
        let mut interval = base.t1.max(1);
        let mut patience = now.saturating_add(interval);
        while interval.saturating_mul(2) < base.t2 {
            interval = interval.saturating_mul(2);
            patience = patience.saturating_add(interval);
        }
        Self::Trying { patience }
    }

    /// Whether a retransmitted request is answered with the last response (else it is absorbed).
    pub fn repeats_response(&self) -> bool {
        matches!(self, Self::Proceeding | Self::Completed { .. })
    }

    /// Whether a response may still be sent.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Trying { .. } | Self::Proceeding)
    }

    /// A response is sent upstream.
    pub fn on_response(&mut self, status: u16, now: Ms, base: &Base) {
        if !self.is_open() {
            return;
        }
        *self = if status < 200 {
            Self::Proceeding
        } else {
            let wait = if base.reliable { 0 } else { base.t1_64() };
            Self::Completed {
                timer_j: now + wait,
            }
        };
    }

    /// The request died downstream; RFC 4320 §4.1 forbids to answer 408, so it ends in silence.
    pub fn abandon(&mut self) {
        *self = Self::Terminated;
    }

    /// When [`NonInviteServer::on_timeout`] must be called.
    pub fn deadline(&self) -> Option<Ms> {
        match self {
            Self::Trying { patience: at } | Self::Completed { timer_j: at } => Some(*at),
            _ => None,
        }
    }

    /// The time has come to look at the timers. `TimedOut`: a 100 is to be sent now.
    pub fn on_timeout(&mut self, now: Ms) -> Due {
        match self {
            Self::Trying { patience } if *patience <= now => {
                *self = Self::Proceeding;
                Due::TimedOut
            }
            Self::Completed { timer_j } if *timer_j <= now => {
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

    #[test]
    fn trying_absorbs_retransmissions() {
        assert!(!NonInviteServer::start(0, &UDP).repeats_response());
    }

    #[test]
    fn a_100_is_due_when_the_clients_timer_e_reaches_t2_and_not_before() {
        let mut server = NonInviteServer::start(10, &UDP);
        assert_eq!(server.deadline(), Some(3_510));
        assert_eq!(server.on_timeout(3_509), Due::Nothing);
        assert_eq!(server.on_timeout(3_510), Due::TimedOut);
        assert_eq!(server.on_timeout(3_510), Due::Nothing, "once");
        assert!(server.repeats_response() && server.is_open());
        let slow = Base { t1: 4_000, ..UDP };
        assert_eq!(NonInviteServer::start(0, &slow).deadline(), Some(4_000));
    }

    #[test]
    fn an_answer_in_time_spares_the_100() {
        let mut server = NonInviteServer::start(0, &UDP);
        server.on_response(200, 5, &UDP);
        assert_eq!(server.on_timeout(3_500), Due::Nothing);
    }

    #[test]
    fn a_provisional_leads_to_proceeding_which_repeats_it() {
        let mut server = NonInviteServer::start(0, &UDP);
        server.on_response(183, 0, &UDP);
        assert_eq!(server, NonInviteServer::Proceeding);
        assert!(server.repeats_response() && server.is_open());
    }

    #[test]
    fn a_final_is_repeated_until_timer_j() {
        let mut server = NonInviteServer::start(0, &UDP);
        server.on_response(200, 5, &UDP);
        assert!(server.repeats_response() && !server.is_open());
        assert_eq!(server.on_timeout(32_004), Due::Nothing);
        assert_eq!(server.on_timeout(32_005), Due::Ended);
    }

    #[test]
    fn on_a_reliable_transport_timer_j_is_zero() {
        let mut server = NonInviteServer::Proceeding;
        server.on_response(
            200,
            5,
            &Base {
                reliable: true,
                ..UDP
            },
        );
        assert_eq!(server.on_timeout(5), Due::Ended);
    }

    #[test]
    fn a_second_final_changes_nothing() {
        let mut server = NonInviteServer::Completed { timer_j: 9 };
        server.on_response(500, 5, &UDP);
        assert_eq!(server, NonInviteServer::Completed { timer_j: 9 });
    }
}
