//! Datagrams by the train: of one length, end to end, to one address, given to the kernel as one,
//! which divides them itself (UDP_SEGMENT). Sending is most of what a generator costs.
#![expect(
    unsafe_code,
    reason = "no safe wrapper sends several trains of datagrams at once"
)]

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::ptr;

use super::super::batch::{
    BATCH, Name, PATIENCE_MS, TRIES, name_len, send_some, to_name, wait_until_writable,
};

/// Room for what tells the kernel a train's division, aligned as it must be.
type Control = [u64; 4];
/// What stands in it.
const DIVISION_BYTES: libc::c_uint = size_of::<u16>() as libc::c_uint;

/// Datagrams that travel as one; the last may be shorter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Train<'a> {
    /// Where they go; `None` to the peer that the socket is connected to.
    pub to: Option<SocketAddr>,
    /// All of them.
    pub bytes: &'a [u8],
    /// How long each is.
    pub each: u16,
}

/// What sending needs beside the trains.
#[derive(Default)]
pub(super) struct Station {
    names: Vec<Option<Name>>,
    vectors: Vec<libc::iovec>,
    controls: Vec<(u16, Control)>,
    headers: Vec<libc::mmsghdr>,
}

impl Station {
    /// Sends trains in their order; how many the kernel did not take.
    pub(super) fn send<'a>(
        &mut self,
        socket: BorrowedFd<'_>,
        trains: impl Iterator<Item = Train<'a>>,
    ) -> u64 {
        let mut failed = 0;
        let mut patience = PATIENCE_MS;
        let mut trains = trains.fuse();
        loop {
            self.names.clear();
            self.vectors.clear();
            self.controls.clear();
            for train in trains.by_ref().take(BATCH) {
                self.names.push(train.to.map(to_name));
                let iov_base = train.bytes.as_ptr().cast_mut().cast();
                self.vectors.push(libc::iovec {
                    iov_base,
                    iov_len: train.bytes.len(),
                });
                let is_one = train.bytes.len() <= usize::from(train.each);
                let division = if is_one { 0 } else { train.each };
                self.controls.push((division, [0; 4]));
            }
            if self.names.is_empty() {
                return failed;
            }
            self.point();
            failed += self.send_batch(socket, &mut patience);
        }
    }

    /// Makes the headers point at the names, vectors and divisions of this batch.
    fn point(&mut self) {
        self.headers.clear();
        let parts = self.names.iter_mut().zip(&mut self.vectors);
        for ((name, vector), (division, control)) in parts.zip(&mut self.controls) {
            // SAFETY: all bytes zero is a header without anything.
            let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
            let message = &mut header.msg_hdr;
            if let Some(name) = name {
                message.msg_namelen = name_len(name);
                message.msg_name = ptr::from_mut(name).cast();
            }
            message.msg_iov = vector;
            message.msg_iovlen = 1;
            if *division > 0 {
                divide(message, *division, control);
            }
            self.headers.push(header);
        }
    }

    fn send_batch(&mut self, socket: BorrowedFd<'_>, patience: &mut i32) -> u64 {
        let (mut next, mut tries, mut failed) = (0, 0, 0);
        while let Some(rest) = self.headers.get_mut(next..).filter(|rest| !rest.is_empty()) {
            let error = match send_some(socket, rest) {
                Ok(count) => {
                    (next, tries) = (next + count, 0);
                    continue;
                }
                Err(error) => error,
            };
            if is_final(&error, socket, (patience, &mut tries)) {
                failed += 1;
                (next, tries) = (next + 1, 0);
            }
        }
        failed
    }
}

/// Whether a train is given up: an error may be an earlier one's, told by ICMP, and a full buffer
/// is waited for.
fn is_final(
    error: &io::Error,
    socket: BorrowedFd<'_>,
    (patience, tries): (&mut i32, &mut u32),
) -> bool {
    match error.raw_os_error() {
        Some(libc::EINTR) => false,
        Some(libc::EAGAIN) => !wait_until_writable(socket, patience),
        Some(libc::ENOBUFS) => true,
        _ => {
            *tries += 1;
            *tries >= TRIES
        }
    }
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

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a peer has a socket")]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;
    use std::time::Duration;

    #[test]
    fn a_train_arrives_as_its_datagrams_with_and_without_an_address() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let to = peer.local_addr().unwrap();
        let mut station = Station::default();
        let trains = |to| {
            [(&b"onetwosix"[..], 3), (b"four", 4), (b"fiveend", 4)]
                .into_iter()
                .map(move |(bytes, each)| Train { to, bytes, each })
        };
        assert_eq!(station.send(socket.as_fd(), trains(Some(to))), 0);
        socket.connect(to).unwrap();
        assert_eq!(station.send(socket.as_fd(), trains(None)), 0);
        for _ in 0..2 {
            for message in ["one", "two", "six", "four", "five", "end"] {
                let mut buffer = [0; 16];
                let (length, from) = peer.recv_from(&mut buffer).unwrap();
                assert_eq!(&buffer[..length], message.as_bytes());
                assert_eq!(from, socket.local_addr().unwrap());
            }
        }
    }

    #[test]
    fn what_cannot_be_sent_is_counted_and_holds_nothing_up() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let good = peer.local_addr().unwrap();
        let bad: SocketAddr = "[::1]:9".parse().unwrap();
        let trains = [bad, good].map(|to| Train {
            to: Some(to),
            bytes: b"x",
            each: 1,
        });
        let failed = Station::default().send(socket.as_fd(), trains.into_iter());
        assert_eq!(failed, 1);
        assert_eq!(peer.recv_from(&mut [0; 4]).unwrap().0, 1);
    }
}
