//! New requests given up before they cost anything: a socket filter that lets only a share of them
//! through.
//!
//! Where much more comes than can be handled, receiving what is then dropped takes most of the time,
//! and a buffer that overflows loses anything, also the BYE of a call in progress. So the kernel is
//! told to leave a share of what begins something new, by chance, before it reaches the buffer. Whoever
//! is not heard sends again after T1, with the same chance. Of what comes through, the engine
//! gives up some more and says so with a 503 (`proxy::overload`).
#![expect(unsafe_code, reason = "socket filters have no safe wrapper")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{sock_filter, sock_fprog};

/// All of it, in ten-thousandths.
pub(super) const ALL: u32 = 10_000;

/// The methods of which a share is left: their first four octets. A request within a dialog looks the
/// same from here and takes the chance as well; ACK, BYE, CANCEL, PRACK, UPDATE and responses do not.
const METHODS: [&[u8; 4]; 5] = [b"INVI", b"REGI", b"SUBS", b"PUBL", b"MESS"];
/// What a filter reads begins with the header of UDP.
const MESSAGE: u32 = 8;
/// Where the Request-URI of an INVITE begins.
const INVITE_URI: u32 = MESSAGE + 7;

/// Lets through `share` ten-thousandths of the new requests that come to a socket, or everything
/// again from [`ALL`] on.
///
/// # Errors
/// The system does not allow filters.
pub(super) fn set(socket: BorrowedFd<'_>, share: u32) -> io::Result<()> {
    if share >= ALL {
        let nothing = 0_i32;
        return option(socket, libc::SO_DETACH_FILTER, &nothing);
    }
    let mut program = program(share);
    let program = sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    option(socket, libc::SO_ATTACH_FILTER, &program)
}

/// What the kernel runs for each datagram: `0` leaves it, anything else is how much of it to keep.
fn program(share: u32) -> Vec<sock_filter> {
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let equals = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let below = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
    let give = libc::BPF_RET | libc::BPF_K;
    let random = (libc::SKF_AD_OFF + libc::SKF_AD_RANDOM) as u32;
    let threshold = (u64::from(share) * u64::from(u32::MAX) / u64::from(ALL)) as u32;
    let step = |code: u32, yes: u8, no: u8, k: u32| sock_filter {
        code: code as u16,
        jt: yes,
        jf: no,
        k,
    };
    let mut steps = vec![step(load, 0, 0, MESSAGE)];
    // Jumps count the steps between: each method's leads to the check of emergency calls.
    for (place, method) in (1_u8..).zip(METHODS) {
        let later = METHODS.len() as u8 - place;
        let otherwise = if later == 0 { 4 } else { 0 };
        steps.push(step(equals, later, otherwise, u32::from_be_bytes(*method)));
    }
    steps.extend([
        step(load, 0, 0, INVITE_URI),
        step(equals, 2, 0, u32::from_be_bytes(*b"urn:")),
        step(load, 0, 0, random),
        step(below, 1, 0, threshold),
        step(give, 0, 0, u32::MAX),
        step(give, 0, 0, 0),
    ]);
    steps
}

fn option<T>(socket: BorrowedFd<'_>, name: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: the value is what these options want and outlives the call; the kernel copies it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "sockets belong here")]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;
    use std::time::Duration;

    /// How many of 400 datagrams come through.
    fn come_through(share: u32, datagram: &[u8]) -> usize {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        set(socket.as_fd(), share).unwrap();
        let count = |datagram: &[u8]| {
            let mut came = 0;
            for _ in 0..400 {
                peer.send_to(datagram, socket.local_addr().unwrap())
                    .unwrap();
                socket.set_nonblocking(true).unwrap();
                came += usize::from(socket.recv(&mut [0; 64]).is_ok());
            }
            came
        };
        let came = count(datagram);
        set(socket.as_fd(), ALL).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        assert_eq!(count(datagram), 400, "without the filter all come");
        came
    }

    #[test]
    fn a_share_of_what_is_new_comes_through() {
        for start in [
            "INVITE sip:a@b",
            "REGISTER sip:b S",
            "SUBSCRIBE sip:a",
            "PUBLISH sip:a@b",
            "MESSAGE sip:a@b",
        ] {
            assert_eq!(come_through(0, start.as_bytes()), 0, "{start}");
            let half = come_through(ALL / 2, start.as_bytes());
            assert!((100..300).contains(&half), "{start}: {half}");
        }
    }

    #[test]
    fn what_calls_in_progress_need_always_comes_through() {
        for start in [
            "ACK sip:a@b SIP/",
            "BYE sip:a@b SIP/",
            "CANCEL sip:a@b S",
            "PRACK sip:a@b SI",
            "UPDATE sip:a@b S",
            "OPTIONS sip:a@b ",
            "SIP/2.0 200 OK\r\n",
            "INVITE urn:service:sos SIP/2.0",
        ] {
            assert_eq!(come_through(0, start.as_bytes()), 400, "{start}");
        }
    }

    #[test]
    fn what_is_too_short_for_a_request_does_not_come() {
        assert_eq!(come_through(0, b"INV"), 0);
    }
}
