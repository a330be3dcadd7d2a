//! Why a SUBSCRIBE is not accepted.

use std::io::Write as _;

use super::Rules;

/// A shorter interval is asked for in vain, unless it is 0 (RFC 6665 §4.2.1.1).
pub(super) const MIN_EXPIRES_S: u32 = 60;

/// A subscription that was not made or refreshed, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The watcher does not take what the package has (RFC 6665 §4.2.1.1).
    NotAcceptable,
    /// An interval below the minimum.
    TooBrief,
    /// No Contact, several, or one that cannot be read.
    MalformedContact,
    /// Nobody is proven to ask.
    Unproven,
    /// The watched person shows nothing to this watcher.
    NotShown,
    /// Refers to a subscription that there is not.
    Gone,
    /// A CSeq that is not higher than the last one (RFC 3261 §12.2.2).
    OutOfOrder,
    /// The dialog's texts are longer than what is kept.
    TooLong,
    /// The watcher has as many as one may have.
    TooMany,
    /// No room for more subscriptions of anybody.
    Full,
    /// The store did not take it.
    NotStored,
}

impl Refusal {
    /// The response status.
    pub const fn status(self) -> u16 {
        match self {
            Self::MalformedContact => 400,
            Self::Unproven | Self::NotShown | Self::TooMany => 403,
            Self::NotAcceptable => 406,
            Self::TooBrief => 423,
            Self::Gone => 481,
            Self::OutOfOrder | Self::NotStored => 500,
            Self::Full => 503,
            Self::TooLong => 513,
        }
    }

    /// The reason phrase.
    pub const fn reason_phrase(self) -> &'static str {
        match self {
            Self::MalformedContact => "Malformed Contact",
            Self::Unproven => "Not Proven To Be A Subscriber",
            Self::NotShown => "Forbidden",
            Self::TooMany => "Too Many Subscriptions",
            Self::NotAcceptable => "Not Acceptable",
            Self::TooBrief => "Interval Too Brief",
            Self::Gone => "Subscription Does Not Exist",
            Self::OutOfOrder => "Request Out Of Order",
            Self::NotStored => "Server Internal Error",
            Self::Full => "Service Unavailable",
            Self::TooLong => "Dialog Too Long",
        }
    }

    /// The name in logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::MalformedContact => "malformed_contact",
            Self::Unproven => "unproven",
            Self::NotShown => "not_shown",
            Self::TooMany => "too_many",
            Self::NotAcceptable => "not_acceptable",
            Self::TooBrief => "too_brief",
            Self::Gone => "gone",
            Self::OutOfOrder => "out_of_order",
            Self::NotStored => "not_stored",
            Self::Full => "full",
            Self::TooLong => "too_long",
        }
    }

    /// Appends the header lines that go with it.
    pub fn write_headers(self, rules: &Rules, retry_after_s: u32, out: &mut Vec<u8>) {
        match self {
            Self::TooBrief => {
                let _ = write!(out, "Min-Expires: {MIN_EXPIRES_S}\r\n");
            }
            Self::Full | Self::NotStored => {
                let _ = write!(out, "Retry-After: {retry_after_s}\r\n");
            }
            Self::NotAcceptable => {
                let types = rules.packages.iter().map(super::Package::content_type);
                let types: Vec<_> = types.collect();
                let _ = write!(out, "Accept: {}\r\n", types.join(", "));
            }
            _ => {}
        }
    }
}
