//! Datagrams out by the batch: sendmmsg, behind a safe call.
//!
//! What goes to one address and is of one length travels joined, as a train: given to the kernel as
//! one, which divides it itself (UDP_SEGMENT). Most of what a message costs the kernel is the way
//! through it, and a train goes that way once. Nothing is allocated once the room is there.
#![expect(
    unsafe_code,
    reason = "no safe wrapper sends several messages at once, or a joined one"
)]

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use super::batch::{BATCH, Name, TRIES, is_reported_by_icmp, name_len, to_name};

/// How long a full send buffer is waited for before the rest of a batch is dropped.
const PATIENCE_MS: i32 = 5;
/// The longest datagram that is joined to others, bytes: nearly all paths take it whole.
const LONGEST_JOINED: usize = 1_400;
/// How many travel as one at most: the kernel takes 64, and 65,507 bytes.
const MOST_JOINED: usize = 46;
/// How many of the last trains are looked at for one that goes where a datagram goes.
const LOOKED_AT: usize = 4;
/// For how many batches it is remembered that the kernel has refused a train, as for a path that
/// takes only shorter datagrams.
const WARY_FOR: u32 = 1_000;
/// Room for what tells the kernel a train's division, aligned as it must be.
type Control = [u64; 4];
/// What stands in it: a length.
const DIVISION_BYTES: libc::c_uint = size_of::<u16>() as libc::c_uint;

/// What sending needs beside the datagrams.
pub(super) struct Sender {
    /// The batch, in the order it came.
    datagrams: Vec<(SocketAddr, libc::iovec)>,
    /// Which train each of them has.
    of: Vec<usize>,
    trains: Vec<Train>,
    /// The datagrams again, train by train.
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    /// Whether the kernel divides trains; `None` as long as it was not asked.
    divides: Option<bool>,
    /// The longest datagram that is joined to others, bytes.
    longest_joined: usize,
    /// How many batches that is less than usual.
    wary_for: u32,
}

/// Datagrams that travel as one; the last may be shorter than the others.
struct Train {
    to: SocketAddr,
    name: Name,
    control: Control,
    /// How long each is.
    each: usize,
    count: usize,
    is_full: bool,
}

/// How a batch is sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    /// Of how many datagrams on a batch travels joined; `usize::MAX` for never.
    pub join_from: usize,
    /// Whether the socket is connected to where all go.
    pub is_connected: bool,
}

impl Manner {
    /// Each datagram by itself, to the address it has.
    pub(super) const ONE_BY_ONE: Self = Self {
        join_from: usize::MAX,
        is_connected: false,
    };
}

/// How the sending of some datagrams went.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    /// Datagrams that the kernel took.
    pub datagrams: usize,
    /// Those of them that travelled with others.
    pub joined: usize,
    /// System calls that this needed.
    pub calls: usize,
}

impl Sender {
    /// An empty one.
    pub(super) fn new() -> Self {
        Self {
            datagrams: Vec::with_capacity(BATCH),
            of: Vec::with_capacity(BATCH),
            trains: Vec::with_capacity(BATCH),
            vectors: Vec::with_capacity(BATCH),
            headers: Vec::with_capacity(BATCH),
            divides: None,
            longest_joined: LONGEST_JOINED,
            wary_for: 0,
        }
    }

    /// Sends datagrams; those to one address in their order. One that cannot be sent is told to
    /// `failed` with the reason and does not stop the others.
    pub(super) fn send<'a>(
        &mut self,
        socket: BorrowedFd<'_>,
        manner: Manner,
        datagrams: impl Iterator<Item = (SocketAddr, &'a [u8])>,
        failed: &mut dyn FnMut(SocketAddr, &io::Error),
    ) -> Sent {
        let mut sent = Sent::default();
        let mut datagrams = datagrams.fuse();
        let mut patience = PATIENCE_MS;
        loop {
            self.datagrams.clear();
            let batch = datagrams.by_ref().take(BATCH);
            self.datagrams.extend(batch.map(|(to, bytes)| {
                let iov_base = bytes.as_ptr().cast_mut().cast();
                let iov_len = bytes.len();
                (to, libc::iovec { iov_base, iov_len })
            }));
            if self.datagrams.is_empty() {
                return sent;
            }
            self.join(manner.join_from, socket);
            self.point(manner.is_connected);
            self.send_batch(socket, manner, &mut patience, failed, &mut sent);
        }
    }

