//! SIP messages: from bytes to meaning, and back with edits.
//!
//! A received message is indexed once (`Index::parse`), typed where somebody asks, judged by
//! `check`, and passed on as its own bytes with a list of `Edits`; a response to it is written from
//! its own bytes by `write_response`. What is not edited goes out byte for byte.
//!
//! Nothing here knows transactions, sockets or the clock; nothing panics on any bytes, and nothing
//! allocates once its scratch is warm.
//!
//! Entry points: [`Index::parse`], [`check()`], [`Edits`], [`forward`], [`write_response`].

mod address;
mod check;
mod contact;
mod edit;
mod fault;
pub mod forward;
mod framing;
mod index;
mod lexeme;
pub mod limits;
mod line_ends;
mod name;
mod remembered;
mod respond;
pub(crate) mod scan;
mod start;
mod transport;
mod uri;
mod usual;
mod via;
mod view;

pub use address::NameAddr;
pub use check::check;
pub use contact::{Contact, Contacts, DEFAULT_EXPIRES_S};
pub use edit::Edits;
pub use fault::{Fault, Malformed, Unframed};
pub use framing::{Frame, Framer};
pub use index::{Index, LARGEST_BYTES};
pub(crate) use lexeme::is_same;
pub use lexeme::{Param, Params, first_value};
pub use name::{Method, Name};
pub use respond::{Reply, reason_phrase, write_response};
pub use start::Start;
pub use transport::Transport;
pub use uri::{Scheme, Uri, host_address};
pub use via::{MAGIC_COOKIE, Via};
pub use view::{CSeq, Header, Message, Value};
