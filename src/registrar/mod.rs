//! RFC 3261 §10: which contacts a subscriber has bound to their address-of-record, so that calls
//! find their phones without a PBX.
//!
//! A REGISTER is read ([`Registration`]), worked out against the bindings there are and committed as
//! a whole or not at all ([`Locations::register`]); the call path asks [`Locations::targets`], which
//! takes no lock. An acknowledged registration is in the store. Nothing here knows sockets, the clock
//! or transactions' state: the proxy brings the request and the time, and sends what is answered.

mod answer;
mod binding;
mod compare;
mod contact;
mod locations;
mod record;
mod refusal;
mod registration;
mod table;
mod targets;
mod update;

pub use answer::write_headers;
pub use binding::{Binding, Bindings, Flow, Reach};
pub use compare::is_same_uri;
pub use contact::{Contact, Contacts};
pub use locations::{Locations, Registered};
pub use refusal::Refusal;
pub use registration::{Arrived, Extensions, Registration, check_extensions};
pub use targets::{Target, Targets, request_uri};

/// What the administrator allows registrations (`[registrar]`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// A shorter interval is answered 423, unless it is an hour or more; seconds.
    pub min_expires_s: u32,
    /// What a contact gets that asks for no interval, seconds.
    pub default_expires_s: u32,
    /// What a contact gets that asks for more, seconds.
    pub max_expires_s: u32,
    /// How many bindings one address-of-record may have.
    pub bindings_per_aor: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            min_expires_s: 60,
            default_expires_s: 3_600,
            max_expires_s: 7_200,
            bindings_per_aor: 16,
        }
    }
}

#[cfg(test)]
mod tests;
