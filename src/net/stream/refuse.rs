//! The answer to a request that cannot be cut out of its stream.

use super::connections::Connections;
use super::link::Link;
use crate::message::{Index, Method, Reply, Unframed, write_response};

/// Answers a request of which only start line and header section could be read: 400, or 513 where
/// it is too long (RFC 3261 §18.3). It becomes nobody's transaction, and the connection closes after
/// it. Responses and ACKs have no answer, and who is shut out gets none.
pub(super) fn refuse(connections: &Connections, link: &Link, head: &[u8], why: Unframed) {
    let surface = connections.surface();
    let bans = &surface.shared.guard.bans;
    let mut index = Index::new();
    let Ok(message) = index.parse(head) else {
        return;
    };
    let is_ack = matches!(message.method(), None | Some(Method::Ack));
    if is_ack || bans.is_banned(link.peer.ip(), surface.clock.now().unix_ms) {
        return;
    }
    let tag = format!("pmu{:x}", link.id.0);
    let reply = Reply {
        status: why.status(),
        reason: why.reason_phrase().as_bytes(),
        source: Some(link.peer),
        to_tag: Some(tag.as_bytes()),
        ..Reply::default()
    };
    let mut answer = Vec::with_capacity(head.len());
    write_response(&message, &reply, &mut answer);
    let _ = link.queue.push(&answer);
}
