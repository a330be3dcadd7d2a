//! A request that was checked once (RFC 3261 §16.3) and is read without asking again.

use super::breadth;
use super::policy::Policy;
use super::rejection::Rejection;
use crate::message::{CSeq, Message, Method, NameAddr, Start, Uri, Via, check};
use crate::presence::Handle;
use crate::transaction::{BranchId, BranchKind};

/// Proof that a request is fit to be proxied, with what routing needs of it.
pub(super) struct ProxyRequest<'m> {
    pub message: Message<'m>,
    pub method: Method,
    pub uri: Uri<'m>,
    pub uri_bytes: &'m [u8],
    pub via: Via<'m>,
    pub from: NameAddr<'m>,
    pub to: NameAddr<'m>,
    pub cseq: CSeq<'m>,
    /// `None` where the header is missing; the copy gets 70 then.
    pub max_forwards: Option<u32>,
    /// How many branches may be active for it at once (RFC 5393 §5).
    pub breadth: u32,
    /// Who has proved to have sent it.
    pub authenticated: Option<Handle>,
}

impl<'m> ProxyRequest<'m> {
    /// Reasonable syntax, URI scheme (§16.3 steps 1 and 2), and what later steps need.
    pub(super) fn check(message: Message<'m>, via: Via<'m>) -> Result<Self, Rejection> {
        check(&message)?;
        let Start::Request { method, uri, .. } = message.start() else {
            return Err(Rejection::Malformed(
                crate::message::Fault::MalformedRequestLine,
            ));
        };
        let max_forwards = message.max_forwards()?.map(u32::from);
        let breadth = match method {
            Method::Ack => breadth::incoming(&message).unwrap_or(1),
            _ => breadth::incoming(&message)?,
        };
        Ok(Self {
            message,
            method,
            uri: message.parsed_uri()?,
            uri_bytes: uri,
            via,
            from: message.from_()?,
            to: message.to()?,
            cseq: message.cseq()?,
            max_forwards,
            breadth,
            authenticated: None,
        })
    }

    /// Whether the request came through here before with nothing changed that routing looks at
    /// (§16.3(4)): one of its Vias is ours and carries the same check.
    pub(super) fn is_looping(&self, policy: &Policy, check: u32) -> bool {
        self.message.has_via(&self.via, |via| {
            policy.is_our_address(via.host, via.port)
                && BranchId::read(via.branch).is_some_and(|branch| {
                    branch.kind != BranchKind::Stateless && branch.check == check
                })
        })
    }

    /// Whether it may be answered here but not passed on (§16.3(3)).
    pub(super) fn is_at_its_end(&self) -> bool {
        self.max_forwards == Some(0)
    }

    /// Whether the request belongs to a dialog or claims to (§12.2: the To has a tag).
    pub(super) fn is_in_dialog(&self) -> bool {
        self.to.tag.is_some()
    }
}
