//! What we write into the user part of our own Record-Route and Path: by which flow the side behind
//! it is reached (RFC 5626 §5.2). Whoever alters it has no flow; a token of an earlier run names none.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU64;

use super::hop::ConnectionId;
use super::keys::Keys;
use super::request::ProxyRequest;
use super::{Arrival, Proxy};
use crate::message::{Name, NameAddr, scan};
use crate::transaction::branch::{read_hex, write_hex};

/// A way back to a neighbour that may have no address of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FlowToken {
    /// A connection.
    Connection { id: ConnectionId, listener: u8 },
    /// The address that datagrams come from, through a NAT.
    Datagram { from: SocketAddr, listener: u8 },
}

impl FlowToken {
    /// Appends the token, a URI's user part.
    pub(super) fn write(&self, keys: &Keys, out: &mut Vec<u8>) {
        let start = out.len();
        match self {
            Self::Connection { id, listener } => {
                out.push(b'c');
                write_hex(out, u64::from(*listener), 2);
                write_hex(out, id.0.get(), 16);
            }
            Self::Datagram { from, listener } => {
                let ip = from.ip().to_canonical();
                out.push(if ip.is_ipv4() { b'd' } else { b'e' });
                write_hex(out, u64::from(*listener), 2);
                write_hex(out, u64::from(from.port()), 4);
                match ip {
                    IpAddr::V4(ip) => write_hex(out, u64::from(u32::from(ip)), 8),
                    IpAddr::V6(ip) => {
                        let bits = u128::from(ip);
                        write_hex(out, (bits >> 64) as u64, 16);
                        write_hex(out, bits as u64, 16);
                    }
                }
            }
        }
        let proof = keys.flow(out.get(start..).unwrap_or_default());
        write_hex(out, proof, 16);
    }

    /// Whether a message came by it.
    pub(super) fn is_of(&self, arrival: &Arrival) -> bool {
        match self {
            Self::Connection { id, .. } => arrival.connection == Some(*id),
            Self::Datagram { from, .. } => *from == arrival.from,
        }
    }

    /// Reads a token of this run.
    pub(super) fn read(text: &[u8], keys: &Keys) -> Option<Self> {
        let (token, proof) = text.split_at_checked(text.len().checked_sub(16)?)?;
        let (kind, digits) = token.split_first()?;
        let listener = u8::try_from(read_hex(digits.get(..2)?)?).ok()?;
        let rest = digits.get(2..)?;
        let found = match kind {
            b'c' => Self::Connection {
                id: ConnectionId(NonZeroU64::new(read_hex(rest)?)?),
                listener,
            },
            b'd' | b'e' => {
                let port = u16::try_from(read_hex(rest.get(..4)?)?).ok()?;
                let ip = read_ip(*kind == b'd', rest.get(4..)?)?;
                let from = SocketAddr::new(ip, port);
                Self::Datagram { from, listener }
            }
            _ => return None,
        };
        (read_hex(proof)? == keys.flow(token)).then_some(found)
    }
}

impl Proxy {
    /// The flow by which the sender of a request is reached within its dialog, where its Contact
    /// may not lead there: a WebSocket client, somebody who asks for it (`ob`, RFC 5626 §4.3), a
    /// stranger on a stream, or behind a NAT.
    pub(super) fn flow_of(
        &self,
        arrival: &Arrival,
        request: &ProxyRequest<'_>,
    ) -> Option<FlowToken> {
        let listener = arrival.listener;
        if let Some(id) = arrival.connection {
            let is_websocket = self.policy.transport(listener).is_websocket();
            let (_, is_known) = self.peer_of(&self.policy, arrival);
            let is_needed = is_websocket || !is_known || request.wants_flow();
            return is_needed.then_some(FlowToken::Connection { id, listener });
        }
        let is_behind_nat = || {
            let sent_by = request.via.host_ip().map(|ip| ip.to_canonical());
            sent_by.is_some_and(|ip| ip != arrival.from.ip().to_canonical())
        };
        let from = arrival.from;
        let is_needed = request.via.rport.is_some() && is_behind_nat() || request.wants_flow();
        is_needed.then_some(FlowToken::Datagram { from, listener })
    }
}

impl ProxyRequest<'_> {
    /// Whether its Contact asks to be reached by the flow that it came by (RFC 5626 §4.3).
    fn wants_flow(&self) -> bool {
        let mut headers = self.message.headers(Name::Contact);
        if !headers.any(|header| may_hold_ob(header.value)) {
            return false;
        }
        let contact = self.message.values(Name::Contact).next();
        let read = contact.and_then(|value| NameAddr::parse_with_uri(value.bytes).ok());
        read.is_some_and(|(_, uri)| uri.param(b"ob").is_some())
    }
}

/// Whether a Contact may have the parameter: a look that spares reading most of them.
fn may_hold_ob(contact: &[u8]) -> bool {
    let mut rest = contact;
    while let Some(at) = scan::find2(b'b', b'B', rest) {
        if let Some([b'o' | b'O', _, ..]) = at.checked_sub(1).and_then(|before| rest.get(before..))
        {
            return true;
        }
        rest = rest.get(at + 1..).unwrap_or_default();
    }
    false
}

fn read_ip(is_ipv4: bool, digits: &[u8]) -> Option<IpAddr> {
    match is_ipv4 {
        true => {
            let bits = u32::try_from(read_hex(digits)?).ok()?;
            (digits.len() == 8).then(|| Ipv4Addr::from(bits).into())
        }
        false => {
            let (high, low) = digits.split_at_checked(16)?;
            let bits = u128::from(read_hex(high)?) << 64 | u128::from(read_hex(low)?);
            (low.len() == 16).then(|| Ipv6Addr::from(bits).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(token: &FlowToken, keys: &Keys) -> Vec<u8> {
        let mut text = Vec::new();
        token.write(keys, &mut text);
        text
    }

    fn any_token() -> impl Strategy<Value = FlowToken> {
        let connection = (1u64.., any::<u8>()).prop_map(|(id, listener)| FlowToken::Connection {
            id: ConnectionId(NonZeroU64::new(id).unwrap()),
            listener,
        });
        let ip = prop_oneof![
            any::<u32>().prop_map(|bits| IpAddr::from(Ipv4Addr::from(bits))),
            any::<u128>().prop_map(|bits| IpAddr::from(Ipv6Addr::from(bits)).to_canonical()),
        ];
        let datagram = (ip, any::<u16>(), any::<u8>()).prop_map(|(ip, port, listener)| {
            let from = SocketAddr::new(ip, port);
            FlowToken::Datagram { from, listener }
        });
        prop_oneof![connection, datagram]
    }

    proptest! {
        #[test]
        fn a_token_is_read_as_written_and_by_nobody_else(token in any_token(), at in 0usize..40) {
            let keys = Keys::new(&[3; 32]).for_run(1);
            let mut other_secret = [3; 32];
            other_secret[0] = 4;
            let mut text = written(&token, &keys);
            prop_assert_eq!(FlowToken::read(&text, &keys), Some(token));
            prop_assert_eq!(FlowToken::read(&text, &Keys::new(&[3; 32]).for_run(2)), None);
            prop_assert_eq!(FlowToken::read(&text, &Keys::new(&other_secret).for_run(1)), None);
            let at = at % text.len();
            text[at] = if text[at] == b'0' { b'1' } else { b'0' };
            prop_assert_ne!(FlowToken::read(&text, &keys), Some(token));
        }

        #[test]
        fn any_text_is_read_without_harm(text in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(FlowToken::read(&text, &Keys::new(&[3; 32])), None);
        }
    }
}
