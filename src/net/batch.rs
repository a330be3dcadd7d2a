//! Datagrams in by the batch: recvmmsg and the error queue, behind safe calls; how they go out is in
//! `sender`. Nothing is allocated after construction.
#![expect(
    unsafe_code,
    reason = "the system calls for batches have no safe wrapper"
)]

use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};

/// How many datagrams one call receives or sends at most.
pub(super) const BATCH: usize = 64;
/// The most a UDP datagram can carry.
const LONGEST: usize = 65_535;
/// How far the rooms of two datagrams are apart. An odd number of cache lines: equal offsets fall into
/// different sets.
const STRIDE: usize = 1_025 * 64;
/// How often a datagram is tried whose sending reports an error, which may be an earlier one's.
pub(super) const TRIES: u32 = 3;
/// How many entries of the error queue are read at a time.
const ERRORS: usize = 256;
/// Room for what the kernel tells of a datagram: when it came.
type Control = [u64; 4];

/// Any socket address; the smaller IPv4 one fits in its place.
pub(super) type Name = libc::sockaddr_in6;
const NAME_LEN: libc::socklen_t = size_of::<Name>() as libc::socklen_t;

/// Room for a batch of received datagrams.
pub(super) struct Receiver {
    rooms: Area<u8>,
    names: Area<Name>,
    _vectors: Area<libc::iovec>,
    headers: Area<libc::mmsghdr>,
    controls: Area<Control>,
    has_times: bool,
    received: usize,
}

/// One received datagram.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Datagram<'a> {
    /// Where it came from.
    pub from: SocketAddr,
    /// What it carries.
    pub bytes: &'a [u8],
    /// Whether it was longer than that.
    pub is_truncated: bool,
    /// When the kernel had it, milliseconds since 1970; where that was asked for.
    pub received_unix_ms: Option<i64>,
}

impl Receiver {
    /// An empty one. Of the four megabytes that the longest datagrams would need, only what is
    /// used is ever touched.
    pub(super) fn new() -> Self {
        let rooms: Area<u8> = Area::zeroed(BATCH * STRIDE);
        let names: Area<Name> = Area::zeroed(BATCH);
        let vectors: Area<libc::iovec> = Area::zeroed(BATCH);
        let headers: Area<libc::mmsghdr> = Area::zeroed(BATCH);
        for slot in 0..BATCH {
            // SAFETY: the slots lie inside their areas, which nobody else refers to yet.
            unsafe {
                vectors.at(slot).write(libc::iovec {
                    iov_base: rooms.at(slot * STRIDE).cast(),
                    iov_len: LONGEST,
                });
                let header = &mut (*headers.at(slot)).msg_hdr;
                header.msg_name = names.at(slot).cast();
                header.msg_namelen = NAME_LEN;
                header.msg_iov = vectors.at(slot);
                header.msg_iovlen = 1;
            }
        }
        Self {
            rooms,
            names,
            _vectors: vectors,
            headers,
            controls: Area::zeroed(BATCH),
            has_times: false,
            received: 0,
        }
    }

    /// Makes the kernel tell when each datagram came, or leave it.
    fn ask_for_times(&mut self, wants_times: bool) {
        if !wants_times && !self.has_times {
            return;
        }
        for slot in 0..BATCH {
            let (control, length) = match wants_times {
                true => (self.controls.at(slot).cast(), size_of::<Control>()),
                false => (ptr::null_mut(), 0),
            };
            // SAFETY: the slot lies inside the areas, and `self` is borrowed exclusively.
            unsafe {
                let header = &mut (*self.headers.at(slot)).msg_hdr;
                (header.msg_control, header.msg_controllen) = (control, length);
            }
        }
        self.has_times = wants_times;
    }

