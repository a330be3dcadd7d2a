//! What a client presents in Authorization or Proxy-Authorization.

use super::algorithm::{Algorithm, Hash, nibble};
use super::fields::{fields, scheme};

/// The longest user name that is looked at.
const USERNAME_LIMIT_BYTES: usize = 256;

/// Digest credentials that were read; whether they are right is another question.
///
/// `username*` and `userhash` (RFC 7616 §3.4.4) are not understood: our challenges do not offer
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presented<'m> {
    /// Who the client says it is.
    pub username: &'m [u8],
    /// For which realm.
    pub realm: &'m [u8],
    /// The nonce it answers.
    pub nonce: &'m [u8],
    /// The URI it means.
    pub uri: &'m [u8],
    /// The proof.
    pub response: Hash,
    /// The algorithm; MD5 where none is named.
    pub algorithm: Algorithm,
    /// Whether the algorithm is the `-sess` variant.
    pub is_session: bool,
    /// `qop=auth` with its counter and the client's nonce; `None` for a client of RFC 2069.
    pub quality: Option<Quality<'m>>,
    /// The client's nonce, where there is one; `-sess` needs it.
    pub cnonce: &'m [u8],
}

/// What `qop=auth` adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quality<'m> {
    /// `auth`, as written.
    pub qop: &'m [u8],
    /// The counter as written, eight digits.
    pub nc: &'m [u8],
    /// Its value.
    pub count: u32,
}

impl<'m> Presented<'m> {
    /// Reads a header's value. `None` for another scheme and for what is cut off, doubled or
    /// makes no sense: such a header counts as absent.
    pub fn parse(value: &'m [u8]) -> Option<Self> {
        let (scheme, rest) = scheme(value);
        if !scheme.eq_ignore_ascii_case(b"Digest") {
            return None;
        }
        let mut raw = Raw::default();
        let mut is_doubled = false;
        fields(rest, |field| {
            if let Some(slot) = raw.slot(field.name) {
                is_doubled |= slot.replace(field.value).is_some();
            }
        })?;
        if is_doubled || raw.userhash.is_some_and(is_true) {
            return None;
        }
        raw.read()
    }
}

/// The fields as they were written.
#[derive(Default)]
struct Raw<'m> {
    username: Option<&'m [u8]>,
    realm: Option<&'m [u8]>,
    nonce: Option<&'m [u8]>,
    uri: Option<&'m [u8]>,
    response: Option<&'m [u8]>,
    algorithm: Option<&'m [u8]>,
    cnonce: Option<&'m [u8]>,
    qop: Option<&'m [u8]>,
    nc: Option<&'m [u8]>,
    userhash: Option<&'m [u8]>,
}

impl<'m> Raw<'m> {
    fn slot(&mut self, name: &[u8]) -> Option<&mut Option<&'m [u8]>> {
        let slots: [(&[u8], &mut Option<&'m [u8]>); 10] = [
            (b"username", &mut self.username),
            (b"realm", &mut self.realm),
            (b"nonce", &mut self.nonce),
            (b"uri", &mut self.uri),
            (b"response", &mut self.response),
            (b"algorithm", &mut self.algorithm),
            (b"cnonce", &mut self.cnonce),
            (b"qop", &mut self.qop),
            (b"nc", &mut self.nc),
            (b"userhash", &mut self.userhash),
        ];
        let mut slots = slots.into_iter();
        slots
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, slot)| slot)
    }

    fn read(self) -> Option<Presented<'m>> {
        let (algorithm, is_session) = match self.algorithm {
            None => (Algorithm::Md5, false),
            Some(name) => read_algorithm(name)?,
        };
        let username = self.username?;
        if username.is_empty() || username.len() > USERNAME_LIMIT_BYTES {
            return None;
        }
        let quality = match (self.qop, self.nc, self.cnonce) {
            (Some(qop), Some(nc), Some(_)) if qop.eq_ignore_ascii_case(b"auth") => {
                let count = read_count(nc)?;
                Some(Quality { qop, nc, count })
            }
            (Some(_), ..) => return None,
            (None, ..) => None,
        };
        if is_session && self.cnonce.is_none() {
            return None;
        }
        Some(Presented {
            username,
            realm: self.realm?,
            nonce: self.nonce?,
            uri: self.uri?,
            response: Hash::from_hex(algorithm, self.response?)?,
            algorithm,
            is_session,
            quality,
            cnonce: self.cnonce.unwrap_or_default(),
        })
    }
}

