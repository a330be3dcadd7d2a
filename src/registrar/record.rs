//! A binding as the store keeps it. Connections are not kept: none survives the process.

use std::net::{IpAddr, SocketAddr};

use super::binding::{Binding, Flow, Reach, Texts};
use crate::message::Transport;

const VERSION: u8 = 1;
const RESOLVED: u8 = 0;
const PREFERRED: u8 = 1;
const ONLY: u8 = 2;

/// Appends the record of a binding of that subscriber.
pub(super) fn encode(id: &str, binding: &Binding, out: &mut Vec<u8>) {
    out.push(VERSION);
    let (kind, flow) = match binding.reach {
        Reach::Resolved => (RESOLVED, None),
        Reach::Preferred(flow) => (PREFERRED, Some(flow)),
        Reach::Only(flow) => (ONLY, Some(flow)),
    };
    out.push(kind);
    if let Some(flow) = flow {
        encode_flow(&flow, out);
    }
    out.extend_from_slice(&binding.cseq.to_le_bytes());
    out.extend_from_slice(&binding.q_thousandths.to_le_bytes());
    out.extend_from_slice(&binding.reg_id.to_le_bytes());
    out.extend_from_slice(&binding.expires_unix_ms.to_le_bytes());
    out.extend_from_slice(&binding.registered_unix_ms.to_le_bytes());
    out.extend_from_slice(&binding.transaction.to_le_bytes());
    let texts = binding.texts();
    for text in [
        id.as_bytes(),
        texts.uri,
        texts.params,
        texts.path,
        texts.call_id,
        texts.agent,
    ] {
        // The length fits: a binding's texts end within 16 bits, an id is short.
        out.extend_from_slice(&(text.len() as u16).to_le_bytes());
        out.extend_from_slice(text);
    }
}

/// Reads a record: whose, and the binding. `None` where it is not one of this version.
pub(super) fn decode(record: &[u8], slot: u32) -> Option<(&str, Binding)> {
    let mut reader = Reader { rest: record };
    if reader.take::<1>()? != [VERSION] {
        return None;
    }
    let reach = match reader.take::<1>()? {
        [RESOLVED] => Reach::Resolved,
        [PREFERRED] => Reach::Preferred(reader.flow()?),
        [ONLY] => Reach::Only(reader.flow()?),
        _ => return None,
    };
    let cseq = u32::from_le_bytes(reader.take()?);
    let q_thousandths = u16::from_le_bytes(reader.take()?);
    let reg_id = u32::from_le_bytes(reader.take()?);
    let expires_unix_ms = i64::from_le_bytes(reader.take()?);
    let registered_unix_ms = i64::from_le_bytes(reader.take()?);
    let transaction = u64::from_le_bytes(reader.take()?);
    let id = str::from_utf8(reader.text()?).ok()?;
    let texts = Texts {
        uri: reader.text()?,
        params: reader.text()?,
        path: reader.text()?,
        call_id: reader.text()?,
        agent: reader.text()?,
    };
    let (texts, ends) = texts.packed()?;
    let binding = Binding {
        texts,
        ends,
        cseq,
        q_thousandths,
        reg_id,
        reach,
        expires_unix_ms,
        registered_unix_ms,
        transaction,
        slot,
    };
    Some((id, binding))
}

fn encode_flow(flow: &Flow, out: &mut Vec<u8>) {
    out.push(flow.listener);
    let transport = Transport::ALL.iter().position(|t| *t == flow.transport);
    out.push(transport.unwrap_or_default() as u8);
    match flow.peer.ip() {
        IpAddr::V4(ip) => {
            out.push(4);
            out.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(6);
            out.extend_from_slice(&ip.octets());
        }
    }
    out.extend_from_slice(&flow.peer.port().to_le_bytes());
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*field)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = u16::from_le_bytes(self.take()?);
        let (text, rest) = self.rest.split_at_checked(length.into())?;
        self.rest = rest;
        Some(text)
    }

    fn flow(&mut self) -> Option<Flow> {
        let [listener, transport] = self.take()?;
        let transport = *Transport::ALL.get(usize::from(transport))?;
        let ip = match self.take()? {
            [4] => IpAddr::from(self.take::<4>()?),
            [6] => IpAddr::from(self.take::<16>()?),
            _ => return None,
        };
        let port = u16::from_le_bytes(self.take()?);
        Some(Flow {
            listener,
            transport,
            peer: SocketAddr::new(ip, port),
            connection: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reach() -> impl Strategy<Value = Reach> {
        let peer = prop_oneof![
            any::<[u8; 4]>().prop_map(IpAddr::from),
            any::<[u8; 16]>().prop_map(IpAddr::from)
        ];
        (0u8..3, any::<u8>(), 0usize..5, peer, any::<u16>()).prop_map(
            |(kind, listener, transport, peer, port)| {
                let flow = Flow {
                    listener,
                    transport: Transport::ALL[transport],
                    peer: SocketAddr::new(peer, port),
                    connection: None,
                };
                match kind {
                    0 => Reach::Resolved,
                    1 => Reach::Preferred(flow),
                    _ => Reach::Only(flow),
                }
            },
        )
    }

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written(
            reach in reach(), numbers: (u32, u16, u32, i64, i64, u64),
            id in "[a-z0-9.-]{1,64}",
            texts in prop::array::uniform5(prop::collection::vec(any::<u8>(), 0..200)),
        ) {
            let [uri, params, path, call_id, agent] = &texts;
            let texts = Texts { uri, params, path, call_id, agent };
            let (packed, ends) = texts.packed().unwrap();
            let binding = Binding {
                texts: packed, ends, cseq: numbers.0, q_thousandths: numbers.1,
                reg_id: numbers.2, reach, expires_unix_ms: numbers.3,
                registered_unix_ms: numbers.4, transaction: numbers.5, slot: 7,
            };
            prop_assert_eq!(binding.texts(), texts);
            let mut record = Vec::new();
            encode(&id, &binding, &mut record);
            prop_assert_eq!(decode(&record, 7), Some((id.as_str(), binding)));
        }

        #[test]
        fn noise_is_refused_without_a_panic(record in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&record, 0);
        }
    }
}
