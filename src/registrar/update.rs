//! What a REGISTER makes of the bindings there are: all of it, or nothing (RFC 3261 §10.3 steps 6
//! and 7, RFC 5626 §6).

use std::num::NonZeroU64;

use super::binding::{Binding, Texts};
use super::compare::is_same_uri;
use super::contact::{Contact, Contacts};
use super::refusal::Refusal;
use super::registration::Registration;

/// The slot of a binding that the store has not seen.
pub(super) const NO_SLOT: u32 = u32::MAX;

/// The bindings as they will be. Those that were made or refreshed carry the transaction and the
/// time of the request; a new one has [`NO_SLOT`].
pub(super) fn updated(
    current: Vec<Binding>,
    registration: &Registration<'_>,
    is_open: &dyn Fn(NonZeroU64) -> bool,
) -> Result<Vec<Binding>, Refusal> {
    let mut bindings = current;
    match &registration.contacts {
        Contacts::Query => {}
        Contacts::Everything => {
            for binding in &bindings {
                check_order(binding, registration)?;
            }
            bindings.clear();
        }
        Contacts::List(list) => {
            for contact in list {
                apply(&mut bindings, contact, registration)?;
            }
        }
    }
    make_room(&mut bindings, registration, is_open)?;
    Ok(bindings)
}

/// Adds, refreshes or removes one contact.
fn apply(
    bindings: &mut Vec<Binding>,
    contact: &Contact<'_>,
    registration: &Registration<'_>,
) -> Result<(), Refusal> {
    let found = find(bindings, contact);
    if let Some(binding) = found.and_then(|at| bindings.get(at)) {
        check_order(binding, registration)?;
    }
    match (found, registration.interval_s(contact)) {
        (None, 0) => {}
        (Some(at), 0) => drop(bindings.remove(at)),
        (found, interval_s) => {
            let binding = bound(contact, registration, interval_s)?;
            match found.and_then(|at| bindings.get_mut(at)) {
                Some(present) => {
                    let slot = present.slot;
                    *present = Binding { slot, ..binding };
                }
                None => bindings.push(binding),
            }
        }
    }
    Ok(())
}

/// The binding that a contact is about: by instance and flow where it is registered by them, else
/// by its URI.
fn find(bindings: &[Binding], contact: &Contact<'_>) -> Option<usize> {
    let has_uri = |binding: &Binding| is_same_uri(binding.uri(), contact.uri);
    if contact.reg_id == 0 {
        return bindings.iter().position(has_uri);
    }
    let is_flow = |binding: &Binding| {
        binding.reg_id == contact.reg_id
            && binding.instance().eq_ignore_ascii_case(contact.instance())
    };
    let plain = |binding: &Binding| binding.reg_id == 0 && has_uri(binding);
    let flow = bindings.iter().position(is_flow);
    flow.or_else(|| bindings.iter().position(plain))
}

/// A request of the same phone that is not newer than the last one fails; the very same request
/// that comes again, or a second contact of one, does not.
fn check_order(binding: &Binding, registration: &Registration<'_>) -> Result<(), Refusal> {
    let is_same_phone = binding.texts().call_id == registration.call_id;
    let is_same_request =
        binding.transaction == registration.transaction && binding.cseq == registration.cseq;
    match is_same_phone && registration.cseq <= binding.cseq && !is_same_request {
        true => Err(Refusal::OutOfOrder),
        false => Ok(()),
    }
}

fn bound(
    contact: &Contact<'_>,
    registration: &Registration<'_>,
    interval_s: u32,
) -> Result<Binding, Refusal> {
    let texts = Texts {
        uri: contact.uri,
        params: &contact.params,
        path: &registration.path,
        call_id: registration.call_id,
        agent: registration.agent,
    };
    let (texts, ends) = texts.packed().ok_or(Refusal::ContactTooLong)?;
    let now_unix_ms = registration.now_unix_ms;
    Ok(Binding {
        texts,
        ends,
        cseq: registration.cseq,
        q_thousandths: contact.q_thousandths,
        reg_id: contact.reg_id,
        reach: registration.reach(contact),
        expires_unix_ms: now_unix_ms.saturating_add(i64::from(interval_s) * 1_000),
        registered_unix_ms: now_unix_ms,
        transaction: registration.transaction,
        slot: NO_SLOT,
    })
}

/// Where there are too many, those whose flow is gone make room (RFC 5626 §6 lets a registrar drop
/// them); if that is not enough, the request fails.
fn make_room(
    bindings: &mut Vec<Binding>,
    registration: &Registration<'_>,
    is_open: &dyn Fn(NonZeroU64) -> bool,
) -> Result<(), Refusal> {
    let limit = registration.rules.bindings_per_aor;
    let is_new = |binding: &Binding| binding.slot == NO_SLOT;
    if bindings.len() <= limit || !bindings.iter().any(is_new) {
        return Ok(());
    }
    while bindings.len() > limit {
        let gone = |binding: &Binding| !is_new(binding) && !binding.is_reachable(is_open);
        let at = bindings
            .iter()
            .position(gone)
            .ok_or(Refusal::TooManyBindings)?;
        bindings.remove(at);
    }
    Ok(())
}
