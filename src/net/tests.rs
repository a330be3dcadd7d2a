//! What several tests of this folder need.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use smallvec::smallvec;

use super::*;
use crate::config::Config;
use crate::engine::Shared;
use crate::presence::{CallerClass, Directory};
use crate::proxy::{Outcome, Trace, TraceTexts};
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
        texts: TraceTexts::new([
            call_id.as_bytes(),
            b"sip:a@example.com",
            b"sip:b@example.com",
            b"",
        ]),
        source: (IpAddr::from([127, 0, 0, 1]), 5060).into(),
        class: CallerClass::Internal,
        callee: None,
        outcome: Outcome::Reject,
        reasons: smallvec![Reason::UnknownCallee],
        status: 480,
        setup_ms: 1,
        ring_ms: 0,
    }
}
