//! Reads a calendar from where its URL leads, or from a file; within bounds of time, size and place.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use tokio_rustls::rustls;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::TlsConfig;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

use super::errand::system_roots;
use crate::presence::readings::FeedFault;
use crate::proxy::policy::Network;

/// How large a calendar may be.
const SIZE_LIMIT_BYTES: u64 = 8 << 20;
/// How long a server of calendars has to answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// The client that reads calendars.
#[derive(Clone)]
pub(super) struct Feeds {
    agent: ureq::Agent,
}

impl Feeds {
    /// For feeds of the administrator, wherever they are.
    pub(super) fn anywhere() -> Self {
        Self {
            agent: config().new_agent(),
        }
    }

    /// For feeds that people name themselves: on the public network, and in `allowed`. Each address
    /// is judged when it is connected to, after names are resolved and on every redirect.
    pub(super) fn public_or_in(allowed: &[Network]) -> Self {
        let resolver = Fence {
            allowed: allowed.into(),
            names: DefaultResolver::default(),
        };
        let connector = DefaultConnector::default();
        Self {
            agent: ureq::Agent::with_parts(config(), connector, resolver),
        }
    }

    /// The text of a calendar.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn fetch(&self, feed: &str) -> Result<String, FeedFault> {
        if feed.starts_with('/') {
            let file = File::open(feed).map_err(|error| FeedFault::File(error.to_string()))?;
            return text(file).map_err(|error| match error {
                TextError::Read(error) => FeedFault::File(error.to_string()),
                error => error.into(),
            });
        }
        // What is in the URL is a secret: no redirect may send it in clear.
        let is_secure = feed.to_ascii_lowercase().starts_with("https:");
        let request = self.agent.get(feed).config().https_only(is_secure).build();
        let mut response = request.call().map_err(fault)?;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(FeedFault::Status(status));
        }
        text(response.body_mut().as_reader()).map_err(FeedFault::from)
    }
}

/// Why a text could not be read to its end.
enum TextError {
    Read(io::Error),
    TooLarge,
}

impl From<TextError> for FeedFault {
    fn from(error: TextError) -> Self {
        match error {
            TextError::Read(error) => fault(error.into()),
            TextError::TooLarge => Self::TooLarge(SIZE_LIMIT_BYTES),
        }
    }
}

/// A text within its limit. It should be UTF-8 (RFC 5545 §3.1.4); where it is not, its times are
/// right all the same, and only titles have characters that cannot be shown.
fn text(from: impl Read) -> Result<String, TextError> {
    let mut octets = Vec::new();
    let mut limited = from.take(SIZE_LIMIT_BYTES.saturating_add(1));
    let read = limited.read_to_end(&mut octets).map_err(TextError::Read)?;
    if u64::try_from(read).unwrap_or(u64::MAX) > SIZE_LIMIT_BYTES {
        return Err(TextError::TooLarge);
    }
    Ok(match String::from_utf8(octets) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

/// What went wrong, without the address that it went wrong at: it may hold a secret.
fn fault(error: ureq::Error) -> FeedFault {
    use ureq::Error;
    match error {
        Error::StatusCode(status) => FeedFault::Status(status),
        Error::Timeout(_) => FeedFault::Timeout,
        Error::HostNotFound => FeedFault::NoHost,
        Error::RequireHttpsOnly(_) => FeedFault::InClear,
        Error::TooManyRedirects | Error::RedirectFailed => FeedFault::Redirects,
        Error::Other(told) => match told.downcast::<Fenced>() {
            Ok(fenced) => FeedFault::Fenced(fenced.0.to_string()),
            Err(told) => FeedFault::Other(told.to_string()),
        },
        Error::Rustls(error) => FeedFault::Tls(error.to_string()),
        Error::Tls(error) => FeedFault::Tls(error.to_owned()),
        Error::Io(error) => match error.get_ref() {
            Some(told) if told.is::<rustls::Error>() => FeedFault::Tls(told.to_string()),
            // What the resolver says has no kind of its own.
            _ if error.to_string().contains("lookup address") => FeedFault::NoHost,
            _ => FeedFault::Unreachable(error.kind().to_string()),
        },
        Error::ConnectionFailed => FeedFault::Unreachable("no connection".to_owned()),
        Error::BadUri(_) | Error::Http(_) => {
            FeedFault::Other("the address leads nowhere".to_owned())
        }
        error => FeedFault::Other(error.to_string()),
    }
}

/// An address that may not be connected to.
#[derive(Debug)]
struct Fenced(IpAddr);

impl fmt::Display for Fenced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not on the public network", self.0)
    }
}

