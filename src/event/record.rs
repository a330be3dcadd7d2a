//! A subscription as the store keeps it. Connections are not kept: none survives the process.

use std::net::{IpAddr, SocketAddr};

use super::package::Package;
use super::subscription::{Dialog, Subscription, WayBack};
use crate::message::Transport;
use crate::presence::Directory;

const VERSION: u8 = 1;

/// Appends the record of a subscription.
pub(super) fn encode(subscription: &Subscription, out: &mut Vec<u8>) {
    let Subscription { dialog, way, .. } = subscription;
    out.push(VERSION);
    out.push(subscription.package as u8);
    out.push(way.listener);
    let transport = Transport::ALL.iter().position(|t| *t == way.transport);
    out.push(transport.unwrap_or_default() as u8);
    // IPv4 is kept as IPv6 (RFC 4291 §2.5.5.2), which is one length.
    let ip = match way.peer.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    out.extend_from_slice(&ip.octets());
    out.extend_from_slice(&way.peer.port().to_le_bytes());
    out.extend_from_slice(&dialog.remote_cseq.to_le_bytes());
    out.extend_from_slice(&subscription.reserved_cseq.to_le_bytes());
    out.extend_from_slice(&subscription.expires_unix_ms.to_le_bytes());
    for text in [
        subscription.presentity_id.as_bytes(),
        subscription.watcher_id.as_bytes(),
        subscription.entity.as_bytes(),
        &subscription.event_id,
        &dialog.call_id,
        &dialog.local,
        &dialog.remote,
        &dialog.target,
        &dialog.routes,
    ] {
        // What does not fit into 16 bits does not fit into a slot either.
        let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(text);
    }
}

/// Reads a record; `None` where it is not one of this version, or of somebody who is no more.
pub(super) fn decode(record: &[u8], slot: u32, directory: &Directory) -> Option<Subscription> {
    let mut reader = Reader { rest: record };
    let [version, package, listener, transport] = reader.take()?;
    let package = Package::ALL
        .into_iter()
        .find(|known| *known as u8 == package);
    let ip = IpAddr::from(reader.take::<16>()?).to_canonical();
    let port = u16::from_le_bytes(reader.take()?);
    let remote_cseq = u32::from_le_bytes(reader.take()?);
    let reserved_cseq = u32::from_le_bytes(reader.take()?);
    let expires_unix_ms = i64::from_le_bytes(reader.take()?);
    let presentity_id = str::from_utf8(reader.text()?).ok()?;
    let watcher_id = str::from_utf8(reader.text()?).ok()?;
    let entity = str::from_utf8(reader.text()?).ok()?;
    let event_id = reader.text()?;
    let dialog = Dialog {
        call_id: reader.text()?.into(),
        local: reader.text()?.into(),
        remote: reader.text()?.into(),
        target: reader.text()?.into(),
        routes: reader.text()?.into(),
        remote_cseq,
    };
    let subscription = Subscription {
        package: package.filter(|_| version == VERSION)?,
        event_id: event_id.into(),
        presentity: directory.handle_of_id(presentity_id)?,
        presentity_id: presentity_id.into(),
        entity: entity.into(),
        watcher_id: watcher_id.into(),
        dialog,
        way: WayBack {
            listener,
            transport: *Transport::ALL.get(usize::from(transport))?,
            peer: SocketAddr::new(ip, port),
        },
        expires_unix_ms,
        cseq: reserved_cseq,
        reserved_cseq,
        slot: Some(slot),
        is_counted: false,
    };
    Some(subscription)
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
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::presence::{NumberPlan, Subscriber};

    fn directory() -> Directory {
        let directory = Directory::new(1);
        let anna = Subscriber {
            id: "anna".into(),
            display_name: "Anna".into(),
            ..Subscriber::default()
        };
        let plan = NumberPlan::for_region("DE").unwrap();
        directory.put(&anna, &plan).unwrap();
        directory
    }

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written(
            numbers: (u32, u32, i64, u8, u16), is_v4: bool, ip: [u8; 16],
            transport in 0usize..5, is_presence: bool, watcher in "[a-z]{0,8}",
            texts in prop::array::uniform6(prop::collection::vec(any::<u8>(), 0..200)),
        ) {
            let directory = directory();
            let [event_id, call_id, local, remote, target, routes] = texts.map(Vec::into_boxed_slice);
            let ip = match is_v4 {
                true => IpAddr::from([ip[0], ip[1], ip[2], ip[3]]),
                false => IpAddr::from(ip).to_canonical(),
            };
            let subscription = Subscription {
                package: if is_presence { Package::Presence } else { Package::Dialog },
                event_id,
                presentity: directory.handle_of_id("anna").unwrap(),
                presentity_id: "anna".into(),
                entity: "sip:anna@h".into(),
                watcher_id: watcher.into(),
                dialog: Dialog { call_id, local, remote, target, routes, remote_cseq: numbers.0 },
                way: WayBack {
                    listener: numbers.3,
                    transport: Transport::ALL[transport],
                    peer: SocketAddr::new(ip, numbers.4),
                },
                expires_unix_ms: numbers.2,
                cseq: numbers.1,
                reserved_cseq: numbers.1,
                slot: Some(7),
                is_counted: false,
            };
            let mut record = Vec::new();
            encode(&subscription, &mut record);
            prop_assert_eq!(decode(&record, 7, &directory), Some(subscription));
            record[0] = 9;
            prop_assert_eq!(decode(&record, 7, &directory), None);
        }

        #[test]
        fn noise_is_refused_without_a_panic(record in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&record, 0, &directory());
        }
    }
}
