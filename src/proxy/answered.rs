//! Requests other than INVITE that were answered: all that is left of them is to answer a
//! retransmission with the same response until Timer J (RFC 3261 §17.2.2). A context that was relayed
//! gives its branches' memory back at once: what a branch hears again is dropped without it, too.
//!
//! The answers to requests that we answer ourselves are bounded: beyond the bound a retransmission
//! is processed anew. A REGISTER's changes nothing, as a binding knows the transaction that made it.

use super::hop::Hop;
use super::relay::RelayBranch;
use super::request::ProxyRequest;
use super::{AnswerKey, Arrival, Owner, Proxy, RelayKey};
use crate::message::{Reply, write_response};
use crate::transaction::{Ms, NonInviteServer};

/// How many answers of its own a shard keeps: at 32 s each, those of a thousand registrations a
/// second.
const OWN_LIMIT: usize = 32_768;

/// The rest of a server transaction.
pub(super) struct Answered {
    pub server_key: u64,
    timer_j: Ms,
    upstream: Hop,
    response: Box<[u8]>,
    /// Whether we answered ourselves.
    is_own: bool,
}

impl Proxy {
    /// Answers a request ourselves, and keeps the answer for retransmissions. `reply` says what and
    /// why; to whom and from whom is filled in.
    pub(super) fn answer_and_keep(
        &mut self,
        arrival: &Arrival,
        request: &ProxyRequest<'_>,
        server_key: u64,
        reply: Reply<'_>,
    ) {
        let tag = self.stateless_tag(arrival);
        let reply = Reply {
            source: Some(arrival.from),
            to_tag: Some(&tag),
            ..reply
        };
        let upstream = arrival.reply_hop(&request.via);
        let write = |out: &mut Vec<u8>| write_response(&request.message, &reply, out);
        let response: Box<[u8]> = self.out.send(&upstream, write).into();
        self.keep_answer(server_key, upstream, response, reply.status);
    }

    /// Keeps an answer of ours for retransmissions.
    fn keep_answer(&mut self, server_key: u64, upstream: Hop, response: Box<[u8]>, status: u16) {
        let base = self.policy.base(upstream.listener);
        if base.reliable || self.own_answers >= OWN_LIMIT {
            return;
        }
        let mut server = NonInviteServer::start(self.now.ms, &base);
        server.on_response(status, self.now.ms, &base);
        if let NonInviteServer::Completed { timer_j } = server {
            self.own_answers += 1;
            self.keep(Answered {
                server_key,
                timer_j,
                upstream,
                response,
                is_own: true,
            });
        }
    }

    /// Leaves of a relayed request what answers its retransmissions, where it was answered and no
    /// branch may still bring anything; whether that was so.
    pub(super) fn complete_relay(&mut self, key: RelayKey) -> bool {
        let Some(relay) = self.relays.get(key) else {
            return false;
        };
        let NonInviteServer::Completed { timer_j } = relay.server else {
            return false;
        };
        if relay.branches.iter().any(RelayBranch::is_waiting) {
            return false;
        }
        if let Some(relay) = self.relays.remove(key) {
            self.keep(Answered {
                server_key: relay.server_key,
                timer_j,
                upstream: relay.upstream,
                response: relay.response,
                is_own: false,
            });
        }
        true
    }

    fn keep(&mut self, answered: Answered) {
        let (server_key, timer_j) = (answered.server_key, answered.timer_j);
        let key = self.answers.insert(Box::new(answered));
        self.servers.insert(server_key, Owner::Answer(key));
        self.wheel.insert(timer_j, Owner::Answer(key));
    }

    /// A retransmission: the answer once more.
    pub(super) fn repeat_answer(&mut self, key: AnswerKey) {
        self.count(|c| &c.retransmissions_received);
        if let Some(answered) = self.answers.get(key) {
            super::handle::send_stored(&answered.upstream, &answered.response, &mut self.out);
            self.count(|c| &c.retransmissions_sent);
        }
    }

    /// Timer J: nothing more is expected.
    pub(super) fn wake_answer(&mut self, key: AnswerKey) {
        if let Some(answered) = self.answers.remove(key) {
            self.servers.remove(answered.server_key);
            self.own_answers -= usize::from(answered.is_own);
        }
    }
}