    /// Receives what waits, up to [`BATCH`], and says how many; 0 when nothing does. With
    /// `wants_times` the datagrams know when they came.
    ///
    /// # Errors
    /// What no other attempt would mend; ICMP errors of earlier sends are not such.
    pub(super) fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        wants_times: bool,
    ) -> io::Result<usize> {
        self.ask_for_times(wants_times);
        for slot in 0..mem::take(&mut self.received) {
            // SAFETY: the slot lies inside the area, and `self` is borrowed exclusively.
            unsafe { (*self.headers.at(slot)).msg_hdr.msg_namelen = NAME_LEN };
        }
        for _ in 0..TRIES {
            // SAFETY: the headers point into areas that live as long as `self`, each with the
            // length it has; nobody else refers to them during the call.
            let count = unsafe {
                libc::recvmmsg(
                    socket.as_raw_fd(),
                    self.headers.at(0),
                    BATCH as libc::c_uint,
                    libc::MSG_DONTWAIT,
                    ptr::null_mut(),
                )
            };
            if let Ok(count) = usize::try_from(count) {
                self.received = count.min(BATCH);
                return Ok(self.received);
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EAGAIN) => return Ok(0),
                Some(libc::EINTR) => {}
                Some(errno) if is_reported_by_icmp(errno) => {}
                _ => return Err(error),
            }
        }
        Ok(0)
    }

    /// What the datagrams of the last batch carry.
    pub(super) fn all(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.received).map(|slot| self.bytes(slot))
    }

    /// What a datagram of the last batch carries.
    fn bytes(&self, slot: usize) -> &[u8] {
        // SAFETY: the slot lies inside the areas, of whose rooms the kernel filled `length` bytes;
        // `self` is borrowed while the result is used.
        unsafe {
            let length = ((*self.headers.at(slot)).msg_len as usize).min(LONGEST);
            std::slice::from_raw_parts(self.rooms.at(slot * STRIDE), length)
        }
    }

    /// One datagram of the last batch; `None` behind its end, or where the source is no address.
    pub(super) fn get(&self, slot: usize) -> Option<Datagram<'_>> {
        if slot >= self.received {
            return None;
        }
        // SAFETY: the slot lies inside the areas, which nobody writes to while `self` is borrowed.
        let (from, header) = unsafe { (from_name(&*self.names.at(slot)), *self.headers.at(slot)) };
        let has_time = self.has_times.then(|| received_unix_ms(&header.msg_hdr));
        Some(Datagram {
            from: from?,
            bytes: self.bytes(slot),
            is_truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            received_unix_ms: has_time.flatten(),
        })
    }
}

impl Default for Receiver {
    fn default() -> Self {
        Self::new()
    }
}

/// Reads the error queue of a socket with IP_RECVERR: the destinations that ICMP said cannot be
/// reached, with the error.
pub(super) fn read_errors(socket: BorrowedFd<'_>, unreachable: &mut dyn FnMut(SocketAddr, i32)) {
    for _ in 0..ERRORS {
        // SAFETY: all bytes zero is a valid value of these plain structures.
        let (mut name, mut header): (Name, libc::msghdr) =
            unsafe { (mem::zeroed(), mem::zeroed()) };
        // Room for the error and for the address of who told of it, aligned as headers must be.
        let mut control = [0_u64; 32];
        header.msg_name = ptr::from_mut(&mut name).cast();
        header.msg_namelen = NAME_LEN;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = size_of_val(&control);
        let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
        // SAFETY: the header refers to the name and the control buffer above, with their lengths.
        let read = unsafe { libc::recvmsg(socket.as_raw_fd(), &mut header, flags) };
        if read < 0 {
            return;
        }
        if let (Some(errno), Some(to)) = (icmp_error(&header), from_name(&name)) {
            unreachable(to, errno);
        }
    }
}

/// The ICMP error that a message of the error queue tells of.
fn icmp_error(header: &libc::msghdr) -> Option<i32> {
    // SAFETY: `recvmsg` filled the header and its control buffer, which is alive and aligned; the
    // macros stay inside it, and the kernel puts the whole structure behind a header of this type.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        while let Some(found) = control.as_ref() {
            let kind = (found.cmsg_level, found.cmsg_type);
            if kind == (libc::IPPROTO_IP, libc::IP_RECVERR)
                || kind == (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
            {
                let error: libc::sock_extended_err =
                    ptr::read_unaligned(libc::CMSG_DATA(control).cast());
                let errno = error.ee_errno as i32;
                let by_icmp = [libc::SO_EE_ORIGIN_ICMP, libc::SO_EE_ORIGIN_ICMP6];
                return (by_icmp.contains(&error.ee_origin) && is_reported_by_icmp(errno))
                    .then_some(errno);
            }
            control = libc::CMSG_NXTHDR(header, control);
        }
    }
    None
}

/// When the kernel had a datagram (SO_TIMESTAMPNS), milliseconds since 1970.
fn received_unix_ms(header: &libc::msghdr) -> Option<i64> {
    // SAFETY: `recvmmsg` filled the header and its control buffer, which is alive and aligned; the
    // macro stays inside it, and the kernel puts the whole time behind a header of this type.
    unsafe {
        let control = libc::CMSG_FIRSTHDR(header);
        let found = control.as_ref()?;
        let is_time =
            (found.cmsg_level, found.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS);
        is_time.then(|| {
            let time: libc::timespec = ptr::read_unaligned(libc::CMSG_DATA(control).cast());
            time.tv_sec
                .saturating_mul(1_000)
                .saturating_add(time.tv_nsec / 1_000_000)
        })
    }
}

/// Errors by which ICMP says that a destination is not there.
pub(super) fn is_reported_by_icmp(errno: i32) -> bool {
    matches!(
        errno,
        libc::ECONNREFUSED
            | libc::EHOSTUNREACH
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::ENOPROTOOPT
            | libc::EACCES
    )
}

