//! pointsman

pub mod presence;
pub mod transaction;
