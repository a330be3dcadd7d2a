//! Where to send, in the order in which it is to be tried: names, groups of nodes, and health.

use smallvec::SmallVec;

use super::choice::{draw, in_weighted_order};
use super::hop::Endpoints;
use super::names::{Lookup, Sought};
use super::policy::{NextHop, Node};
use super::shared::Shared;

impl Shared {
    /// The endpoints of what is sought (RFC 3263); what is in trouble comes last.
    pub fn seek(&self, sought: &Sought<'_>, salt: u64, now_ms: u64) -> Lookup {
        let mut lookup = self.names.lookup(sought, salt, now_ms);
        if let Lookup::Found(endpoints) = &mut lookup {
            self.health.put_bad_last(endpoints, now_ms);
        }
        lookup
    }

    /// The endpoints of a group's nodes: by the nodes' priority and weight, then as each node's
    /// name says; what is in trouble comes last. Pending only where nothing at all is known.
    pub fn seek_group(&self, group: &NextHop, salt: u64, now_ms: u64) -> Lookup {
        if let [node] = group.nodes.as_slice() {
            return self.seek(&node.target.sought(), salt, now_ms);
        }
        let mut endpoints = Endpoints::new();
        let mut is_pending = false;
        for equals in group.nodes.chunk_by(|a, b| a.priority == b.priority) {
            let weights: SmallVec<[u16; 8]> = equals.iter().map(|node| node.weight).collect();
            let salt_of_group = draw(salt, u64::from(first_priority(equals)), u64::MAX);
            in_weighted_order(&weights, salt_of_group, |number| {
                let Some(node) = equals.get(number) else {
                    return;
                };
                match self.names.lookup(&node.target.sought(), salt, now_ms) {
                    Lookup::Found(found) => endpoints.extend(found),
                    Lookup::Pending => is_pending = true,
                    Lookup::Nothing => {}
                }
            });
        }
        match (endpoints.is_empty(), is_pending) {
            (true, true) => Lookup::Pending,
            (true, false) => Lookup::Nothing,
            _ => {
                self.health.put_bad_last(&mut endpoints, now_ms);
                Lookup::Found(endpoints)
            }
        }
    }
}

fn first_priority(equals: &[Node]) -> u16 {
    equals.first().map_or(0, |node| node.priority)
}
