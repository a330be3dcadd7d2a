//! Whom a certificate names (RFC 5922 §7).

use std::net::IpAddr;

use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// What is read of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reading {
    pub subject: String,
    pub issuer: String,
    /// The SIP domains, in lower case (RFC 5922 §7.1): the hosts of `sip` URIs without a user; where
    /// there are none, the DNS names; without any alternative name, the common name.
    pub domains: Vec<Box<str>>,
    /// The addresses.
    pub addresses: Vec<IpAddr>,
    pub not_before_unix_s: i64,
    pub not_after_unix_s: i64,
}

impl Reading {
    /// Reads a certificate; `None` when it is none.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let validity = certificate.validity();
        let (domains, addresses) = names(&certificate);
        Some(Self {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            domains,
            addresses,
            not_before_unix_s: validity.not_before.timestamp(),
            not_after_unix_s: validity.not_after.timestamp(),
        })
    }

    /// Whether the certificate is a domain's or an address's. The whole name counts; that
    /// `*.example.com` stands for `pbx.example.com` must be allowed.
    pub(super) fn is_of(&self, name: &str, allow_wildcards: bool) -> bool {
        let name = name.trim_end_matches('.');
        if let Ok(address) = name.parse::<IpAddr>() {
            let address = address.to_canonical();
            return self.addresses.iter().any(|a| a.to_canonical() == address);
        }
        let is_named = |domain: &str| {
            let covered = domain.strip_prefix("*.").filter(|_| allow_wildcards);
            let parent = name.split_once('.').map(|(_, parent)| parent);
            domain.eq_ignore_ascii_case(name)
                || covered.is_some_and(|c| parent.is_some_and(|p| p.eq_ignore_ascii_case(c)))
        };
        self.domains.iter().any(|domain| is_named(domain))
    }

    /// All its names as texts.
    pub(super) fn identities(&self) -> Vec<Box<str>> {
        let addresses = self.addresses.iter();
        let addresses = addresses.map(|address| address.to_canonical().to_string().into());
        self.domains.iter().cloned().chain(addresses).collect()
    }
}

fn names(certificate: &X509Certificate<'_>) -> (Vec<Box<str>>, Vec<IpAddr>) {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        let names = certificate.subject().iter_common_name();
        let common = names.filter_map(|name| name.as_str().ok());
        return (common.map(lower).collect(), Vec::new());
    };
    let names = &extension.value.general_names;
    let mut domains: Vec<Box<str>> = names.iter().filter_map(sip_domain).collect();
    if domains.is_empty() {
        let dns = names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(lower(name)),
            _ => None,
        });
        domains.extend(dns);
    }
    let addresses = names.iter().filter_map(|name| match name {
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => None,
    });
    (domains, addresses.collect())
}

/// The host of a `sip` URI without a user.
fn sip_domain(name: &GeneralName<'_>) -> Option<Box<str>> {
    let GeneralName::URI(uri) = name else {
        return None;
    };
    let (scheme, rest) = uri.split_once(':')?;
    let is_domain = scheme.eq_ignore_ascii_case("sip") && !rest.contains('@');
    let end = rest.find([':', ';', '?']).unwrap_or(rest.len());
    let host = rest.get(..end)?;
    (is_domain && !host.is_empty()).then(|| lower(host))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let sixteen = <[u8; 16]>::try_from(bytes).map(IpAddr::from);
    four.or(sixteen).ok()
}

fn lower(text: &str) -> Box<str> {
    text.to_ascii_lowercase().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    fn reading(names: Vec<SanType>, common: &str) -> Reading {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common);
        params.subject_alt_names = names;
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Reading::of(certificate.der()).unwrap()
    }

    fn dns(name: &str) -> SanType {
        SanType::DnsName(name.try_into().unwrap())
    }

    fn uri(name: &str) -> SanType {
        SanType::URI(name.try_into().unwrap())
    }

    #[test]
    fn sip_uris_go_before_dns_names_and_these_before_the_common_name() {
        let both = vec![
            dns("host.example.com"),
            uri("SIP:Example.com"),
            uri("sip:anna@example.org"),
            uri("sips:example.net"),
            uri("https://example.net/"),
        ];
        assert_eq!(*reading(both, "cn.example").domains, ["example.com".into()]);
        let only_dns = vec![dns("Host.example.com"), uri("sip:anna@example.org")];
        let found = reading(only_dns, "cn.example").domains;
        assert_eq!(*found, ["host.example.com".into()]);
        assert_eq!(
            *reading(vec![], "CN.example").domains,
            ["cn.example".into()]
        );
        let address = SanType::IpAddress([192, 0, 2, 1].into());
        let found = reading(vec![address], "cn.example");
        assert_eq!(found.domains.len(), 0);
        assert_eq!(*found.identities(), ["192.0.2.1".into()]);
        assert!(Reading::of(&CertificateDer::from(vec![1, 2, 3])).is_none());
    }

    #[test]
    fn names_match_as_a_whole_and_wildcards_only_where_allowed() {
        let ip = SanType::IpAddress("2001:db8::1".parse().unwrap());
        let names = reading(vec![dns("*.example.com"), dns("pbx.example.org"), ip], "x");
        for (name, strictly, loosely) in [
            ("pbx.example.org", true, true),
            ("PBX.example.ORG.", true, true),
            ("example.org", false, false),
            ("a.pbx.example.org", false, false),
            ("sip.example.com", false, true),
            ("a.sip.example.com", false, false),
            ("example.com", false, false),
            ("2001:db8:0::1", true, true),
            ("2001:db8::2", false, false),
            ("x", false, false),
        ] {
            assert_eq!(names.is_of(name, false), strictly, "{name}");
            assert_eq!(names.is_of(name, true), loosely, "{name}");
        }
    }
}
