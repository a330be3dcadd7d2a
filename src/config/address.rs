//! Addresses as people write them in the configuration.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Serialize, Serializer};

use crate::message::{Scheme, Transport, Uri};
use crate::proxy::policy::Network;

/// Room for every domain name (RFC 1035 §2.3.4).
const HOST_LIMIT: usize = 253;

/// An address to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Listen {
    /// What is spoken there.
    pub transport: Transport,
    /// The address; port 0 is any.
    pub address: SocketAddr,
}

impl Listen {
    /// Reads `TRANSPORT:ADDRESS[:PORT]`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let allowed = "allowed: udp, tcp, tls, ws or wss, and an address, such as \
                       \"udp:192.0.2.1:5060\", \"tls:[2001:db8::1]:5061\" or \"tcp:0.0.0.0\"";
        let Some((transport, address)) = text.split_once(':') else {
            return Err(format!("{text:?} names no transport; {allowed}"));
        };
        let transport = Transport::ALL
            .into_iter()
            .find(|known| known.param() == transport)
            .ok_or_else(|| format!("{text:?} names no transport; {allowed}"))?;
        let address = socket_address(address, transport.default_port())
            .ok_or_else(|| format!("{address:?} is not an address; {allowed}"))?;
        Ok(Self { transport, address })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.transport.param(), self.address)
    }
}

/// A host with or without a port; IPv6 without brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// The name in lower case, or the address.
    pub host: Box<str>,
    /// The port, where one is written.
    pub port: Option<u16>,
    /// The transport that its URI asks for.
    pub transport: Option<Transport>,
    /// Whether its URI is a `sips` one.
    pub is_secure: bool,
}

impl HostPort {
    /// Reads `HOST[:PORT]`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let refused = || {
            format!("{text:?} is not a host; allowed: a name or address, with or without a port")
        };
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self::named(ip.to_string().into()));
        }
        let uri = format!("sip:{text}");
        let uri = Uri::parse(uri.as_bytes()).map_err(|_| refused())?;
        if uri.host_port != text.as_bytes() {
            return Err(refused());
        }
        Self::of(&uri).ok_or_else(refused)
    }

    /// A host without anything else.
    pub(super) fn named(host: Box<str>) -> Self {
        Self {
            host,
            port: None,
            transport: None,
            is_secure: false,
        }
    }

    /// Reads `sip:HOST[:PORT][;transport=…]` or `sips:…`.
    pub(super) fn parse_uri(text: &str) -> Result<Self, String> {
        let refused = |why: &str| {
            format!(
                "{text:?} {why}; allowed: \"sip:HOST[:PORT]\" such as \"sip:192.0.2.1:5060\", with \
                 \";transport=tcp\" or \";transport=tls\" where it is not UDP"
            )
        };
        let uri = sip_uri(text).map_err(refused)?;
        if !uri.user.is_empty() {
            return Err(refused("has a user"));
        }
        Self::of(&uri).ok_or_else(|| refused("names no host"))
    }

    fn of(uri: &Uri<'_>) -> Option<Self> {
        let host = domain(std::str::from_utf8(uri.host).ok()?).ok()?;
        let transport = uri.param(b"transport").flatten();
        Some(Self {
            host: host.into(),
            port: uri.port,
            transport: transport.and_then(Transport::from_name),
            is_secure: uri.scheme == Scheme::Sips,
        })
    }

    /// The host as an address, where it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse::<Ipv6Addr>() {
            Ok(host) => write!(f, "[{host}]")?,
            Err(_) => f.write_str(&self.host)?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// The voicemail template, `sip:vm-{subscriber}@host`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoicemailTemplate {
    /// The template as configured.
    pub text: Box<str>,
    /// Where it is.
    pub hop: HostPort,
}

/// What a template writes where the subscriber's id belongs.
pub(super) const PLACEHOLDER: &str = "{subscriber}";

impl VoicemailTemplate {
    /// Reads `sip:USER@HOST[:PORT]`, where the user may contain `{subscriber}` once.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let refused = |why: &str| {
            format!(
                "{text:?} {why}; allowed: \"sip:USER@HOST[:PORT]\" where USER may contain \
                 {PLACEHOLDER}, such as \"sip:vm-{PLACEHOLDER}@192.0.2.1:5060\""
            )
        };
        let filled = text.replacen(PLACEHOLDER, "x", 1);
        if filled.contains(['{', '}']) {
            return Err(refused("has a placeholder that is not known"));
        }
        let uri = sip_uri(&filled).map_err(refused)?;
        let host = text.rsplit('@').next().unwrap_or(text);
        if host.contains(PLACEHOLDER) {
            return Err(refused("has its placeholder outside the user"));
        }
        if uri.user.is_empty() {
            return Err(refused("has no user"));
        }
        let hop = HostPort::of(&uri).ok_or_else(|| refused("names no host"))?;
        Ok(Self {
            text: text.into(),
            hop,
        })
    }
}

