//! Bounds of listings.

use super::problem::{Failure, Kind};

/// How many entries a listing has where none is asked for.
const DEFAULT: usize = 100;
/// The most entries of one listing.
pub(super) const MAX: usize = 1_000;

/// The number of entries that was asked for.
///
/// # Errors
/// 0, or more than [`MAX`].
pub(super) fn limit(asked: Option<usize>) -> Result<usize, Failure> {
    match asked {
        None => Ok(DEFAULT),
        Some(limit @ 1..=MAX) => Ok(limit),
        Some(_) => Err(Failure::field(
            Kind::Malformed,
            "limit",
            format!("must be from 1 to {MAX}"),
        )),
    }
}
