//! Requests that wait for a name to be resolved. The call path never waits: the request is kept as
//! it came, and handled anew when the answer is there. A call of which a branch has failed waits in
//! its context.

use super::rejection::Rejection;
use super::{Arrival, InviteKey, Owner, Proxy};
use crate::message::{Index, Message};
use crate::transaction::Ms;

/// How many requests wait at most, and with how many bytes.
const PARKED_LIMIT: usize = 1_024;
const PARKED_LIMIT_BYTES: usize = 4 << 20;
/// How long a request waits before it is refused.
const PATIENCE_MS: Ms = 5_000;

/// The requests that wait, oldest first.
#[derive(Default)]
pub(super) struct Parked {
    requests: Vec<Request>,
    bytes: usize,
    /// Calls whose next target waits, each with the end of its patience.
    calls: Vec<(InviteKey, Ms)>,
}

struct Request {
    arrival: Arrival,
    /// The server transaction that it will have: a retransmission waits only once.
    server_key: u64,
    until_ms: Ms,
    bytes: Box<[u8]>,
}

impl Parked {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.requests.len() + self.calls.len()
    }

    fn is_waiting(&self, server_key: u64) -> bool {
        self.requests
            .iter()
            .any(|request| request.server_key == server_key)
    }

    fn take_all(&mut self) -> Vec<Request> {
        self.bytes = 0;
        std::mem::take(&mut self.requests)
    }

    fn push(&mut self, request: Request) -> bool {
        let bytes = self.bytes + request.bytes.len();
        let has_room = self.requests.len() < PARKED_LIMIT && bytes <= PARKED_LIMIT_BYTES;
        if has_room {
            self.bytes = bytes;
            self.requests.push(request);
        }
        has_room
    }
}

impl Proxy {
    /// Keeps a request until its target is resolved. One that waits already, or for which there is
    /// no room, is dropped: its retransmission comes again.
    ///
    /// # Errors
    /// It was kept before and its patience is over.
    pub(super) fn park(
        &mut self,
        arrival: &Arrival,
        message: &Message<'_>,
        server_key: u64,
    ) -> Result<(), Rejection> {
        self.count(|c| &c.names_pending);
        let until_ms = match self.resumed_until_ms {
            Some(until_ms) if until_ms <= self.now.ms => return Err(Rejection::Unresolvable),
            Some(until_ms) => until_ms,
            None => self.now.ms + PATIENCE_MS,
        };
        if self.parked.is_waiting(server_key) {
            return Ok(());
        }
        let is_kept = self.parked.push(Request {
            arrival: *arrival,
            server_key,
            until_ms,
            bytes: message.bytes().into(),
        });
        if is_kept {
            self.wheel.insert(until_ms, Owner::Parked);
        }
        Ok(())
    }

    /// Lets a call wait for the name of its next target.
    pub(super) fn park_call(&mut self, key: InviteKey, leg: u8) {
        self.count(|c| &c.names_pending);
        let until_ms = self.resumed_until_ms.unwrap_or(self.now.ms + PATIENCE_MS);
        if let Some(story) = self.story_of(key) {
            story.waits_after = Some(leg);
            self.parked.calls.push((key, until_ms));
            self.wheel.insert(until_ms, Owner::Parked);
        }
    }

    /// Names were resolved, changes were made, or somebody's patience is over: handles everything that
    /// waits anew.
    pub fn handle_resolved(&mut self) {
        self.take_code_answers();
        for (key, until_ms) in std::mem::take(&mut self.parked.calls) {
            self.resumed_until_ms = Some(until_ms);
            self.resume_call(key);
        }
        let mut index = Index::new();
        for request in self.parked.take_all() {
            self.resumed_until_ms = Some(request.until_ms);
            if let Ok(message) = index.parse(&request.bytes) {
                self.handle_request(&request.arrival, message);
            }
        }
        self.resumed_until_ms = None;
    }
}