impl fmt::Display for VoicemailTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A SIP URI that a request can be sent to.
fn sip_uri(text: &str) -> Result<Uri<'_>, &'static str> {
    if text
        .bytes()
        .any(|byte| byte <= b' ' || byte >= 0x7f || b"<>\"\\".contains(&byte))
    {
        return Err("has a character that a URI cannot have");
    }
    let uri = Uri::parse(text.as_bytes()).map_err(|_| "is not a SIP URI")?;
    match uri.scheme {
        Scheme::Sip | Scheme::Sips => {}
        _ => return Err("is not a SIP URI"),
    }
    let transport = uri.param(b"transport").flatten();
    let known = transport.map(Transport::from_name);
    if known.is_some_and(|known| known.is_none_or(Transport::is_websocket)) {
        return Err("asks for a transport by which nobody can be called");
    }
    if known == Some(Some(Transport::Udp)) && uri.scheme == Scheme::Sips {
        return Err("asks for encryption over UDP");
    }
    if !uri.headers.is_empty() {
        return Err("has headers");
    }
    Ok(uri)
}

/// Reads a domain of ours: a host name in lower case or an address, IPv6 without brackets.
pub(super) fn domain(text: &str) -> Result<String, String> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(ip.to_string());
    }
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let looks_numeric = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    if text.is_empty() || text.len() > HOST_LIMIT || looks_numeric || !text.bytes().all(legal) {
        return Err(format!(
            "{text:?} is not a host; allowed: a name such as \"example.com\" or an address, \
             without scheme and port"
        ));
    }
    Ok(text.to_ascii_lowercase())
}

/// Reads `ADDRESS[/PREFIX]`.
pub(super) fn network(text: &str) -> Result<Network, String> {
    let refused = |why: String| {
        format!(
            "{why}; allowed: an address or a block such as \"192.0.2.7\", \"192.0.2.0/24\" or \
             \"2001:db8::/32\""
        )
    };
    let (base, prefix) = text
        .split_once('/')
        .map_or((text, None), |(a, b)| (a, Some(b)));
    let base: IpAddr = base
        .parse()
        .map_err(|_| refused(format!("{text:?} is not an address block")))?;
    let bits: u8 = if base.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => bits,
        Some(prefix) => prefix
            .parse()
            .ok()
            .filter(|prefix| *prefix <= bits)
            .ok_or_else(|| refused(format!("{prefix:?} is not a prefix from 0 to {bits}")))?,
    };
    let network = Network { base, prefix };
    let first = first_address(network);
    if first != base {
        return Err(refused(format!(
            "{text:?} has bits set behind its prefix (the block begins at {first})"
        )));
    }
    Ok(network)
}

fn first_address(network: Network) -> IpAddr {
    let prefix = u32::from(network.prefix);
    match network.base {
        IpAddr::V4(base) => {
            let mask = u32::MAX.checked_shl(32 - prefix.min(32)).unwrap_or(0);
            IpAddr::V4((u32::from(base) & mask).into())
        }
        IpAddr::V6(base) => {
            let mask = u128::MAX.checked_shl(128 - prefix.min(128)).unwrap_or(0);
            IpAddr::V6((u128::from(base) & mask).into())
        }
    }
}

/// Reads a name server's address.
pub(super) fn name_server(text: &str) -> Result<SocketAddr, String> {
    socket_address(text, 53).ok_or_else(|| {
        format!(
            "{text:?} is not an address; allowed: such as \"192.0.2.53\", \"127.0.0.1:5353\" or \
             \"[2001:db8::53]:53\""
        )
    })
}

/// Reads an address with a port, such as the API's.
pub(super) fn http_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!(
            "{text:?} is not an address with a port; allowed: such as \"127.0.0.1:8080\" or \
             \"[::1]:8080\""
        )
    })
}

/// Reads a path that is not empty.
pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    match text {
        "" => Err("a path cannot be empty".to_owned()),
        text => Ok(text.into()),
    }
}

fn socket_address(text: &str, default_port: u16) -> Option<SocketAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    let ip = bare
        .parse()
        .ok()
        .map(|ip| SocketAddr::new(ip, default_port));
    text.parse().ok().or(ip)
}

