//! The non-INVITE client transaction: RFC 3261 figure 6. CANCELs of ours run on it too.

use super::{Base, Due, Ms, Reaction, Retransmit, soonest};

/// The state of a request other than INVITE and ACK sent downstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NonInviteClient {
    /// Sent, nothing heard yet.
    Trying {
        /// Retransmits the request; never on a reliable transport.
        timer_e: Option<Retransmit>,
        /// Gives up.
        timer_f: Ms,
    },
    /// A provisional response came; retransmissions go on at T2.
    Proceeding {
        /// Retransmits the request; never on a reliable transport.
        timer_e: Option<Retransmit>,
        /// Gives up.
        timer_f: Ms,
    },
    /// The final response came; its retransmissions are absorbed.
    Completed {
        /// Ends the transaction.
        timer_k: Ms,
    },
    /// Nothing more is expected.
    Terminated,
}

impl NonInviteClient {
    /// The request is being sent now.
    pub fn start(now: Ms, base: &Base) -> Self {
        let timer_e = (!base.reliable).then(|| Retransmit::first(now, base.t1));
        Self::Trying {
            timer_e,
            timer_f: now + base.t1_64(),
        }
    }

    /// Whether no final response has come yet.
    pub fn is_pending(&self) -> bool {
        matches!(self, Self::Trying { .. } | Self::Proceeding { .. })
    }

    /// A response came in.
    pub fn on_response(&mut self, status: u16, now: Ms, base: &Base) -> Reaction {
        match (*self, status) {
            (Self::Trying { timer_e, timer_f }, 100..=199) => {
                *self = Self::Proceeding { timer_e, timer_f };
                Reaction::Pass
            }
            (Self::Proceeding { .. }, 100..=199) => Reaction::Pass,
            (Self::Trying { .. } | Self::Proceeding { .. }, 200..=699) => {
                let wait = if base.reliable { 0 } else { base.t4 };
                *self = Self::Completed {
                    timer_k: now + wait,
                };
                Reaction::Pass
            }
            _ => Reaction::Drop,
        }
    }

    /// The transport refused the request (RFC 3261 §17.1.4).
    pub fn on_transport_failure(&mut self) {
        *self = Self::Terminated;
    }

    /// When [`NonInviteClient::on_timeout`] must be called.
    pub fn deadline(&self) -> Option<Ms> {
        match self {
            Self::Trying { timer_e, timer_f } | Self::Proceeding { timer_e, timer_f } => {
                soonest([timer_e.map(|timer| timer.at), Some(*timer_f)])
            }
            Self::Completed { timer_k } => Some(*timer_k),
            Self::Terminated => None,
        }
    }

    /// The time has come to look at the timers.
    pub fn on_timeout(&mut self, now: Ms, base: &Base) -> Due {
        match self {
            Self::Trying { timer_f, .. } | Self::Proceeding { timer_f, .. } if *timer_f <= now => {
                *self = Self::Terminated;
                Due::TimedOut
            }
            Self::Trying {
                timer_e: Some(timer),
                ..
            } if timer.at <= now => {
                *timer = timer.next(now, base.t2);
                Due::Retransmit
            }
            Self::Proceeding {
                timer_e: Some(timer),
                ..
            } if timer.at <= now => {
                *timer = Retransmit::first(now, base.t2);
                Due::Retransmit
            }
            Self::Completed { timer_k } if *timer_k <= now => {
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

    fn fire_until_timeout(mut client: NonInviteClient) -> Vec<Ms> {
        let mut fired = Vec::new();
        loop {
            let at = client.deadline().unwrap();
            match client.on_timeout(at, &UDP) {
                Due::Retransmit => fired.push(at),
                due => {
                    assert_eq!((due, at), (Due::TimedOut, 32_000));
                    return fired;
                }
            }
        }
    }

    #[test]
    fn timer_e_doubles_up_to_t2_until_timer_f() {
        let fired = fire_until_timeout(NonInviteClient::start(0, &UDP));
        assert_eq!(fired[..5], [500, 1_500, 3_500, 7_500, 11_500]);
        assert_eq!(fired.len(), 10);
    }

    #[test]
    fn after_a_provisional_retransmissions_go_on_at_t2() {
        let mut client = NonInviteClient::start(0, &UDP);
        assert_eq!(client.on_response(100, 100, &UDP), Reaction::Pass);
        let fired = fire_until_timeout(client);
        assert_eq!(fired[..3], [500, 4_500, 8_500]);
    }

    #[test]
    fn a_final_is_passed_once_and_timer_k_ends_it() {
        let mut client = NonInviteClient::start(0, &UDP);
        assert_eq!(client.on_response(200, 100, &UDP), Reaction::Pass);
        assert_eq!(client.on_response(200, 200, &UDP), Reaction::Drop);
        assert_eq!(client.on_timeout(5_100, &UDP), Due::Ended);
    }

    #[test]
    fn a_reliable_transport_neither_retransmits_nor_waits() {
        let tcp = Base {
            reliable: true,
            ..UDP
        };
        let mut client = NonInviteClient::start(0, &tcp);
        assert_eq!(client.deadline(), Some(32_000));
        client.on_response(200, 100, &tcp);
        assert_eq!(client.on_timeout(100, &tcp), Due::Ended);
    }
}
