//! Retransmission over UDP, as both sides of a simulated call need it (RFC 3261 §17).

use std::net::SocketAddr;

/// T1 and T2 of the simulated phones, milliseconds.
const T1: u64 = 500;
const T2: u64 = 4_000;

/// Datagrams to be sent, each with its destination.
pub(super) type Out = Vec<(SocketAddr, Vec<u8>)>;

/// A message that is sent again and again until the other side reacts.
#[derive(Debug, Clone)]
pub(super) struct Repeated {
    pub to: SocketAddr,
    pub bytes: Vec<u8>,
    interval: u64,
    limit: u64,
    next: u64,
    gives_up_at: u64,
}

/// What time asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// It was sent again.
    Repeated,
    /// 64*T1 are over.
    GaveUp,
}

impl Repeated {
    /// Sends it the first time. Intervals double: up to T2, except for an INVITE (timer A).
    pub(super) fn send(
        to: SocketAddr,
        bytes: Vec<u8>,
        has_limit: bool,
        now: u64,
        out: &mut Out,
    ) -> Self {
        out.push((to, bytes.clone()));
        Self {
            to,
            bytes,
            interval: T1,
            limit: if has_limit { T2 } else { u64::MAX },
            next: now + T1,
            gives_up_at: now + 64 * T1,
        }
    }

    /// Sends it once more, out of turn.
    pub(super) fn repeat(&self, out: &mut Out) {
        out.push((self.to, self.bytes.clone()));
    }

    /// Sends it once more when it is time.
    pub(super) fn on_time(&mut self, now: u64, out: &mut Out) -> Due {
        if self.gives_up_at <= now {
            return Due::GaveUp;
        }
        if self.next > now {
            return Due::Nothing;
        }
        self.interval = self.interval.saturating_mul(2).min(self.limit);
        self.next = now + self.interval;
        self.repeat(out);
        Due::Repeated
    }

    /// When [`Repeated::on_time`] has something to do.
    pub(super) fn deadline(&self) -> u64 {
        self.next.min(self.gives_up_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent_at(has_limit: bool) -> Vec<u64> {
        let to = "127.0.0.1:9".parse().unwrap();
        let mut out = Out::new();
        let mut repeated = Repeated::send(to, b"x".to_vec(), has_limit, 0, &mut out);
        let mut times = vec![0];
        loop {
            let now = repeated.deadline();
            match repeated.on_time(now, &mut out) {
                Due::Repeated => times.push(now),
                Due::GaveUp => {
                    assert_eq!(out.len(), times.len());
                    times.push(now);
                    return times;
                }
                Due::Nothing => unreachable!("the deadline was {now}"),
            }
        }
    }

    #[test]
    fn an_invite_doubles_its_interval_until_timer_b() {
        assert_eq!(
            sent_at(false),
            [0, 500, 1_500, 3_500, 7_500, 15_500, 31_500, 32_000]
        );
    }

    #[test]
    fn other_messages_double_it_up_to_t2() {
        let times = sent_at(true);
        assert_eq!(
            times.get(..6).unwrap(),
            [0, 500, 1_500, 3_500, 7_500, 11_500]
        );
        assert_eq!(times.last(), Some(&32_000));
    }
}