    /// Makes trains of the batch, and puts its datagrams side by side, train by train.
    fn join(&mut self, join_from: usize, socket: BorrowedFd<'_>) {
        match self.wary_for {
            0 => self.longest_joined = LONGEST_JOINED,
            _ => self.wary_for -= 1,
        }
        let joins = self.datagrams.len() >= join_from.max(2)
            && *self.divides.get_or_insert_with(|| divides(socket));
        self.of.clear();
        self.trains.clear();
        self.vectors.clear();
        if !joins {
            for (to, vector) in &self.datagrams {
                self.trains.push(Train::of_one(*to, vector.iov_len, true));
                self.vectors.push(*vector);
            }
            return;
        }
        for (to, vector) in &self.datagrams {
            let length = vector.iov_len;
            // Of those that go there the last one, or what came later would arrive sooner.
            let mut last = self.trains.iter_mut().enumerate().rev().take(LOOKED_AT);
            let found = last.find(|(_, train)| train.to == *to);
            let train = match found.filter(|(_, train)| train.takes(length)) {
                Some((number, train)) => {
                    train.count += 1;
                    train.is_full = length < train.each;
                    number
                }
                None => {
                    let is_full = length > self.longest_joined;
                    self.trains.push(Train::of_one(*to, length, is_full));
                    self.trains.len() - 1
                }
            };
            self.of.push(train);
        }
        self.line_up();
    }

    /// Puts the datagrams of each train side by side.
    fn line_up(&mut self) {
        let (mut next, mut at) = ([0_usize; BATCH], 0);
        for (place, train) in next.iter_mut().zip(&self.trains) {
            *place = at;
            at += train.count;
        }
        let nothing = libc::iovec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        };
        self.vectors.resize(self.datagrams.len(), nothing);
        for ((_, vector), train) in self.datagrams.iter().zip(&self.of) {
            if let Some(place) = next.get_mut(*train)
                && let Some(there) = self.vectors.get_mut(*place)
            {
                *there = *vector;
                *place += 1;
            }
        }
    }

    /// Makes the headers point at the names, vectors and divisions of this batch.
    fn point(&mut self, is_connected: bool) {
        self.headers.clear();
        let mut vectors = self.vectors.as_mut_slice();
        for train in &mut self.trains {
            let Some((own, rest)) = mem::take(&mut vectors).split_at_mut_checked(train.count)
            else {
                return;
            };
            vectors = rest;
            // SAFETY: all bytes zero is a header without anything.
            let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
            let message = &mut header.msg_hdr;
            if !is_connected {
                message.msg_namelen = name_len(&train.name);
                message.msg_name = ptr::from_mut(&mut train.name).cast();
            }
            message.msg_iov = own.as_mut_ptr();
            message.msg_iovlen = train.count as _;
            if train.count > 1 {
                divide(message, train.each as u16, &mut train.control);
            }
            self.headers.push(header);
        }
    }

    fn send_batch(
        &mut self,
        socket: BorrowedFd<'_>,
        manner: Manner,
        patience: &mut i32,
        failed: &mut dyn FnMut(SocketAddr, &io::Error),
        sent: &mut Sent,
    ) {
        let mut next = 0;
        let mut tries = 0;
        while let Some(rest) = self.headers.get_mut(next..).filter(|rest| !rest.is_empty()) {
            sent.calls += 1;
            let error = match send_some(socket, rest) {
                Ok(count) => {
                    for train in self.trains.iter().skip(next).take(count) {
                        sent.datagrams += train.count;
                        sent.joined += if train.count > 1 { train.count } else { 0 };
                    }
                    (next, tries) = (next + count, 0);
                    continue;
                }
                Err(error) => error,
            };
            let Some(train) = self.trains.get(next) else {
                return;
            };
            let is_reported = error.raw_os_error().is_some_and(is_reported_by_icmp);
            let (is_final, has_room) = match error.raw_os_error() {
                Some(libc::EINTR) => continue,
                Some(libc::EAGAIN) => (!wait_until_writable(socket, patience), false),
                Some(libc::ENOBUFS) => (true, false),
                _ => {
                    tries += 1;
                    (tries >= TRIES || train.count > 1 && !is_reported, true)
                }
            };
            if !is_final {
                continue;
            }
            tries = 0;
            if train.count > 1 && has_room {
                if !is_reported {
                    self.be_wary(train.each, &error);
                }
                self.part(next);
                self.point(manner.is_connected);
            } else {
                (0..train.count).for_each(|_| failed(train.to, &error));
                next += 1;
            }
        }
    }

    /// Joins only what is shorter for some time: the kernel has refused a train of this length, or,
    /// with EIO, any, as nobody would put the check sums into its datagrams.
    fn be_wary(&mut self, length: usize, error: &io::Error) {
        self.longest_joined = match error.raw_os_error() {
            Some(libc::EIO) => 0,
            _ => length.saturating_sub(1),
        };
        self.wary_for = WARY_FOR;
    }

    /// Takes the trains from `next` on apart: each of their datagrams goes by itself.
    fn part(&mut self, next: usize) {
        let parted: Vec<Train> = self.trains.drain(next..).collect();
        let done = self.trains.iter().map(|train| train.count).sum();
        let mut vectors = self.vectors.iter().skip(done);
        for train in parted {
            let own = vectors.by_ref().take(train.count);
            let alone = own.map(|vector| Train::of_one(train.to, vector.iov_len, true));
            self.trains.extend(alone);
        }
    }
}

