//! Where a request to a subscriber goes: the bindings that can be reached, the best first
//! (RFC 3261 §16.5).

use std::borrow::Cow;
use std::sync::Arc;

use smallvec::SmallVec;

use super::binding::{Bindings, Reach};
use crate::message::{Params, Uri};

/// The target set of one subscriber, sorted by falling q. Holds the bindings as they were when it
/// was asked for.
#[derive(Debug, Clone, Default)]
pub struct Targets {
    bindings: Option<Arc<Bindings>>,
    /// Index into the bindings, and how each is reached right now.
    order: SmallVec<[(u16, Reach); 4]>,
}

/// One contact to send a request to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target<'a> {
    /// The Request-URI: the contact without what a Request-URI may not have (RFC 3261 §19.1.1).
    pub uri: Cow<'a, [u8]>,
    /// The Route set, values joined by commas; empty without one (RFC 3327 §5.4).
    pub path: &'a [u8],
    /// How it is reached; a flow that is named is open.
    pub reach: Reach,
    /// The preference in thousandths; targets of the same are tried at once.
    pub q_thousandths: u16,
    /// The instance of the phone; empty without one.
    pub instance: &'a [u8],
    /// Which of its instance's flows it is; 0 without outbound. Of the targets with one instance
    /// and a `reg_id`, a request goes to one at a time (RFC 5626 §7).
    pub reg_id: u32,
}

impl Targets {
    pub(super) fn of(bindings: Arc<Bindings>, mut order: SmallVec<[(u16, Reach); 4]>) -> Self {
        let rank = |index: u16| {
            let binding = bindings.list.get(usize::from(index));
            binding.map(|binding| {
                let newest = std::cmp::Reverse(binding.registered_unix_ms);
                (std::cmp::Reverse(binding.q_thousandths), newest)
            })
        };
        order.sort_by_key(|(index, _)| rank(*index));
        Self {
            bindings: Some(bindings),
            order,
        }
    }

    /// Whether nobody can be reached.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// The targets, the best first; the newest first among equals.
    pub fn iter(&self) -> impl Iterator<Item = Target<'_>> {
        let list = self
            .bindings
            .iter()
            .flat_map(|bindings| bindings.list.iter());
        let list: SmallVec<[_; 16]> = list.collect();
        self.order.iter().filter_map(move |(index, reach)| {
            let binding = list.get(usize::from(*index))?;
            let texts = binding.texts();
            Some(Target {
                uri: request_uri(texts.uri),
                path: texts.path,
                reach: *reach,
                q_thousandths: binding.q_thousandths,
                instance: super::binding::instance_of(texts.params),
                reg_id: binding.reg_id,
            })
        })
    }
}

/// A contact's URI as a Request-URI: headers and the `method` parameter are not allowed there and
/// are left out (RFC 3261 §16.6(2), §19.1.1).
pub fn request_uri(contact: &[u8]) -> Cow<'_, [u8]> {
    let Ok(uri) = Uri::parse(contact) else {
        return Cow::Borrowed(contact);
    };
    let has_method = Params::new(uri.params).any(|param| param.is(b"method"));
    let end = match uri.headers.is_empty() {
        true => contact
            .strip_suffix(b"?")
            .map_or(contact.len(), <[u8]>::len),
        false => contact.len().saturating_sub(uri.headers.len() + 1),
    };
    let bare = contact.get(..end).unwrap_or(contact);
    if !has_method {
        return Cow::Borrowed(bare);
    }
    let before = bare.len().saturating_sub(uri.params.len());
    let mut kept = bare.get(..before).unwrap_or_default().to_vec();
    for param in Params::new(uri.params).filter(|param| !param.is(b"method")) {
        kept.extend_from_slice(uri.params.get(param.span).unwrap_or_default());
    }
    Cow::Owned(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_uri_has_no_headers_and_no_method() {
        for (contact, uri) in [
            ("sip:a@b", "sip:a@b"),
            (
                "sip:a@b;transport=tcp?Route=%3Csip:c%3E",
                "sip:a@b;transport=tcp",
            ),
            ("sip:a@b;x=1;method=INVITE;y?p=q", "sip:a@b;x=1;y"),
            ("sip:a@b;method=INVITE", "sip:a@b"),
            ("sip:a@b?", "sip:a@b"),
            ("tel:+4930", "tel:+4930"),
        ] {
            assert_eq!(
                *request_uri(contact.as_bytes()),
                *uri.as_bytes(),
                "{contact}"
            );
        }
    }
}