impl std::error::Error for Fenced {}

fn config() -> Config {
    ureq::Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .tls_config(TlsConfig::builder().root_certs(system_roots()).build())
        .user_agent(concat!("pointsman/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Resolves names, and hands on only the addresses that may be connected to.
#[derive(Debug)]
struct Fence {
    allowed: Box<[Network]>,
    names: DefaultResolver,
}

impl Resolver for Fence {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.names.resolve(uri, config, timeout)?;
        // A proxy of the environment is the administrator's, and judges by itself.
        let proxy = config.proxy().map(|proxy| proxy.uri().host());
        if proxy.is_some_and(|proxy| proxy == uri.host()) {
            return Ok(found);
        }
        let mut may_be = self.empty();
        let mut refused = None;
        for address in found.iter() {
            match self.admits(address.ip()) {
                true => may_be.push(*address),
                false => refused = Some(address.ip()),
            }
        }
        match refused {
            Some(address) if may_be.is_empty() => {
                Err(ureq::Error::Other(Box::new(Fenced(address))))
            }
            _ => Ok(may_be),
        }
    }
}

impl Fence {
    fn admits(&self, address: IpAddr) -> bool {
        is_public(address) || self.allowed.iter().any(|network| network.holds(address))
    }
}

/// Whether an address belongs to the public network (the special-purpose registries of RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || a == 0
        || (a == 100 && (64..128).contains(&b))
        || (a, b, c) == (192, 0, 0)
        || (a == 198 && (b == 18 || b == 19))
        || a >= 224;
    !is_special
}

/// Global unicast only; what stands for an IPv4 address (6to4, NAT64) is judged as that.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match (a, b, c) {
        (0x0064, 0xff9b, 0) if (d, e, f) == (0, 0, 0) => is_public_v4(v4(g, h)),
        (0x2002, high, low) => is_public_v4(v4(high, low)),
        // Teredo, ORCHID and the like; documentation.
        (0x2001, 0..0x0200 | 0x0db8, _) | (0x3fff, 0..0x1000, _) => false,
        _ => (0x2000..0x4000).contains(&a),
    }
}