impl Train {
    fn of_one(to: SocketAddr, length: usize, is_full: bool) -> Self {
        Self {
            to,
            name: to_name(to),
            control: [0; 4],
            each: length,
            count: 1,
            is_full,
        }
    }

    /// Whether a datagram of this length can travel behind those it has. One without a byte cannot:
    /// nothing would tell where it is.
    fn takes(&self, length: usize) -> bool {
        !self.is_full && (1..=self.each).contains(&length) && self.count < MOST_JOINED
    }
}

/// Whether the kernel divides trains (Linux 4.18). An older one would take a train for one datagram.
fn divides(socket: BorrowedFd<'_>) -> bool {
    let mut division: libc::c_int = 0;
    let mut length = size_of_val(&division) as libc::socklen_t;
    // SAFETY: the value is as long as said, and the kernel writes no more than that.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            ptr::from_mut(&mut division).cast(),
            &mut length,
        )
    };
    result == 0
}

/// Tells the kernel how long each datagram of a train is.
fn divide(message: &mut libc::msghdr, division: u16, control: &mut Control) {
    message.msg_control = ptr::from_mut(control).cast();
    // SAFETY: the control has room for a header and two bytes, is aligned, and is not touched
    // before the batch was sent; the macros stay inside it.
    unsafe {
        message.msg_controllen = libc::CMSG_SPACE(DIVISION_BYTES) as _;
        let head = libc::CMSG_FIRSTHDR(message);
        (*head).cmsg_level = libc::SOL_UDP;
        (*head).cmsg_type = libc::UDP_SEGMENT;
        (*head).cmsg_len = libc::CMSG_LEN(DIVISION_BYTES) as _;
        ptr::write_unaligned(libc::CMSG_DATA(head).cast(), division);
    }
}

