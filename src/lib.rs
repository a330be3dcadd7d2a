//! pointsman

pub mod call;
pub mod config;
pub mod engine;
pub mod message;
pub mod net;
pub mod presence;
pub mod proxy;
pub mod routing;
pub mod store;
pub mod transaction;
