//! The PROXY protocol, version 2: what a load balancer says of whom it passes on.

use std::io;
use std::net::{IpAddr, SocketAddr};

use ppp::v2::{Addresses, Command, Header, PROTOCOL_PREFIX, Protocol};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Signature, version, family and length.
const START_BYTES: usize = 16;
/// Addresses and what comes with them; the protocol allows more than anybody needs.
const REST_LIMIT_BYTES: usize = 4_096;

/// Reads the header that must come first. `None` when the load balancer speaks for itself.
///
/// # Errors
/// It is missing, cannot be read, or tells of something other than a TCP connection.
pub(super) async fn read(mut stream: impl AsyncRead + Unpin) -> io::Result<Option<SocketAddr>> {
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    let mut bytes = vec![0; START_BYTES];
    stream.read_exact(&mut bytes).await?;
    if !bytes.starts_with(PROTOCOL_PREFIX) {
        return Err(malformed());
    }
    let length = match bytes.as_slice() {
        [.., high, low] => usize::from(u16::from_be_bytes([*high, *low])),
        _ => return Err(malformed()),
    };
    if length > REST_LIMIT_BYTES {
        return Err(malformed());
    }
    bytes.resize(START_BYTES + length, 0);
    let rest = bytes.get_mut(START_BYTES..).unwrap_or_default();
    stream.read_exact(rest).await?;
    source(&bytes).ok_or_else(malformed)
}

/// Whom a whole header tells of; `None` when it cannot be used.
fn source(bytes: &[u8]) -> Option<Option<SocketAddr>> {
    let header = Header::try_from(bytes).ok()?;
    if header.command == Command::Local {
        return Some(None);
    }
    let from = |ip: IpAddr, port| Some(Some(SocketAddr::new(ip, port)));
    match (&header.addresses, header.protocol) {
        (Addresses::IPv4(a), Protocol::Stream) => from(a.source_address.into(), a.source_port),
        (Addresses::IPv6(a), Protocol::Stream) => from(a.source_address.into(), a.source_port),
        // The sender does not know whom it passes on: the socket's address counts.
        (Addresses::Unspecified, _) => Some(None),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ppp::v2::{Builder, Type, Version};
    use proptest::prelude::*;

    fn header(
        command: Command,
        protocol: Protocol,
        addresses: (SocketAddr, SocketAddr),
    ) -> Vec<u8> {
        let builder = Builder::with_addresses(Version::Two | command, protocol, addresses);
        let builder = builder.write_tlv(Type::NoOp, &[0; 42]).unwrap();
        builder.build().unwrap()
    }

    fn heard(bytes: &[u8]) -> (io::Result<Option<SocketAddr>>, usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let mut rest = bytes;
        let read = runtime.unwrap().block_on(read(&mut rest));
        (read, rest.len())
    }

    fn address() -> impl Strategy<Value = SocketAddr> {
        any::<(bool, u128, u16)>().prop_map(|(is_v4, ip, port)| match is_v4 {
            true => SocketAddr::from(((ip as u32).to_be_bytes(), port)),
            false => SocketAddr::from((ip.to_be_bytes(), port)),
        })
    }

    proptest! {
        #[test]
        fn the_told_source_counts_and_what_follows_stays(from in address(), port: u16, more in "[A-Z ]{0,40}") {
            let to = SocketAddr::new(from.ip(), port);
            let mut bytes = header(Command::Proxy, Protocol::Stream, (from, to));
            bytes.extend(more.bytes());
            let (read, left) = heard(&bytes);
            prop_assert_eq!(read.unwrap(), Some(from));
            prop_assert_eq!(left, more.len());
        }

        #[test]
        fn nothing_makes_it_panic(start: bool, mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if start && bytes.len() > 16 {
                bytes[..12].copy_from_slice(PROTOCOL_PREFIX);
                bytes[12] = 0x21;
                bytes[14] = 0;
            }
            let _ = heard(&bytes);
        }
    }

    #[test]
    fn local_keeps_the_sockets_address_and_the_rest_is_refused() {
        let [from, to] = ["192.0.2.1:1", "192.0.2.2:2"].map(|a| a.parse().unwrap());
        let local = header(Command::Local, Protocol::Stream, (from, to));
        assert_eq!(heard(&local).0.unwrap(), None);
        let datagram = header(Command::Proxy, Protocol::Datagram, (from, to));
        assert!(heard(&datagram).0.is_err());
        assert!(heard(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n").0.is_err());
        assert!(heard(&local[..20]).0.is_err());
        let mut long = local.clone();
        long[14] = 0xff;
        assert!(heard(&long).0.is_err());
    }
}