fn send_some(socket: BorrowedFd<'_>, headers: &mut [libc::mmsghdr]) -> io::Result<usize> {
    let count = headers.len() as libc::c_uint;
    // SAFETY: `point` made the headers refer to names, vectors and controls that are not touched
    // before the batch is over, and the vectors refer to slices that `send` borrows; the kernel
    // only reads.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            count,
            libc::MSG_DONTWAIT,
        )
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Waits until a full send buffer has room, within what is left of the patience; each wait costs
/// at least a millisecond of it.
fn wait_until_writable(socket: BorrowedFd<'_>, patience: &mut i32) -> bool {
    if *patience <= 0 {
        return false;
    }
    *patience -= 1;
    let mut poll = libc::pollfd {
        fd: socket.as_raw_fd(),
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: one entry is passed, and its count is 1.
    unsafe { libc::poll(&mut poll, 1, 1) };
    true
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "peers have sockets")]
mod tests {
    use super::super::socket::{Buffers, bind};
    use super::*;
    use proptest::prelude::*;
    use socket2::Socket;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;
    use std::time::Duration;

    const ONE_BY_ONE: Manner = Manner::ONE_BY_ONE;
    const JOINED: Manner = Manner {
        join_from: 2,
        ..ONE_BY_ONE
    };

    fn peer() -> (UdpSocket, SocketAddr) {
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let address = peer.local_addr().unwrap();
        (peer, address)
    }

    fn socket() -> Socket {
        bind("127.0.0.1:0".parse().unwrap(), Buffers::default(), false).unwrap()
    }

    fn send(manner: Manner, datagrams: &[(SocketAddr, &[u8])]) -> (Sent, Vec<SocketAddr>) {
        let mut failures = Vec::new();
        let mut failed = |to, _: &io::Error| failures.push(to);
        let sent = Sender::new().send(
            socket().as_fd(),
            manner,
            datagrams.iter().copied(),
            &mut failed,
        );
        (sent, failures)
    }

    fn received(peer: &UdpSocket) -> Vec<u8> {
        let mut buffer = vec![0; 65_536];
        let (length, _) = peer.recv_from(&mut buffer).unwrap();
        buffer.truncate(length);
        buffer
    }

    #[test]
    fn more_than_a_batch_is_sent_in_order() {
        let (peer, to) = peer();
        let datagrams: Vec<_> = (0..200_u8).map(|i| vec![i; 1 + usize::from(i)]).collect();
        let all: Vec<_> = datagrams
            .iter()
            .map(|bytes| (to, bytes.as_slice()))
            .collect();
        let (sent, failures) = send(ONE_BY_ONE, &all);
        assert_eq!((sent.datagrams, sent.joined, sent.calls), (200, 0, 4));
        assert!(failures.is_empty());
        assert!(datagrams.iter().all(|bytes| received(&peer) == *bytes));
    }

    #[test]
    fn what_is_joined_arrives_as_its_datagrams() {
        let ((one, to_one), (two, to_two)) = (peer(), peer());
        let long = [b'l'; LONGEST_JOINED + 1];
        // To each: of one length, then a shorter one, which ends the train.
        let datagrams = [
            (to_one, &b"first"[..]),
            (to_two, b"other"),
            (to_one, b"third"),
            (to_one, b"end"),
            (to_two, b"again"),
            (to_one, b""),
            (to_one, b"new"),
            (to_one, &long),
            (to_one, &long),
        ];
        let (sent, failures) = send(JOINED, &datagrams);
        assert_eq!((sent.datagrams, sent.joined, sent.calls), (9, 5, 1));
        assert!(failures.is_empty());
        for message in [&b"first"[..], b"third", b"end", b"", b"new", &long, &long] {
            assert_eq!(received(&one), message);
        }
        assert_eq!(received(&two), b"other");
        assert_eq!(received(&two), b"again");
        let (sent, _) = send(
            Manner {
                join_from: 4,
                ..JOINED
            },
            &datagrams[..3],
        );
        assert_eq!((sent.datagrams, sent.joined), (3, 0));
    }