/// A URL as the log may have it: calendars hide their key in path, query, or before the host.
pub(super) fn without_secret(feed: &str) -> &str {
    match feed.split_once("://") {
        None => feed,
        Some((_, rest)) => {
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            authority.rsplit('@').next().unwrap_or_default()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::{SocketAddr, TcpListener};
    use std::thread::JoinHandle;

    use super::*;

    /// A server that answers one request with this, and says whether one came.
    fn server(
        address: &str,
        answer: impl FnOnce(SocketAddr) -> String + Send + 'static,
    ) -> (SocketAddr, JoinHandle<()>) {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let bound = listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines.next().unwrap().unwrap() != "" {}
            stream.write_all(answer(bound).as_bytes()).unwrap();
        });
        (bound, thread)
    }

    fn network(base: &str) -> Network {
        Network::host(base.parse().unwrap())
    }

    #[test]
    fn people_reach_the_public_network_and_what_is_allowed() {
        for (address, is_one) in [
            ("0.0.0.0", false),
            ("10.1.2.3", false),
            ("100.64.0.1", false),
            ("127.0.0.1", false),
            ("169.254.169.254", false),
            ("172.31.0.1", false),
            ("192.168.1.1", false),
            ("198.19.0.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("::ffff:10.0.0.1", false),
            ("64:ff9b::10.0.0.1", false),
            ("64:ff9b:1::1", false),
            ("2001:db8::1", false),
            ("2002:a00:1::1", false),
            ("fd00::1", false),
            ("fe80::1", false),
            ("ff02::1", false),
            ("9.9.9.9", true),
            ("172.32.0.1", true),
            ("::ffff:9.9.9.9", true),
            ("64:ff9b::9.9.9.9", true),
            ("2620:fe::fe", true),
            ("2a00:1450:4001::1", true),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), is_one, "{address}");
        }
        let fence = Fence {
            allowed: [network("10.0.0.9")].into(),
            names: DefaultResolver::default(),
        };
        assert!(fence.admits("10.0.0.9".parse().unwrap()));
        assert!(!fence.admits("10.0.0.8".parse().unwrap()));
    }

    #[test]
    fn a_host_within_is_refused_however_it_is_written() {
        let people = Feeds::public_or_in(&[]);
        for host in [
            "127.0.0.1",
            "localhost",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "2130706433",
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            listener.set_nonblocking(true).unwrap();
            let error = people
                .fetch(&format!("https://{host}:{port}/secret"))
                .unwrap_err();
            let error = error.to_string();
            assert!(error.contains("presence.calendar_networks"), "{error}");
            assert!(!error.contains("secret"), "{error}");
            assert!(listener.accept().is_err(), "{host}");
        }
    }

    #[test]
    fn a_redirect_leads_nowhere_that_a_feed_may_not_lead() {
        let outside = |_| "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_owned();
        let (address, answered) = server("127.0.0.1", outside);
        let allowed = Feeds::public_or_in(&[network("127.0.0.1")]);
        assert_eq!(allowed.fetch(&format!("http://{address}/")).unwrap(), "ok");
        answered.join().unwrap();
        let (address, answered) = server("127.0.0.1", |own| {
            let port = own.port();
            format!(
                "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.2:{port}/\r\ncontent-length: 0\r\n\r\n"
            )
        });
        let error = allowed.fetch(&format!("http://{address}/")).unwrap_err();
        answered.join().unwrap();
        assert_eq!(error, FeedFault::Fenced("127.0.0.2".to_owned()));
    }

    #[test]
    fn what_is_no_calendar_says_why_without_its_secret() {
        let allowed = Feeds::public_or_in(&[network("127.0.0.1")]);
        let fetched = |answer: &'static str| {
            let (address, answered) = server("127.0.0.1", move |_| answer.to_owned());
            let fetched = allowed.fetch(&format!("http://{address}/?secret"));
            answered.join().unwrap();
            fetched
        };
        for (answer, fault) in [
            (
                "401 Unauthorized\r\ncontent-length: 0",
                FeedFault::Status(401),
            ),
            ("304 Not Modified\r\netag: \"1\"", FeedFault::Status(304)),
        ] {
            let answer = format!("HTTP/1.1 {answer}\r\n\r\n").leak();
            assert_eq!(fetched(answer), Err(fault));
        }
        let cut = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nBEGIN";
        assert!(matches!(fetched(cut), Err(FeedFault::Unreachable(_))));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("old.ics");
        std::fs::write(&file, b"BEGIN:VCALENDAR\r\nSUMMARY:M\xfcnchen\r\n").unwrap();
        let read = allowed.fetch(file.to_str().unwrap()).unwrap();
        assert!(read.contains("M\u{fffd}nchen"), "{read}");
        std::fs::write(&file, vec![b'x'; 8 << 20]).unwrap();
        assert!(allowed.fetch(file.to_str().unwrap()).is_ok());
        std::fs::write(&file, vec![b'x'; (8 << 20) + 1]).unwrap();
        let too_large = allowed.fetch(file.to_str().unwrap());
        assert_eq!(too_large, Err(FeedFault::TooLarge(8 << 20)));
    }

    #[test]
    fn the_log_has_the_host_of_a_calendar_only() {
        for (feed, told) in [
            (
                "https://user:secret@example.com:8443/key.ics?k=1",
                "example.com:8443",
            ),
            ("https://example.com?key=secret", "example.com"),
            ("/srv/anna.ics", "/srv/anna.ics"),
        ] {
            assert_eq!(without_secret(feed), told);
        }
    }
}