macro_rules! serialize_as_text {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )*};
}
serialize_as_text!(Listen, HostPort, VoicemailTemplate);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_have_a_transport_and_a_default_port() {
        let read = |text| Listen::parse(text).map(|listen| listen.to_string());
        assert_eq!(
            read("udp:127.0.0.1:5070").as_deref(),
            Ok("udp:127.0.0.1:5070")
        );
        assert_eq!(read("udp:0.0.0.0").as_deref(), Ok("udp:0.0.0.0:5060"));
        assert_eq!(read("udp:[::1]").as_deref(), Ok("udp:[::1]:5060"));
        assert_eq!(read("tls:127.0.0.1").as_deref(), Ok("tls:127.0.0.1:5061"));
        assert_eq!(read("wss:[::1]").as_deref(), Ok("wss:[::1]:443"));
        assert_eq!(read("udp:::1").as_deref(), Ok("udp:[::1]:5060"));
        assert!(
            read("127.0.0.1:5060")
                .unwrap_err()
                .contains("names no transport")
        );
        assert!(
            read("sctp:127.0.0.1")
                .unwrap_err()
                .contains("names no transport")
        );
        assert!(
            read("udp:localhost")
                .unwrap_err()
                .contains("not an address")
        );
        assert!(
            read("udp:127.0.0.1:70000")
                .unwrap_err()
                .contains("not an address")
        );
    }

    #[test]
    fn blocks_hold_their_addresses_and_no_others() {
        let holds = |block, address: &str| network(block).unwrap().holds(address.parse().unwrap());
        assert!(holds("192.0.2.0/24", "192.0.2.255"));
        assert!(!holds("192.0.2.0/24", "192.0.3.0"));
        assert!(holds("192.0.2.7", "192.0.2.7"));
        assert!(!holds("192.0.2.7", "192.0.2.6"));
        assert!(holds("0.0.0.0/0", "203.0.113.9"));
        assert!(!holds("0.0.0.0/0", "2001:db8::1"));
        assert!(holds("2001:db8::/32", "2001:db8:ffff::1"));
        assert!(!holds("2001:db8::/32", "2001:db9::1"));
        assert!(holds("10.0.0.0/8", "::ffff:10.1.2.3"));
    }

    #[test]
    fn a_block_that_is_written_wrongly_says_why() {
        assert!(
            network("192.0.2.1/24")
                .unwrap_err()
                .contains("begins at 192.0.2.0")
        );
        assert!(network("192.0.2.0/33").unwrap_err().contains("0 to 32"));
        assert!(
            network("trunk.example.com")
                .unwrap_err()
                .contains("not an address block")
        );
    }

    #[test]
    fn the_next_hop_is_a_host_and_a_transport() {
        let read = |text| HostPort::parse_uri(text).map(|hop| hop.to_string());
        assert_eq!(read("sip:127.0.0.1:5080").as_deref(), Ok("127.0.0.1:5080"));
        assert_eq!(
            read("sip:PBX.example.com").as_deref(),
            Ok("pbx.example.com")
        );
        assert_eq!(
            read("sip:[::1]:5080;transport=udp;lr").as_deref(),
            Ok("[::1]:5080")
        );
        assert!(
            read("127.0.0.1:5080")
                .unwrap_err()
                .contains("not a SIP URI")
        );
        let transport = |text| HostPort::parse_uri(text).unwrap().transport;
        assert!(HostPort::parse_uri("sips:a.example").unwrap().is_secure);
        assert_eq!(
            transport("sip:a.example;transport=TCP"),
            Some(Transport::Tcp)
        );
        for text in [
            "sip:a.example;transport=ws",
            "sip:a.example;transport=sctp",
            "sips:a.example;transport=udp",
        ] {
            assert!(HostPort::parse_uri(text).is_err(), "{text}");
        }
        assert!(read("sip:bob@a.example").unwrap_err().contains("user"));
        assert!(read("sip:a b").unwrap_err().contains("character"));
    }

    #[test]
    fn the_voicemail_template_has_its_placeholder_in_the_user() {
        let read = |text| VoicemailTemplate::parse(text).map(|voicemail| voicemail.hop.to_string());
        assert_eq!(
            read("sip:vm-{subscriber}@127.0.0.1:5090").as_deref(),
            Ok("127.0.0.1:5090")
        );
        assert_eq!(
            read("sip:box@vm.example;user=phone").as_deref(),
            Ok("vm.example")
        );
        assert!(
            read("sip:vm@{subscriber}.example")
                .unwrap_err()
                .contains("outside the user")
        );
        assert!(
            read("sip:vm-{id}@a.example")
                .unwrap_err()
                .contains("not known")
        );
        assert!(read("sip:{subscriber}{subscriber}@a.example").is_err());
        assert!(read("sip:a.example").unwrap_err().contains("no user"));
    }

    #[test]
    fn domains_lose_brackets_and_case() {
        assert_eq!(domain("Example.COM").as_deref(), Ok("example.com"));
        assert_eq!(domain("[2001:DB8::1]").as_deref(), Ok("2001:db8::1"));
        assert!(domain("sip:example.com").is_err());
        assert!(domain("999.1.1.1").is_err());
    }
}
