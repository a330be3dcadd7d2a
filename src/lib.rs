//! pointsman

pub mod message;
pub mod presence;
pub mod store;
pub mod transaction;
