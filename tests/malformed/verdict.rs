//! What becomes of a message: asked of `check`, of the engine and of the stream framer.

use crate::harness::*;
use pointsman::message::{Fault, Frame, Framer, Index, LARGEST_BYTES, check};
use std::cell::RefCell;

const BOB: &str = r#"{"id":"bob","display_name":"Bob"}"#;

/// What the engine does with a datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It went on, as these bytes.
    Relayed(Vec<u8>),
    /// Its sender got this final answer.
    Answered(u16, String),
    /// Silence.
    Dropped,
}

impl Outcome {
    /// As it stands in `verdicts.tsv`.
    pub fn text(&self) -> String {
        match self {
            Self::Relayed(_) => "relayed".into(),
            Self::Answered(status, reason) => format!("{status} {reason}"),
            Self::Dropped => "dropped".into(),
        }
    }

    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Answered(status, _) => Some(*status),
            _ => None,
        }
    }

    pub fn copy(&self) -> &[u8] {
        match self {
            Self::Relayed(copy) => copy,
            other => panic!("not relayed: {other:?}"),
        }
    }
}

pub fn world() -> World {
    World::new(policy(), &[BOB])
}

thread_local! {
    /// One world for all messages of a thread: nothing is left of one when the next comes.
    static WORLD: RefCell<World> = RefCell::new(world());
}

/// What a world makes of one datagram; nothing may be left of it after a while.
pub fn outcome(bytes: &[u8]) -> Outcome {
    WORLD.with_borrow_mut(|world| {
        let outcome = outcome_in(world, bytes);
        world.assert_drained();
        outcome
    })
}

pub fn outcome_in(world: &mut World, bytes: &[u8]) -> Outcome {
    let sent = world.receive(CALLER, bytes);
    if let Some(copy) = sent.iter().find(|sent| sent.method().is_some()) {
        assert_ne!(copy.to, address(CALLER));
        // Our own lines may be what takes a message over a limit.
        let fits = [
            "ok",
            "too_many_vias",
            "too_many_headers",
            "message_too_large",
        ];
        assert!(fits.contains(&verdict(&copy.bytes)), "{}", copy.text());
        return Outcome::Relayed(copy.bytes.clone());
    }
    assert!(sent.len() <= 1, "{sent:#?}");
    match sent.first() {
        Some(answer) => {
            let status = answer.status().unwrap();
            assert!((200..700).contains(&status));
            assert_eq!(
                answer.to.ip(),
                address(CALLER).ip(),
                "sent to somebody else"
            );
            let line = answer.first_line();
            Outcome::Answered(status, line.get(12..).unwrap_or_default().to_owned())
        }
        None => Outcome::Dropped,
    }
}

/// `ok`, or the kind of the first fault.
pub fn verdict(bytes: &[u8]) -> &'static str {
    match Index::new().parse(bytes) {
        Ok(message) => check(&message).map_or_else(Fault::kind, |()| "ok"),
        Err(malformed) => malformed.kind(),
    }
}

/// What a stream of just these bytes gives: the number of messages, keep-alives, whether more is
/// waited for, or why the connection is closed.
pub fn streamed(bytes: &[u8]) -> String {
    let mut framer = Framer::new(LARGEST_BYTES);
    let (mut messages, mut keep_alives) = (0, 0);
    let end = framer.push(bytes).and_then(|()| {
        loop {
            match framer.next()? {
                Some(Frame::Message(_)) => messages += 1,
                Some(Frame::Ping | Frame::Pong) => keep_alives += 1,
                None => return Ok(()),
            }
        }
    });
    let mut words = Vec::new();
    if messages > 0 {
        words.push(format!("{messages} framed"));
    }
    if keep_alives > 0 {
        words.push("kept alive".into());
    }
    match end {
        Err(why) => words.push(format!("closed: {}", why.kind())),
        Ok(()) if framer.buffered() > 0 => words.push("waits".into()),
        Ok(()) => {}
    }
    words.join(", ")
}
