//! pointsman

pub mod presence;
