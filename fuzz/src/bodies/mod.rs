//! The bodies of the fuzz targets: functions of bytes that panic where a rule is broken.

#[path = "../../../tests/harness/mod.rs"]
pub mod harness;

mod layer;
mod sequence;

pub use layer::{framing, headers, message, uri};
pub use sequence::sequence;
