//! Why a REGISTER is not carried out.

use std::io::Write as _;

use super::Rules;
use super::registration::unknown_options;
use crate::message::Message;

/// A registration that changed nothing, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Require names something we do not do (RFC 3261 §8.2.2.3).
    BadExtension,
    /// A proxy added a Path that the phone does not know of (RFC 3327 §5.3).
    PathUnsupported,
    /// The address-of-record is nobody's (RFC 3261 §10.3 step 5).
    NotFound,
    /// A To that can be no address-of-record (RFC 3261 §10.3): neither a SIP URI nor a number.
    MalformedTo,
    /// A Contact that cannot be read.
    MalformedContact,
    /// `*` beside other contacts, or without `Expires: 0` (step 6).
    MisusedWildcard,
    /// A contact with `reg-id` beside another that is to be bound (RFC 5626 §6).
    SeveralFlows,
    /// An interval below the minimum (step 7).
    TooBrief,
    /// The phone asks for a flow, and the first proxy does not keep flows (RFC 5626 §6).
    FirstHopLacksOutbound,
    /// A newer request of the same phone was carried out already (step 7).
    OutOfOrder,
    /// More bindings than an address-of-record may have.
    TooManyBindings,
    /// A contact with its path is longer than what is kept.
    ContactTooLong,
    /// No room for more bindings of anybody.
    Full,
    /// The store did not take it (step 7).
    NotStored,
}

impl Refusal {
    /// The response status; never 6xx (RFC 3261 §10.3).
    pub const fn status(self) -> u16 {
        match self {
            Self::BadExtension | Self::PathUnsupported => 420,
            Self::NotFound => 404,
            Self::TooManyBindings | Self::ContactTooLong => 403,
            Self::MalformedTo
            | Self::MalformedContact
            | Self::MisusedWildcard
            | Self::SeveralFlows => 400,
            Self::TooBrief => 423,
            Self::FirstHopLacksOutbound => 439,
            Self::OutOfOrder | Self::NotStored => 500,
            Self::Full => 503,
        }
    }

    /// The reason phrase.
    pub const fn reason_phrase(self) -> &'static str {
        match self {
            Self::BadExtension | Self::PathUnsupported => "Bad Extension",
            Self::NotFound => "Not Found",
            Self::TooManyBindings => "Too Many Bindings",
            Self::ContactTooLong => "Contact Too Long",
            Self::MalformedTo => "Malformed To",
            Self::MalformedContact => "Malformed Contact",
            Self::MisusedWildcard => "Misused Contact Wildcard",
            Self::SeveralFlows => "Several Contacts With reg-id",
            Self::TooBrief => "Interval Too Brief",
            Self::FirstHopLacksOutbound => "First Hop Lacks Outbound Support",
            Self::OutOfOrder => "Registration Out Of Order",
            Self::NotStored => "Server Internal Error",
            Self::Full => "Service Unavailable",
        }
    }

    /// The name in logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::BadExtension => "bad_extension",
            Self::PathUnsupported => "path_unsupported",
            Self::NotFound => "not_found",
            Self::TooManyBindings => "too_many_bindings",
            Self::ContactTooLong => "contact_too_long",
            Self::MalformedTo => "malformed_to",
            Self::MalformedContact => "malformed_contact",
            Self::MisusedWildcard => "misused_wildcard",
            Self::SeveralFlows => "several_flows",
            Self::TooBrief => "too_brief",
            Self::FirstHopLacksOutbound => "first_hop_lacks_outbound",
            Self::OutOfOrder => "out_of_order",
            Self::NotStored => "not_stored",
            Self::Full => "full",
        }
    }

    /// Appends the header lines that go with it.
    pub fn write_headers(
        self,
        message: &Message<'_>,
        rules: &Rules,
        retry_after_s: u32,
        out: &mut Vec<u8>,
    ) {
        match self {
            Self::BadExtension => {
                for option in unknown_options(message) {
                    out.extend_from_slice(b"Unsupported: ");
                    out.extend_from_slice(option);
                    out.extend_from_slice(b"\r\n");
                }
            }
            Self::PathUnsupported => out.extend_from_slice(b"Unsupported: path\r\n"),
            Self::TooBrief => {
                let _ = write!(out, "Min-Expires: {}\r\n", rules.min_expires_s);
            }
            Self::Full | Self::NotStored => {
                let _ = write!(out, "Retry-After: {retry_after_s}\r\n");
            }
            _ => {}
        }
    }
}