/// What the kernel tells of a socket's receive buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Backlog {
    /// How many datagrams were dropped since it was opened: the buffer was full, or a filter of
    /// ours left them.
    pub drops: u32,
    /// Whether more than three quarters of it are taken.
    pub is_deep: bool,
}

/// The state of a socket's receive buffer.
pub(super) fn backlog(socket: BorrowedFd<'_>) -> Option<Backlog> {
    let mut values = [0_u32; 16];
    let mut length = size_of_val(&values) as libc::socklen_t;
    // SAFETY: the buffer is as long as said, and the kernel writes no more than that.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            values.as_mut_ptr().cast(),
            &mut length,
        )
    };
    let is_whole = result == 0 && length as usize > libc::SK_MEMINFO_DROPS as usize * 4;
    let value = |number: libc::c_int| values.get(number as usize).copied();
    let (taken, room) = (
        value(libc::SK_MEMINFO_RMEM_ALLOC)?,
        value(libc::SK_MEMINFO_RCVBUF)?,
    );
    let drops = value(libc::SK_MEMINFO_DROPS)?;
    let is_deep = taken > room / 4 * 3;
    is_whole.then_some(Backlog { drops, is_deep })
}

/// How many datagrams the kernel dropped of what came to a socket since it was opened.
pub(super) fn kernel_drops(socket: BorrowedFd<'_>) -> Option<u32> {
    backlog(socket).map(|backlog| backlog.drops)
}

fn from_name(name: &Name) -> Option<SocketAddr> {
    match i32::from(name.sin6_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the bytes are an IPv4 address, which is shorter.
            let name: libc::sockaddr_in = unsafe { ptr::read(ptr::from_ref(name).cast()) };
            let ip = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(name.sin_port)).into())
        }
        libc::AF_INET6 => {
            let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
            let port = u16::from_be(name.sin6_port);
            Some(SocketAddrV6::new(ip, port, name.sin6_flowinfo, name.sin6_scope_id).into())
        }
        _ => None,
    }
}

pub(super) fn to_name(address: SocketAddr) -> Name {
    // SAFETY: all bytes zero is a valid value of this plain structure.
    let mut name: Name = unsafe { mem::zeroed() };
    match address {
        SocketAddr::V4(address) => {
            let v4 = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: address.port().to_be(),
                sin_addr: libc::in_addr {
                    s_addr: u32::from(*address.ip()).to_be(),
                },
                sin_zero: [0; 8],
            };
            // SAFETY: the IPv4 address is shorter and not more strictly aligned.
            unsafe {
                ptr::from_mut(&mut name)
                    .cast::<libc::sockaddr_in>()
                    .write(v4)
            };
        }
        SocketAddr::V6(address) => {
            name.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            name.sin6_port = address.port().to_be();
            name.sin6_addr.s6_addr = address.ip().octets();
            name.sin6_flowinfo = address.flowinfo();
            name.sin6_scope_id = address.scope_id();
        }
    }
    name
}

pub(super) fn name_len(name: &Name) -> libc::socklen_t {
    match i32::from(name.sin6_family) {
        libc::AF_INET => size_of::<libc::sockaddr_in>() as libc::socklen_t,
        _ => NAME_LEN,
    }
}

/// An array that the kernel writes into, reached by pointers only. `T` must be plain data for
/// which all bytes zero is a value.
struct Area<T: Copy>(NonNull<[T]>);

impl<T: Copy> Area<T> {
    fn zeroed(length: usize) -> Self {
        let array = Box::<[T]>::new_zeroed_slice(length);
        // SAFETY: only the plain structures above are kept in areas, and all bytes zero is a value
        // of each; a pointer from a box is not null.
        unsafe { Self(NonNull::new_unchecked(Box::into_raw(array.assume_init()))) }
    }

    /// The place of an element; panics behind the end.
    fn at(&self, index: usize) -> *mut T {
        assert!(index < self.0.len(), "an area has no element {index}");
        // SAFETY: the index was just found to be inside.
        unsafe { self.0.cast::<T>().as_ptr().add(index) }
    }
}

impl<T: Copy> Drop for Area<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer came from a box and is given back once.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "sockets belong here")]
mod tests {
    use super::super::socket::{Buffers, bind};
    use super::*;
    use socket2::Socket;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;
    use std::time::Duration;

    fn pair(host: &str) -> (Socket, UdpSocket, SocketAddr) {
        let address = format!("{host}:0").parse().unwrap();
        let socket = bind(address, Buffers::default(), false).unwrap();
        let peer = UdpSocket::bind(address).unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let local = socket.local_addr().unwrap().as_socket().unwrap();
        (socket, peer, local)
    }

