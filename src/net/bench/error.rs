//! Why a run cannot go on.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::bench::Seat;

/// Why a run cannot go on.
#[derive(Debug)]
pub enum BenchError {
    /// A seat's address cannot be had.
    Bind {
        /// Whose.
        seat: Seat,
        /// Which.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// Nothing listens at the server's address.
    Refused {
        /// Where.
        server: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The server answers nothing.
    Silent {
        /// Where.
        server: SocketAddr,
        /// How long it was waited for.
        waited: Duration,
        /// How many calls it was sent.
        placed: u64,
        /// Where it should have sent them.
        callee: Option<SocketAddr>,
    },
    /// A thread or its core cannot be had, or a socket failed.
    Thread(io::Error),
}

impl fmt::Display for BenchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind {
                seat,
                address,
                source,
            } => {
                let option = match seat {
                    Seat::Caller => "--local",
                    Seat::Callee => "--callee",
                    Seat::Elsewhere => "--voicemail or --forward-to",
                };
                write!(f, "cannot use {address} ({option}): {source}")?;
                if source.kind() == io::ErrorKind::AddrInUse {
                    write!(
                        f,
                        "; another program has it (see `ss -lnp 'sport = {}'`)",
                        address.port()
                    )?;
                }
                Ok(())
            }
            Self::Refused { server, source } => {
                write!(
                    f,
                    "nothing answers at {server}: {source}; is the server running?"
                )
            }
            Self::Silent {
                server,
                waited,
                placed,
                callee,
            } => {
                write!(
                    f,
                    "{server} has answered none of {placed} requests in {} s; is it running, and \
                     does it accept calls from here?",
                    waited.as_secs()
                )?;
                match callee {
                    Some(callee) => write!(f, " Nor did a call arrive at {callee} (--callee)."),
                    None => Ok(()),
                }
            }
            Self::Thread(source) => write!(f, "a thread of the generator failed: {source}"),
        }
    }
}

impl std::error::Error for BenchError {}