    #[test]
    fn a_connected_socket_needs_no_address() {
        let (peer, to) = peer();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(to).unwrap();
        let manner = Manner {
            is_connected: true,
            ..JOINED
        };
        let datagrams = [b"one", b"two"].map(|bytes| (to, &bytes[..]));
        let sent = Sender::new().send(
            socket.as_fd(),
            manner,
            datagrams.into_iter(),
            &mut |to, error| panic!("{to}: {error}"),
        );
        assert_eq!((sent.datagrams, sent.joined), (2, 2));
        assert_eq!(
            (received(&peer), received(&peer)),
            (b"one".into(), b"two".into())
        );
    }

    #[test]
    fn one_bad_destination_loses_no_other_datagram() {
        let (peer, good) = peer();
        let bad: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let six: SocketAddr = "[::1]:5060".parse().unwrap();
        let too_long = vec![0; 65_536];
        let datagrams = [
            (good, &b"1"[..]),
            (bad, b"x"),
            (good, b"2"),
            (bad, b"x"),
            (six, b"x"),
            (good, &too_long),
            (good, b"3"),
        ];
        for manner in [ONE_BY_ONE, JOINED] {
            let (sent, failures) = send(manner, &datagrams);
            assert_eq!((sent.datagrams, failures), (3, vec![bad, bad, six, good]));
            for expected in [b"1", b"2", b"3"] {
                assert_eq!(received(&peer), expected);
            }
        }
    }

    #[test]
    fn after_a_train_was_refused_others_are_tried_again_later() {
        let (peer, good) = peer();
        let bad: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let socket = socket();
        let mut sender = Sender::new();
        let mut joined = |to| {
            let two = [(to, &b"x"[..]), (to, b"y")];
            let sent = sender.send(socket.as_fd(), JOINED, two.into_iter(), &mut |_, _| {});
            if sent.datagrams == 2 {
                assert_eq!(
                    (received(&peer), received(&peer)),
                    (b"x".into(), b"y".into())
                );
            }
            (sent.datagrams, sent.joined)
        };
        assert_eq!(joined(good), (2, 2));
        assert_eq!(joined(bad), (0, 0));
        for _ in 0..WARY_FOR {
            assert_eq!(joined(good), (2, 0));
        }
        assert_eq!(joined(good), (2, 2));
    }

    #[test]
    fn an_error_of_an_earlier_datagram_loses_no_later_one() {
        let (peer, good) = peer();
        // Nobody listens there, and the kernel gives a port so low to nobody.
        let dead = "127.0.0.1:9".parse().unwrap();
        let socket = socket();
        let mut sender = Sender::new();
        for manner in [ONE_BY_ONE, JOINED] {
            for i in 0..20_u8 {
                let bytes = [i];
                let both = [dead, good, dead, good].map(|to| (to, &bytes[..]));
                let failed = &mut |to, error: &io::Error| panic!("{to}: {error}");
                let sent = sender.send(socket.as_fd(), manner, both.into_iter(), failed);
                assert_eq!(sent.datagrams, 4);
            }
            for i in 0..20_u8 {
                assert_eq!((received(&peer), received(&peer)), (vec![i], vec![i]));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn joined_or_not_each_destination_gets_its_datagrams_in_order(
            wanted in proptest::collection::vec((0..7_usize, 0..4_usize), 1..200),
        ) {
            let lengths = [0, 3, 40, LONGEST_JOINED];
            let peers: Vec<_> = (0..7).map(|_| peer()).collect();
            let datagrams: Vec<_> = (0_u32..)
                .zip(&wanted)
                .map(|(i, (peer, length))| {
                    let mut bytes = i.to_be_bytes().to_vec();
                    bytes.resize(4 + lengths[*length], 0);
                    (*peer, bytes)
                })
                .collect();
            let all: Vec<_> = datagrams
                .iter()
                .map(|(peer, bytes)| (peers[*peer].1, bytes.as_slice()))
                .collect();
            let (sent, failures) = send(JOINED, &all);
            prop_assert_eq!((sent.datagrams, failures.len()), (all.len(), 0));
            for (peer, bytes) in &datagrams {
                prop_assert_eq!(&received(&peers[*peer].0), bytes);
            }
        }
    }
}