    fn receive_all(socket: &Socket, wanted: usize) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut receiver = Receiver::new();
        let mut all = Vec::new();
        while all.len() < wanted {
            let count = receiver.receive(socket.as_fd(), false).unwrap();
            for slot in 0..count {
                let datagram = receiver.get(slot).unwrap();
                assert!(!datagram.is_truncated);
                all.push((datagram.from, datagram.bytes.to_vec()));
            }
            assert!(receiver.get(count).is_none());
        }
        all
    }

    fn unequal(count: usize) -> Vec<Vec<u8>> {
        let sizes = [0, 1, 800, 2_000, 9_000, 65_507];
        let one = |i: usize| vec![i as u8; sizes[i % sizes.len()]];
        (0..count).map(one).collect()
    }

    fn received_as_sent(host: &str) {
        let (socket, peer, local) = pair(host);
        let from = peer.local_addr().unwrap();
        let sent = unequal(24);
        for bytes in &sent {
            peer.send_to(bytes, local).unwrap();
        }
        let received = receive_all(&socket, sent.len());
        assert!(received.iter().all(|(source, _)| *source == from));
        assert!(received.into_iter().map(|(_, bytes)| bytes).eq(sent));
        assert_eq!(Receiver::new().receive(socket.as_fd(), true).unwrap(), 0);
    }

    #[test]
    fn unequal_datagrams_arrive_whole_and_in_order_over_ipv4() {
        received_as_sent("127.0.0.1");
    }

    #[test]
    fn unequal_datagrams_arrive_whole_and_in_order_over_ipv6() {
        received_as_sent("[::1]");
    }

    #[test]
    fn more_than_a_batch_is_received_by_further_calls() {
        let (socket, peer, local) = pair("127.0.0.1");
        for i in 0..200_u32 {
            peer.send_to(&i.to_be_bytes(), local).unwrap();
        }
        let received = receive_all(&socket, 200);
        let numbers: Vec<_> = received.iter().map(|(_, bytes)| bytes[3]).collect();
        assert_eq!(numbers, (0..200).collect::<Vec<u8>>());
    }

    #[test]
    fn all_of_a_batch_are_its_datagrams() {
        let (socket, peer, local) = pair("127.0.0.1");
        let datagrams: [&[u8]; 4] = [b"", b"INVITE", &[7; 2_000], &[8; 65_507]];
        for bytes in datagrams {
            peer.send_to(bytes, local).unwrap();
        }
        let mut receiver = Receiver::new();
        assert_eq!(receiver.all().count(), 0);
        assert_eq!(receiver.receive(socket.as_fd(), false).unwrap(), 4);
        assert_eq!(receiver.all().collect::<Vec<_>>(), datagrams);
    }

    #[test]
    fn the_kernel_tells_when_a_datagram_came_where_it_is_asked() {
        let (socket, peer, local) = pair("127.0.0.1");
        let mut receiver = Receiver::new();
        let mut take = |wants_times| {
            let before = super::super::Clock::start().now().unix_ms;
            peer.send_to(b"x", local).unwrap();
            assert_eq!(receiver.receive(socket.as_fd(), wants_times).unwrap(), 1);
            let received = receiver.get(0).unwrap().received_unix_ms;
            let after = super::super::Clock::start().now().unix_ms;
            received.map(|at| (before - 1..=after + 1).contains(&at))
        };
        assert_eq!(take(true), Some(true));
        assert_eq!(take(false), None);
        assert_eq!(take(true), Some(true));
    }

    fn refused_destination_is_told(host: &str) {
        let (socket, _, _) = pair(host);
        let dead: SocketAddr = format!("{host}:9").parse().unwrap();
        socket.send_to(b"x", &dead.into()).unwrap();
        let mut told = Vec::new();
        for _ in 0..500 {
            read_errors(socket.as_fd(), &mut |to, errno| told.push((to, errno)));
            if !told.is_empty() {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        assert_eq!(told, [(dead, libc::ECONNREFUSED)]);
    }

    #[test]
    fn a_refused_destination_is_told_by_the_error_queue_over_ipv4() {
        refused_destination_is_told("127.0.0.1");
    }

    #[test]
    fn a_refused_destination_is_told_by_the_error_queue_over_ipv6() {
        refused_destination_is_told("[::1]");
    }

    #[test]
    fn what_the_kernel_drops_is_counted() {
        let buffers = Buffers { bytes: 8_192 };
        let socket = bind("127.0.0.1:0".parse().unwrap(), buffers, false).unwrap();
        let to = socket.local_addr().unwrap().as_socket().unwrap();
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(kernel_drops(socket.as_fd()), Some(0));
        for _ in 0..100 {
            peer.send_to(&[0; 1_000], to).unwrap();
        }
        assert!(kernel_drops(socket.as_fd()).unwrap() > 50);
    }
}
