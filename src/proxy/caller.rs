//! Who calls: the identity that is believed, and the caller class it gives.

use smallvec::SmallVec;

use super::policy::{Peer, Policy};
use super::privacy::{Wishes, is_anonymous_uri};
use super::request::ProxyRequest;
use super::route::is_ours;
use crate::message::{Name, NameAddr, Scheme, Uri};
use crate::presence::{Directory, Handle};
use crate::routing::CallerClass;

/// A caller, with texts of its own so that it can outlive the message.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub class: CallerClass,
    pub subscriber: Option<Handle>,
    /// The number in canonical form, or the user name.
    pub key: SmallVec<[u8; 24]>,
    /// The identity's URI; empty where it is withheld.
    pub uri: SmallVec<[u8; 48]>,
}

/// The caller of an INVITE. P-Asserted-Identity counts where the peer is trusted with it
/// (RFC 3325 §5), else the From; a subscriber in one of our domains is internal, unless the peer
/// is declared external. Who has authenticated is whom they proved to be, whatever the From says.
/// Who asks for privacy is anonymous whatever is asserted (RFC 3323).
pub(super) fn identify(
    request: &ProxyRequest<'_>,
    peer: &Peer,
    policy: &Policy,
    directory: &Directory,
) -> Identity {
    let asserted = peer
        .trust_identity
        .then(|| request.message.values(Name::PAssertedIdentity).next())
        .flatten()
        .and_then(|value| NameAddr::parse(value.bytes).ok());
    let address = asserted.unwrap_or(request.from);
    let uri = match asserted {
        Some(asserted) => Uri::parse(asserted.uri).ok(),
        None => request.message.from_uri().ok(),
    };
    let user = uri.as_ref().map(Uri::unescaped_user).unwrap_or_default();
    let is_anonymous = wants_privacy(request)
        || asserted.is_none() && uri.is_some_and(|uri| is_anonymous_uri(&uri, &request.from));
    let claimed = uri
        .filter(|uri| !peer.external && (uri.scheme == Scheme::Tel || is_ours(uri, policy)))
        .and_then(|_| directory.find_dialled(&user, &policy.plan));
    let subscriber = request.authenticated.or(claimed);
    let class = match subscriber {
        Some(_) => CallerClass::Internal,
        None if is_anonymous => CallerClass::Anonymous,
        None => CallerClass::External,
    };
    let mut buffer = Default::default();
    let mut key = SmallVec::from_slice(policy.plan.normalise_dialled(&user, &mut buffer));
    let mut uri = SmallVec::from_slice(address.uri);
    let is_other = claimed != subscriber && !is_anonymous;
    let own = subscriber.filter(|_| is_other);
    if let Some(profile) = own.and_then(|own| directory.profile_guard(own)) {
        let host = policy.domains.first().map_or("localhost", |domain| domain);
        key = SmallVec::from_slice(profile.id().to_ascii_lowercase().as_bytes());
        uri = SmallVec::from_slice(format!("sip:{}@{host}", profile.id()).as_bytes());
    }
    Identity {
        class,
        subscriber,
        key,
        uri,
    }
}

/// `Privacy: id`, `user` or `header` (RFC 3323 §4.2, RFC 3325 §7).
fn wants_privacy(request: &ProxyRequest<'_>) -> bool {
    let wishes = Wishes::of(&request.message);
    !wishes.none && (wishes.id || wishes.user || wishes.header)
}
