//! The challenges of a 401 or 407 (RFC 7616 §3.3, RFC 8760 §2.4).

use super::algorithm::Algorithm;
use super::nonce::write_hex;

/// In which role a request is challenged (RFC 3261 §22.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// We answer the request ourselves: 401.
    Server,
    /// We pass it on: 407.
    Proxy,
}

impl Side {
    /// The status of the response.
    pub const fn status(self) -> u16 {
        match self {
            Self::Server => 401,
            Self::Proxy => 407,
        }
    }

    /// The header field of the challenge.
    pub const fn challenge_name(self) -> &'static str {
        match self {
            Self::Server => "WWW-Authenticate",
            Self::Proxy => "Proxy-Authenticate",
        }
    }
}

/// What a client is asked to answer; one nonce serves every algorithm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Challenge<'a> {
    /// The realm, without quotes or backslashes.
    pub realm: &'a str,
    /// The nonce.
    pub nonce: &'a [u8],
    /// Sent back by clients, looked at by nobody.
    pub opaque: u32,
    /// The password was right, the nonce was not: the client goes on without asking its user.
    pub is_stale: bool,
}

impl Challenge<'_> {
    /// Appends one header line for each algorithm, the preferred first: a client answers the first
    /// that it knows.
    pub fn write(&self, side: Side, algorithms: &[Algorithm], out: &mut Vec<u8>) {
        for algorithm in algorithms {
            out.extend_from_slice(side.challenge_name().as_bytes());
            out.extend_from_slice(b": Digest realm=\"");
            out.extend_from_slice(self.realm.as_bytes());
            out.extend_from_slice(b"\", nonce=\"");
            out.extend_from_slice(self.nonce);
            out.extend_from_slice(b"\", opaque=\"");
            write_hex(out, self.opaque.into(), 8);
            out.extend_from_slice(b"\"");
            if self.is_stale {
                out.extend_from_slice(b", stale=true");
            }
            out.extend_from_slice(b", algorithm=");
            out.extend_from_slice(algorithm.name().as_bytes());
            out.extend_from_slice(b", qop=\"auth\"\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::auth::fields::{fields, scheme};

    fn read(line: &str) -> HashMap<String, String> {
        let (name, value) = line.split_once(": ").unwrap();
        let (scheme, rest) = scheme(value.as_bytes());
        assert_eq!(scheme, b"Digest");
        let mut found = HashMap::from([("header".to_owned(), name.to_owned())]);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        fields(rest, |field| {
            let twice = found.insert(text(field.name), text(field.value));
            assert_eq!(twice, None);
        })
        .unwrap();
        found
    }

    #[test]
    fn the_preferred_algorithm_comes_first_and_all_share_a_nonce() {
        let challenge = Challenge {
            realm: "example.com",
            nonce: b"5ca1ab1e",
            opaque: 0xbeef,
            is_stale: true,
        };
        let mut out = Vec::new();
        challenge.write(Side::Server, &[Algorithm::Sha256, Algorithm::Md5], &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "WWW-Authenticate: Digest realm=\"example.com\", nonce=\"5ca1ab1e\", \
             opaque=\"0000beef\", stale=true, algorithm=SHA-256, qop=\"auth\"\r\n\
             WWW-Authenticate: Digest realm=\"example.com\", nonce=\"5ca1ab1e\", \
             opaque=\"0000beef\", stale=true, algorithm=MD5, qop=\"auth\"\r\n"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            realm in "[ -!#-\\[\\]-~]{0,40}", nonce in "[0-9a-f]{0,60}", opaque in any::<u32>(),
            is_stale in any::<bool>(), is_proxy in any::<bool>(),
        ) {
            let challenge = Challenge {
                realm: &realm,
                nonce: nonce.as_bytes(),
                opaque,
                is_stale,
            };
            let side = if is_proxy { Side::Proxy } else { Side::Server };
            let mut out = Vec::new();
            challenge.write(side, &Algorithm::ALL, &mut out);
            let text = String::from_utf8(out).unwrap();
            prop_assert_eq!(text.lines().count(), 3);
            for (line, algorithm) in text.lines().zip(Algorithm::ALL) {
                let read = read(line);
                prop_assert_eq!(&read["header"], side.challenge_name());
                prop_assert_eq!(&read["realm"], &realm);
                prop_assert_eq!(&read["nonce"], &nonce);
                prop_assert_eq!(&read["opaque"], &format!("{opaque:08x}"));
                prop_assert_eq!(read.get("stale").map(String::as_str), is_stale.then_some("true"));
                prop_assert_eq!(&read["algorithm"], algorithm.name());
                prop_assert_eq!(&read["qop"], "auth");
            }
        }
    }
}
