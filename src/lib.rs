//! pointsman

pub mod presence;
pub mod store;
pub mod transaction;
