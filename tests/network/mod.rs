//! Addresses of this machine for one test alone, so that their ports need not be looked for: a
//! port that was free a moment ago may be another test's by now.

#![allow(unreachable_pub, reason = "the modules of a test binary share")]

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

/// Addresses 127.x.y.* that no other test uses, for as long as it lives.
pub struct Network {
    octets: [u8; 2],
    _claim: UdpSocket,
}

impl Network {
    pub fn claim() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let start = std::process::id() as u16;
        loop {
            let number = start.wrapping_mul(97) ^ NEXT.fetch_add(1, Ordering::Relaxed);
            let octets = [(number >> 8) as u8 | 1, number as u8];
            let ip = Ipv4Addr::new(127, octets[0], octets[1], 254);
            if let Ok(_claim) = UdpSocket::bind((ip, 9)) {
                return Self { octets, _claim };
            }
        }
    }

    /// 127.x.y.`last`. Take ports below 32768: those above the kernel gives to whoever asks for
    /// any port, also on all addresses at once.
    pub fn host(&self, last: u8) -> IpAddr {
        let [second, third] = self.octets;
        IpAddr::V4(Ipv4Addr::new(127, second, third, last))
    }
}
