//! Certificates for everybody of a stage, from an authority of its own.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};

/// The server's name in its certificate.
pub const NAME: &str = "sip.example.com";
/// The year in which every certificate ends.
pub const LAST_YEAR: i32 = 2090;

/// Writes `root.pem`, and for each of these hosts `HOST.pem` with `HOST.key`.
pub fn write(folder: &Path, hosts: &[String]) {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "Root of a test");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let root = params.self_signed(&key).unwrap();
    std::fs::write(folder.join("root.pem"), root.pem()).unwrap();
    let issuer = Issuer::new(params, key);
    for host in hosts {
        let mut params = CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(LAST_YEAR, 12, 31);
        params.distinguished_name.push(DnType::CommonName, NAME);
        params.subject_alt_names = vec![
            SanType::DnsName(NAME.try_into().unwrap()),
            SanType::IpAddress(host.parse().unwrap()),
        ];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        std::fs::write(folder.join(format!("{host}.pem")), certificate.pem()).unwrap();
        std::fs::write(folder.join(format!("{host}.key")), key.serialize_pem()).unwrap();
    }
}
