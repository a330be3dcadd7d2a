//! Requests that the server challenges: sent again with credentials, once (RFC 3261 §22.2, §22.3).

use super::calls::Stage;
use super::digest;
use super::generator::Generator;
use super::ident::Ident;
use super::outbox::Hop;
use super::writer::Request;
use crate::message::{Message, Method};

impl Generator {
    /// Sends a request that was challenged once more, with credentials where there are
    /// some; whether it did. A challenge to credentials is their refusal.
    pub(super) fn authorize(
        &mut self,
        now_ns: u64,
        ident: Ident,
        (request, message): (Request, &Message<'_>),
    ) -> bool {
        let Some(call) = self.calls.get(ident) else {
            return false;
        };
        if !matches!(message.status(), Some(401 | 407)) {
            return false;
        }
        self.tally.counts.challenged += u64::from(call.is_measured);
        let Some(item) = self.plan.items.get(usize::from(call.item)) else {
            return false;
        };
        let login = item.targets.login(call.user);
        let account = match (request, &self.plan.credentials) {
            (Request::Register, _) => digest::Account {
                user: &login,
                password: item.targets.password(call.user),
            },
            (_, Some(credentials)) => digest::Account {
                user: credentials.user.as_bytes(),
                password: credentials.password.as_bytes(),
            },
            (_, None) => return false,
        };
        let is_refused = match request {
            Request::Bye | Request::Unsubscribe => call.is_bye_authorized,
            // What was cancelled is not wanted any more.
            _ => call.is_authorized || call.stage == Stage::Cancelling,
        };
        if is_refused || account.password.is_empty() {
            return false;
        }
        let written = ident.write(self.plan.seed);
        let user = item.targets.name(call.user);
        let mut sent = Vec::new();
        self.writer
            .write_request(request, call, &written, user, &mut sent);
        let mut line = sent.split(|byte| *byte == b' ');
        let (method, uri) = (line.next().unwrap_or_default(), line.next());
        let asked = (method, uri.unwrap_or_default());
        let Some(line) = digest::authorization(message, &account, asked, &written) else {
            return false;
        };
        if matches!(request, Request::Bye | Request::Unsubscribe) {
            (call.bye_authorization, call.is_bye_authorized) = (line, true);
        } else {
            (call.authorization, call.is_authorized) = (line, true);
            call.request_due_ns = now_ns;
        }
        if request == Request::Invite {
            call.stage = Stage::Calling;
        }
        self.send_first(now_ns, ident, request);
        true
    }

    /// The challenge once more, to a request that has been sent with credentials since.
    pub(super) fn on_challenge_again(&mut self, hop: Hop, ident: Ident, message: &Message<'_>) {
        let status = message.status().unwrap_or_default();
        if status < 200 {
            return;
        }
        let Some(call) = self.calls.get(ident) else {
            return;
        };
        self.tally.counts.repeated_answers += u64::from(call.is_measured);
        if message
            .cseq()
            .is_ok_and(|cseq| cseq.method == Method::Invite)
        {
            self.acknowledge_late_failure(hop, message);
        }
    }
}
