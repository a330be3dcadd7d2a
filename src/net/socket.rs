//! Sockets for SIP over UDP: bound, sized, and told to report what ICMP says.
#![expect(
    unsafe_code,
    reason = "three socket options and the limit of descriptors have no safe wrapper"
)]

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use socket2::{Domain, Protocol, Socket, Type};

use crate::message::Transport;
use crate::proxy::policy::Network;

/// How much a socket's buffers shall hold.
#[derive(Debug, Clone, Copy)]
pub struct Buffers {
    /// Bytes, each way.
    pub bytes: usize,
}

impl Default for Buffers {
    fn default() -> Self {
        Self { bytes: 4 << 20 }
    }
}

/// An address cannot be listened on.
#[derive(Debug)]
pub struct BindError {
    /// What was to be spoken there.
    pub transport: Transport,
    /// The address.
    pub address: SocketAddr,
    /// The system's reason.
    pub source: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            transport,
            address,
            source,
        } = self;
        write!(
            f,
            "cannot listen on {}:{address}: {source}",
            transport.param()
        )?;
        let option = if transport.is_reliable() { "t" } else { "u" };
        match source.kind() {
            io::ErrorKind::AddrInUse => write!(
                f,
                "; another program uses the port (see `ss -{option}lpn 'sport = {}'`): stop it, or \
                 change sip.listen",
                address.port()
            ),
            io::ErrorKind::PermissionDenied => f.write_str(
                "; ports below 1024 need the capability CAP_NET_BIND_SERVICE: grant it, or change \
                 sip.listen",
            ),
            io::ErrorKind::AddrNotAvailable => f.write_str(
                "; this machine has no such address (see `ip address`): change sip.listen",
            ),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// One socket for each shard, all on the same address. The port may be 0; all get the same.
///
/// # Errors
/// The address is used by anybody else, does not exist, or is not allowed.
pub fn bind_shared(
    address: SocketAddr,
    buffers: Buffers,
    shards: usize,
) -> Result<Vec<Socket>, BindError> {
    let failed = |source| BindError {
        transport: Transport::Udp,
        address,
        source,
    };
    if shards <= 1 {
        return Ok(vec![bind(address, buffers, false).map_err(failed)?]);
    }
    // Sockets that share a port share it with every program that asks for it, so a second server
    // would go unnoticed: first see that the port is free.
    let alone = bind(address, buffers, false).map_err(failed)?;
    let address = local_address(&alone).map_err(failed)?;
    drop(alone);
    (0..shards)
        .map(|_| bind(address, buffers, true).map_err(failed))
        .collect()
}

/// A nonblocking UDP socket; IPv6 ones take no IPv4.
pub(super) fn bind(address: SocketAddr, buffers: Buffers, is_shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if is_shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_recv_buffer_size(buffers.bytes)?;
    socket.set_send_buffer_size(buffers.bytes)?;
    report_icmp_and_fragment(&socket, address)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// The address a socket is bound to.
///
/// # Errors
/// What the system says.
pub fn local_address(socket: &Socket) -> io::Result<SocketAddr> {
    let address = socket.local_addr()?.as_socket();
    address.ok_or_else(|| io::Error::other("the socket has no address"))
}

/// What the kernel granted less than asked, `(asked, granted)`. It counts twice what it grants.
pub fn granted_less(socket: &Socket, buffers: Buffers) -> Option<(usize, usize)> {
    let receive = socket.recv_buffer_size().ok()? / 2;
    let send = socket.send_buffer_size().ok()? / 2;
    let granted = receive.min(send);
    (granted < buffers.bytes).then_some((buffers.bytes, granted))
}

/// ICMP errors go to the socket's error queue; long datagrams are fragmented, as SIP over UDP
/// needs it, whatever an ICMP message says about the path; the kernel notes when each came.
fn report_icmp_and_fragment(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    let options = match address {
        SocketAddr::V4(_) => [
            (libc::IPPROTO_IP, libc::IP_RECVERR, 1),
            (
                libc::IPPROTO_IP,
                libc::IP_MTU_DISCOVER,
                libc::IP_PMTUDISC_DONT,
            ),
            (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1),
        ],
        SocketAddr::V6(_) => [
            (libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1),
            (
                libc::IPPROTO_IPV6,
                libc::IPV6_MTU_DISCOVER,
                libc::IP_PMTUDISC_DONT,
            ),
            (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1),
        ],
    };
    for (level, option, value) in options {
        let length = size_of_val(&value) as libc::socklen_t;
        // SAFETY: the value is a C int, as these options want it, and is read during the call.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                level,
                option,
                std::ptr::from_ref::<libc::c_int>(&value).cast(),
                length,
            )
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Lets the process have so many descriptors, or as many as it may; how many that are.
///
/// # Errors
/// What the system says.
pub fn allow_descriptors(wanted: u64) -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the structure is filled during the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if limit.rlim_cur < wanted {
        limit.rlim_cur = wanted.min(limit.rlim_max);
        // SAFETY: the structure is read during the call.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(limit.rlim_cur)
}

/// The system's routes and interfaces.
pub struct System;

impl System {
    /// The address of ours from which a datagram to `to` would be sent.
    ///
    /// # Errors
    /// There is no route.
    #[expect(clippy::disallowed_methods, reason = "sockets belong here")]
    pub fn source_towards(&self, to: SocketAddr) -> io::Result<IpAddr> {
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let probe = UdpSocket::bind(any)?;
        probe.connect(to)?;
        Ok(probe.local_addr()?.ip())
    }

    /// The network of the interface that has the address.
    pub fn network_of(&self, address: IpAddr) -> Option<Network> {
        let interfaces = if_addrs::get_if_addrs().ok()?;
        let interface = interfaces.iter().find(|one| one.ip() == address)?;
        let prefix = match &interface.addr {
            if_addrs::IfAddr::V4(v4) => v4.prefixlen,
            if_addrs::IfAddr::V6(v6) => v6.prefixlen,
        };
        Some(Network {
            base: address,
            prefix,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: &str = "127.0.0.1:0";

    #[test]
    fn every_shard_has_a_socket_on_the_same_port() {
        let sockets = bind_shared(ANY.parse().unwrap(), Buffers::default(), 3).unwrap();
        let ports: Vec<_> = sockets
            .iter()
            .map(|socket| local_address(socket).unwrap().port())
            .collect();
        assert_eq!(ports.len(), 3);
        assert!(ports[0] != 0 && ports.iter().all(|port| *port == ports[0]));
    }

    #[test]
    fn a_port_in_use_is_noticed_even_where_the_other_would_share_it() {
        let sockets = bind_shared(ANY.parse().unwrap(), Buffers::default(), 2).unwrap();
        let address = local_address(&sockets[0]).unwrap();
        for shards in [1, 2] {
            let error = bind_shared(address, Buffers::default(), shards)
                .unwrap_err()
                .to_string();
            assert!(error.contains("another program uses the port"), "{error}");
        }
    }

    #[test]
    fn an_address_of_another_machine_is_named() {
        let address = "192.0.2.1:5060".parse().unwrap();
        let error = bind_shared(address, Buffers::default(), 1)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("192.0.2.1:5060") && error.contains("no such address"),
            "{error}"
        );
    }

    #[test]
    fn a_buffer_the_kernel_does_not_grant_is_told() {
        let asked = Buffers { bytes: 1 << 30 };
        let sockets = bind_shared(ANY.parse().unwrap(), asked, 1).unwrap();
        let (wanted, granted) = granted_less(&sockets[0], asked).unwrap();
        assert!(wanted == 1 << 30 && granted < wanted);
        assert_eq!(granted_less(&sockets[0], Buffers { bytes: 65_536 }), None);
    }

    #[test]
    fn descriptors_are_granted_up_to_the_hard_limit() {
        let granted = allow_descriptors(64).unwrap();
        assert!(granted >= 64);
        let most = allow_descriptors(u64::MAX).unwrap();
        assert!(most >= granted && allow_descriptors(u64::MAX).unwrap() == most);
    }

    #[test]
    fn the_system_knows_loopback() {
        let source = System
            .source_towards("127.0.0.1:9".parse().unwrap())
            .unwrap();
        assert!(source.is_loopback());
        let network = System.network_of(source).unwrap();
        assert!(network.holds("127.0.0.1".parse().unwrap()));
        assert!(!network.holds("192.0.2.1".parse().unwrap()));
        assert_eq!(System.network_of("192.0.2.1".parse().unwrap()), None);
    }
}
