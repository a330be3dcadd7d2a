//! Credentials for a challenge (RFC 7616, RFC 8760): the client's side of Digest.

use super::ident::Written;
use crate::auth::{Algorithm, fields, scheme};
use crate::message::{Message, Name};

/// Who registers or calls.
pub(super) struct Account<'a> {
    /// The user name.
    pub user: &'a [u8],
    /// The password.
    pub password: &'a [u8],
}

/// What a challenge says.
struct Challenge<'a> {
    realm: &'a [u8],
    nonce: &'a [u8],
    opaque: Option<&'a [u8]>,
    algorithm: Algorithm,
    has_qop: bool,
}

/// The Authorization or Proxy-Authorization line that answers the first challenge whose algorithm
/// is known; `None` when there is none. The identity serves as the client's nonce.
pub(super) fn authorization(
    response: &Message<'_>,
    account: &Account<'_>,
    (method, uri): (&[u8], &[u8]),
    cnonce: &Written,
) -> Option<Vec<u8>> {
    let is_proxy = response.status() == Some(407);
    let (asked, answered): (Name, &[u8]) = match is_proxy {
        true => (Name::ProxyAuthenticate, b"Proxy-Authorization"),
        false => (Name::WwwAuthenticate, b"Authorization"),
    };
    let challenge = response
        .headers(asked)
        .find_map(|header| Challenge::read(header.value))?;
    let Challenge {
        realm,
        nonce,
        algorithm,
        ..
    } = challenge;
    let ha1 = algorithm
        .hash(&[account.user, realm, account.password])
        .hex();
    let ha2 = algorithm.hash(&[method, uri]).hex();
    let count: &[u8] = b"00000001";
    let proof = match challenge.has_qop {
        true => algorithm.hash(&[
            ha1.as_bytes(),
            nonce,
            count,
            cnonce,
            b"auth",
            ha2.as_bytes(),
        ]),
        false => algorithm.hash(&[ha1.as_bytes(), nonce, ha2.as_bytes()]),
    };
    let proof = proof.hex();
    let mut line = answered.to_vec();
    let quoted: [(&[u8], &[u8]); 5] = [
        (b": Digest username=", account.user),
        (b", realm=", realm),
        (b", nonce=", nonce),
        (b", uri=", uri),
        (b", response=", proof.as_bytes()),
    ];
    for (name, value) in quoted {
        push_quoted(&mut line, name, value);
    }
    line.extend_from_slice(b", algorithm=");
    line.extend_from_slice(algorithm.name().as_bytes());
    if challenge.has_qop {
        line.extend_from_slice(b", qop=auth, nc=");
        line.extend_from_slice(count);
        push_quoted(&mut line, b", cnonce=", cnonce);
    }
    if let Some(opaque) = challenge.opaque {
        push_quoted(&mut line, b", opaque=", opaque);
    }
    line.extend_from_slice(b"\r\n");
    Some(line)
}

fn push_quoted(line: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    line.extend_from_slice(name);
    line.push(b'"');
    line.extend_from_slice(value);
    line.push(b'"');
}

impl<'a> Challenge<'a> {
    fn read(value: &'a [u8]) -> Option<Self> {
        let (scheme, rest) = scheme(value);
        if !scheme.eq_ignore_ascii_case(b"Digest") {
            return None;
        }
        let (mut realm, mut nonce, mut opaque, mut qop) = (None, None, None, None);
        let mut algorithm: &[u8] = b"MD5";
        fields(rest, |field| {
            match field.name.to_ascii_lowercase().as_slice() {
                b"realm" => realm = Some(field.value),
                b"nonce" => nonce = Some(field.value),
                b"opaque" => opaque = Some(field.value),
                b"qop" => qop = Some(field.value),
                b"algorithm" => algorithm = field.value,
                _ => {}
            }
        })?;
        let offers_auth = |qop: &[u8]| {
            let mut offered = qop.split(|byte| *byte == b',');
            offered.any(|one| one.trim_ascii().eq_ignore_ascii_case(b"auth"))
        };
        Some(Self {
            realm: realm?,
            nonce: nonce?,
            opaque,
            algorithm: Algorithm::from_name(algorithm)?,
            has_qop: qop.is_some_and(offers_auth),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::ident::Ident;
    use super::*;
    use crate::auth::{Presented, matches};
    use crate::message::Index;

    fn answer(challenge: &str) -> Option<String> {
        let text = format!("SIP/2.0 401 Unauthorized\r\n{challenge}\r\n\r\n");
        let mut index = Index::new();
        let response = index.parse(text.as_bytes()).unwrap();
        let account = Account {
            user: b"anna",
            password: b"secret",
        };
        let ident = Ident {
            thread: 0,
            slot: 0,
            generation: 0,
        };
        let asked = (&b"REGISTER"[..], &b"sip:x"[..]);
        let line = authorization(&response, &account, asked, &ident.write(1))?;
        Some(String::from_utf8(line).unwrap())
    }

    #[test]
    fn a_server_accepts_the_answer_to_its_challenge() {
        for (algorithm, qop) in [
            (Algorithm::Md5, ""),
            (Algorithm::Md5, ", qop=\"auth,auth-int\""),
            (Algorithm::Sha256, ", qop=\"auth\""),
        ] {
            let challenge = format!(
                "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", opaque=\"o\"{qop}, \
                 algorithm={}",
                algorithm.name()
            );
            let line = answer(&challenge).unwrap();
            let value = line.strip_prefix("Authorization: ").unwrap().trim_end();
            let presented = Presented::parse(value.as_bytes()).unwrap();
            let ha1 = algorithm.hash(&[b"anna", b"r", b"secret"]);
            assert!(matches(&presented, &ha1, b"REGISTER"), "{line}");
            assert!(!matches(&presented, &ha1, b"INVITE"));
            assert!(value.contains("opaque=\"o\""));
        }
    }

    #[test]
    fn the_first_challenge_that_is_understood_is_answered() {
        let line = answer(
            "WWW-Authenticate: Digest realm=\"r\", nonce=\"a\", algorithm=SHA3\r\n\
             WWW-Authenticate: Digest realm=\"r\", nonce=\"b\"",
        );
        assert!(line.unwrap().contains("nonce=\"b\""));
        assert_eq!(answer("WWW-Authenticate: Bearer realm=\"r\""), None);
        assert_eq!(answer("X: y"), None);
    }
}