fn is_true(value: &[u8]) -> bool {
    value.eq_ignore_ascii_case(b"true")
}

fn read_algorithm(name: &[u8]) -> Option<(Algorithm, bool)> {
    let split = name.len().saturating_sub(b"-sess".len());
    match name.split_at(split) {
        (name, end) if end.eq_ignore_ascii_case(b"-sess") => {
            Some((Algorithm::from_name(name)?, true))
        }
        _ => Some((Algorithm::from_name(name)?, false)),
    }
}

/// One to eight hexadecimal digits, not zero.
fn read_count(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let count = digits.iter().try_fold(0u32, |count, digit| {
        Some(count << 4 | u32::from(nibble(*digit)?))
    })?;
    (count > 0).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "Digest username=\"bob\", realm=\"example.com\", nonce=\"n\", \
        uri=\"sip:example.com\", response=\"6629fae49393a05397450978507c4ef1\", algorithm=MD5, \
        cnonce=\"c\", qop=auth, nc=0000000a, opaque=\"o\"";

    fn parse(text: &str) -> Option<Presented<'_>> {
        Presented::parse(text.as_bytes())
    }

    #[test]
    fn credentials_are_read_whatever_their_spacing_quoting_and_case() {
        let good = parse(GOOD).unwrap();
        assert_eq!(good.username, b"bob");
        assert_eq!(good.quality.unwrap().count, 10);
        for same in [
            GOOD.replace("Digest", "dIGEST").replace(", ", " ,\r\n\t"),
            GOOD.replace("qop=auth", "QOP=\"auth\""),
            GOOD.replace("algorithm=MD5", "Algorithm=\"md5\""),
            GOOD.replace(", algorithm=MD5", ""),
            GOOD.replace("nc=0000000a", "nc=\"0000000a\""),
            format!("{GOOD}, extension=x"),
        ] {
            let read = parse(&same).unwrap();
            assert_eq!(
                (read.username, read.response, read.algorithm),
                (good.username, good.response, good.algorithm),
                "{same}"
            );
        }
        let shouted = GOOD.replace("6629fae49393a", "6629FAE49393A");
        assert_eq!(parse(&shouted).unwrap().response, good.response);
    }

    #[test]
    fn credentials_that_make_no_sense_count_as_absent() {
        for broken in [
            "Basic Ym9iOnpvb2w=".to_owned(),
            "Digest".to_owned(),
            String::new(),
            GOOD.replace("username=\"bob\"", "username=\"\""),
            GOOD.replace("username=\"bob\", ", ""),
            GOOD.replace("bob", &"b".repeat(257)),
            GOOD.replace("response=\"66", "response=\""),
            GOOD.replace("algorithm=MD5", "algorithm=SHA-1"),
            GOOD.replace("algorithm=MD5", "algorithm=SHA-256"),
            GOOD.replace("qop=auth", "qop=auth-int"),
            GOOD.replace("nc=0000000a", "nc=0"),
            GOOD.replace("nc=0000000a", "nc=100000000"),
            GOOD.replace(", cnonce=\"c\"", ""),
            format!("{GOOD}, username=\"alice\""),
            format!("{GOOD}, userhash=true"),
        ] {
            assert_eq!(parse(&broken), None, "{broken}");
        }
    }

    #[test]
    fn what_is_cut_off_never_reads_as_more_than_it_says() {
        let whole = ", opaque=\"o\"".len();
        for end in 0..GOOD.len() - whole {
            let cut = &GOOD[..end];
            let read = parse(cut);
            // Cut behind the response it looks like credentials of RFC 2069.
            assert!(read.is_none_or(|read| read.quality.is_none()), "{cut}");
        }
    }

    #[test]
    fn a_client_of_rfc_2069_has_neither_qop_nor_count() {
        let old = GOOD.replace(", cnonce=\"c\", qop=auth, nc=0000000a", "");
        assert_eq!(parse(&old).unwrap().quality, None);
    }

    #[test]
    fn session_variants_are_told_by_their_name() {
        let session = GOOD.replace("algorithm=MD5", "algorithm=MD5-sess");
        assert!(parse(&session).unwrap().is_session);
        let without = session.replace(", cnonce=\"c\", qop=auth, nc=0000000a", "");
        assert_eq!(parse(&without), None);
    }
}
