//! pointsman

pub mod message;
pub mod presence;
pub mod routing;
pub mod store;
pub mod transaction;
