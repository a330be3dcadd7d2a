//! The next hop of a target whose first one fails (RFC 3263 §4.3), and the next targets.

use super::branch::Attempt;
use super::carry_out::Source;
use super::forward::Origin;
use super::invite::{Branch, Cancel};
use super::response::Failed;
use super::route::Routed;
use super::{InviteKey, Proxy};
use crate::message::Index;

impl Proxy {
    /// Tries the next hop of a branch that timed out, was answered 503, or could not be sent;
    /// whether there was one. A caller who gave up, and a branch that we gave up, try nothing.
    pub(super) fn fail_over(&mut self, key: InviteKey, leg: u8, failed: &Failed<'_, '_>) -> bool {
        let is_of_hop = match failed {
            Failed::Answered(message) => message.status() == Some(503),
            Failed::TimedOut | Failed::Transport => true,
        };
        let Some(invite) = self.invites.get_mut(key).filter(|i| !i.is_cancelled) else {
            return false;
        };
        let Some(branch) = invite
            .branch(leg)
            .filter(|branch| branch.given_up.is_none())
        else {
            return false;
        };
        if !is_of_hop {
            return false;
        }
        let Some(retry) = branch.retry.take() else {
            return false;
        };
        let attempt = Attempt {
            uri: None,
            callee: branch.callee,
            ring_for_s: branch.ring_for.map(|ms| (ms / 1_000) as u16),
            is_divert: false,
        };
        self.count(|c| &c.failovers);
        self.scratch.lines.clear();
        self.scratch.tail.clear();
        let is_sent = self.with_received(key, leg, |proxy, source| {
            let none = Routed::default();
            proxy.start_branch(key, source, &none, &attempt, &retry.target)
        });
        self.settle_invite(key);
        is_sent == Some(true)
    }

    /// A hop has been silent for long: the next one is tried. Should the silent one still answer,
    /// it is cancelled, or wins the call if it is first.
    pub(super) fn supersede(&mut self, key: InviteKey, leg: u8) {
        if !self.fail_over(key, leg, &Failed::TimedOut) {
            return;
        }
        if let Some(branch) = self.invites.get_mut(key).and_then(|i| i.branch(leg)) {
            branch.is_superseded = true;
            branch.cancel = Cancel::Wanted;
        }
    }

    /// Tries the targets that waited for the others to fail.
    pub(super) fn try_waiting(&mut self, key: InviteKey, leg: u8) -> Option<()> {
        let story = self.story_of(key)?;
        let waiting = std::mem::take(&mut story.waiting);
        let failure = story.failure;
        if waiting.is_empty() {
            return None;
        }
        let branch = self.invites.get(key)?.branches.get(usize::from(leg))?;
        let attempt = Attempt {
            uri: None,
            callee: branch.callee,
            ring_for_s: branch.ring_for.map(|ms| (ms / 1_000) as u16),
            is_divert: false,
        };
        self.with_received(key, leg, |proxy, source| {
            proxy.try_targets(key, source, &Routed::default(), &attempt, waiting.into());
        })?;
        if let Some(story) = self.story_of(key) {
            story.failure = story.failure.or(failure);
        }
        Some(())
    }

    /// Lets `act` work on the request as it came in, rebuilt from what a branch sent.
    pub(super) fn with_received<R>(
        &mut self,
        key: InviteKey,
        leg: u8,
        act: impl FnOnce(&mut Self, &Source<'_>) -> R,
    ) -> Option<R> {
        let branch = self.invites.get(key)?.branches.get(usize::from(leg))?;
        let received = branch.received(&mut self.scratch)?;
        let mut index = Index::new();
        let message = index.parse(&received).ok()?;
        let source = Source {
            message,
            origin: Origin::Stored,
        };
        Some(act(self, &source))
    }
}

impl Branch {
    /// The request as it came in, but stamped and counted, with the Request-URI that was dialled.
    pub(super) fn received(&self, scratch: &mut super::Scratch) -> Option<Vec<u8>> {
        let own_bytes = self.own_bytes as usize;
        received(&self.sent, own_bytes, self.dialled.as_deref(), scratch)
    }
}

/// What was sent, without what is ours alone, and with another Request-URI where one is given.
pub(super) fn received(
    sent: &[u8],
    own_bytes: usize,
    uri: Option<&[u8]>,
    scratch: &mut super::Scratch,
) -> Option<Vec<u8>> {
    let message = scratch.stored.parse(sent).ok()?;
    let edits = &mut scratch.edits;
    edits.clear();
    if let Some(uri) = uri {
        edits.replace(message.uri_span(), |out| out.extend_from_slice(uri));
    }
    let top = message.first_header_at();
    edits.remove(top..top + own_bytes);
    let mut received = Vec::with_capacity(sent.len());
    edits.apply(message.bytes(), &mut received);
    Some(received)
}
