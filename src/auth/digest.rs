//! The computation of Digest (RFC 7616 §3.4).

use super::algorithm::Hash;
use super::presented::Presented;

/// Whether the proof is that of the digest `ha1` for a request of this method. As many hashes are
/// made whatever comes out, and the comparison takes as long.
pub fn matches(presented: &Presented<'_>, ha1: &Hash, method: &[u8]) -> bool {
    response(presented, ha1, method) == presented.response
}

/// The proof that a client with this digest would give.
pub(super) fn response(presented: &Presented<'_>, ha1: &Hash, method: &[u8]) -> Hash {
    let algorithm = presented.algorithm;
    let nonce = presented.nonce;
    let mut secret = ha1.hex();
    if presented.is_session {
        let session = [secret.as_bytes(), nonce, presented.cnonce];
        secret = algorithm.hash(&session).hex();
    }
    let request = algorithm.hash(&[method, presented.uri]).hex();
    match presented.quality {
        Some(quality) => algorithm.hash(&[
            secret.as_bytes(),
            nonce,
            quality.nc,
            presented.cnonce,
            quality.qop,
            request.as_bytes(),
        ]),
        None => algorithm.hash(&[secret.as_bytes(), nonce, request.as_bytes()]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Algorithm;

    fn proves(text: &str, (username, realm, password): (&str, &str, &str), method: &str) -> bool {
        let presented = Presented::parse(text.as_bytes()).expect("credentials");
        let ha1 =
            presented
                .algorithm
                .hash(&[username.as_bytes(), realm.as_bytes(), password.as_bytes()]);
        matches(&presented, &ha1, method.as_bytes())
    }

    const MUFASA: (&str, &str, &str) = ("Mufasa", "testrealm@host.com", "Circle Of Life");
    const MUFASA_7616: (&str, &str, &str) = ("Mufasa", "http-auth@example.org", "Circle of Life");

    #[test]
    fn the_example_of_rfc_2617() {
        let text = r#"Digest username="Mufasa", realm="testrealm@host.com",
            nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", uri="/dir/index.html", qop=auth,
            nc=00000001, cnonce="0a4f113b", response="6629fae49393a05397450978507c4ef1",
            opaque="5ccc069c403ebaf9f0171e9517f40e41""#;
        assert!(proves(text, MUFASA, "GET"));
        assert!(!proves(text, MUFASA, "PUT"));
    }

    #[test]
    fn the_example_of_rfc_2069_with_its_erratum() {
        let text = r#"Digest username="Mufasa", realm="testrealm@host.com",
            nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", uri="/dir/index.html",
            response="1949323746fe6a43ef61f9606e7febea",
            opaque="5ccc069c403ebaf9f0171e9517f40e41""#;
        let mufasa = ("Mufasa", "testrealm@host.com", "CircleOfLife");
        assert!(proves(text, mufasa, "GET"));
    }

    #[test]
    fn the_examples_of_rfc_7616() {
        let text = |algorithm: &str, response: &str| {
            format!(
                r#"Digest username="Mufasa", realm="http-auth@example.org",
                uri="/dir/index.html", algorithm={algorithm},
                nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001,
                cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth,
                response="{response}", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#
            )
        };
        let md5 = text("MD5", "8ca523f5e9506fed4657c9700eebdbec");
        let sha256 = "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1";
        assert!(proves(&md5, MUFASA_7616, "GET"));
        assert!(proves(&text("SHA-256", sha256), MUFASA_7616, "GET"));
        assert!(!proves(&text("SHA-256", sha256), MUFASA, "GET"));
        assert!(!proves(&text("SHA-512-256", sha256), MUFASA_7616, "GET"));
    }

    #[test]
    fn each_algorithm_and_its_session_variant_prove_a_password() {
        for algorithm in Algorithm::ALL {
            for suffix in ["", "-sess"] {
                let text = |response: &str| {
                    format!(
                        "Digest username=\"anna\", realm=\"r\", nonce=\"n\", uri=\"sip:r\", \
                         algorithm={}{suffix}, qop=auth, nc=00000002, cnonce=\"c\", \
                         response=\"{response}\"",
                        algorithm.name()
                    )
                };
                let zeros = text(&"0".repeat(algorithm.size_bytes() * 2));
                let presented = Presented::parse(zeros.as_bytes()).unwrap();
                let ha1 = algorithm.hash(&[b"anna", b"r", b"secret"]);
                let hex = response(&presented, &ha1, b"REGISTER").hex();
                let right = text(std::str::from_utf8(hex.as_bytes()).unwrap());
                assert!(proves(&right, ("anna", "r", "secret"), "REGISTER"));
                assert!(!proves(&right, ("anna", "r", "Secret"), "REGISTER"));
                assert!(!proves(&zeros, ("anna", "r", "secret"), "REGISTER"));
            }
        }
    }
}
