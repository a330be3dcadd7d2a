//! What several tests of this folder need.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use smallvec::smallvec;

use super::*;
use crate::config::Config;
use crate::engine::Shared;
use crate::presence::{CallerClass, Directory};
use crate::proxy::{Outcome, Trace};
use crate::routing::Reason;

/// Shared tables of one shard with the default configuration.
pub(super) fn shared() -> Shared {
    let config = Config::parse(Path::new(""), "", []).unwrap();
    let (policy, _) = check(&config).unwrap();
    Shared::new(policy, Arc::new(Directory::new(1)), [0; 32], 1)
}

/// A rejected call.
pub(super) fn trace(call_id: &str) -> Trace {
    Trace {
        at_unix_ms: 0,
        call_id: call_id.into(),
        from: "sip:a@example.com".into(),
        to: "sip:b@example.com".into(),
        source: (IpAddr::from([127, 0, 0, 1]), 5060).into(),
        class: CallerClass::Internal,
        callee: None,
        outcome: Outcome::Reject,
        reasons: smallvec![Reason::UnknownCallee],
        target: "".into(),
        status: 480,
        setup_ms: 1,
        ring_ms: 0,
    }
}
