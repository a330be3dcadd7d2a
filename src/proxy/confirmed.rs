//! INVITEs that were refused and acknowledged: nothing is left to do but to absorb what comes again
//! (RFC 3261 §17.2.1, state Confirmed). The context gives its memory back at once, so that the next
//! call finds it in the cache; the entry that finds it stays until timer I.

use super::{InviteKey, Owner, Proxy};
use crate::transaction::{InviteClient, InviteServer};

impl Proxy {
    /// Forgets a context that is confirmed and has no branch that may still hear something; whether
    /// it was one.
    pub(super) fn forget_confirmed(&mut self, key: InviteKey) -> bool {
        let Some(invite) = self.invites.get(key) else {
            return false;
        };
        let InviteServer::Confirmed { timer_i } = invite.server else {
            return false;
        };
        let mut branches = invite.branches.iter();
        if !branches.all(|branch| branch.client == InviteClient::Terminated) {
            return false;
        }
        let owner = Owner::Confirmed(invite.server_key);
        self.servers.insert(invite.server_key, owner);
        self.wheel.insert(timer_i.max(self.now.ms), owner);
        self.confirmed += 1;
        self.invites.remove(key);
        true
    }

    /// Timer I: the transaction ends.
    pub(super) fn end_confirmed(&mut self, server_key: u64) {
        if self.servers.get(server_key) == Some(Owner::Confirmed(server_key)) {
            self.servers.remove(server_key);
            self.confirmed = self.confirmed.saturating_sub(1);
        }
    }
}
