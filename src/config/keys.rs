//! Every key there is: how it is read, what it means, what stands in its place when it is absent.

use super::address::{
    HostPort, VoicemailTemplate, domain, http_address, name_server, network, path,
};
use super::auth::{method, realm};
use super::error::Fault;
use super::house::target;
use super::oidc::{label, url, word};
use super::readers::{
    LEVELS, addresses, calendar, certificates, check_s, level, listeners, max_delay, package,
    peer_name, region, session_expires, time_zone, token, udp_limit,
};
pub(super) use super::sections::SECTIONS;
use super::value::Value;
use super::{
    Config, Forwarding, LogFormat, Node, Peer, RegistrarMode, Secret, StoreEngine, TlsVersion,
    UnknownCallee,
};

/// One key of `T`, which is the whole configuration or one `[[peer]]`.
pub(super) struct Key<T> {
    /// `section.key`, or the bare key of a peer.
    pub name: &'static str,
    /// The type, for people.
    pub kind: &'static str,
    /// The default as TOML, or in words.
    pub default: Absent,
    /// Whether a reload changes it.
    pub reloads: bool,
    /// What it means.
    pub doc: &'static str,
    /// Reads and sets it.
    pub set: fn(&mut T, Value<'_>) -> Result<(), Fault>,
    /// Its value, for comparing two configurations.
    pub shown: fn(&T) -> String,
}

/// What is in force when a key is absent.
#[derive(Clone, Copy)]
pub(super) enum Absent {
    /// This TOML value.
    Toml(&'static str),
    /// What these words say.
    Words(&'static str),
}

use Absent::{Toml, Words};

const FORWARDING: &[(&str, Forwarding)] = &[
    ("redirect", Forwarding::Redirect),
    ("retarget", Forwarding::Retarget),
];
const FORWARDING_KIND: &str = "`\"redirect\"` or `\"retarget\"`";
const TABLE_LIMIT: u64 = 100_000_000;

macro_rules! key {
    (
        $name:literal, $kind:expr, $default:expr, $reloads:literal,
        $place:ident $(. $field:ident)+ = $value:ident => $read:expr, $doc:expr
    ) => {
        Key {
            name: $name,
            kind: $kind,
            default: $default,
            reloads: $reloads,
            doc: $doc,
            set: |$place, $value| {
                $place $(. $field)+ = $read;
                Ok(())
            },
            shown: |$place| format!("{:?}", $place $(. $field)+),
        }
    };
}

pub(super) use key;

/// The keys of the sections.
pub(super) const KEYS: &[Key<Config>] = &[
    key!("sip.listen", "list of `TRANSPORT:ADDRESS[:PORT]`", Toml(r#"["udp:127.0.0.1:5060"]"#), false,
        c.sip.listen = v => listeners(v)?,
        "Where SIP is received: 1 to 16 addresses, each with its transport: `udp`, `tcp`, `tls`, `ws` \
         or `wss`. IPv6 in brackets; `udp:0.0.0.0` and `udp:[::]` for every address of the machine. The \
         port is 5060 unless written, 5061 for `tls`, 80 for `ws`, 443 for `wss`."),
    key!("sip.advertise", "list of `HOST[:PORT]`", Words("the address listened on"), true,
        c.sip.advertise = v => v.list(HostPort::parse)?,
        "How others reach us: what we write into Via and Record-Route, for a server behind NAT or \
         listening on every address. A listener takes the first entry that is a name or an address of \
         its family. Without an entry, a listener on every address writes the address from which the \
         system would send to the next hop."),
    key!("sip.domains", "list of hosts", Toml("[]"), true,
        c.sip.domains = v => v.list(domain)?,
        "The domains and addresses that are ours beside those we listen on: a call to a subscriber \
         there is looked up; one that is neither for them nor from somebody we know is answered 403."),
    key!("sip.region", "ISO 3166 country code", Toml(r#""DE""#), false,
        c.sip.region = v => v.parsed(region)?,
        "The home region: `030…` is read as a number of this country. Aliases are kept in \
         international form, so the region is chosen once."),
    key!("sip.next_hop", "`sip:HOST[:PORT]`", Words("none"), true,
        c.sip.next_hop = v => Some(v.parsed(HostPort::parse_uri)?),
        "The PBX, to which calls are connected: an address, a name with SRV or NAPTR records, or one \
         with addresses only. Without one, a call that should be connected is answered 480. Trusted \
         like a peer unless a `[[peer]]` covers its address. Several PBX nodes are configured as \
         `[[node]]`s, which stand in its place."),
    key!("sip.outbound", "`sip:HOST[:PORT]`", Words("as `next_hop`"), true,
        c.sip.outbound = v => Some(v.parsed(HostPort::parse_uri)?),
        "Where a call goes that was forwarded to a number that is no subscriber's. Trusted like a \
         peer unless a `[[peer]]` covers its address."),
    key!("sip.voicemail", "`sip:USER@HOST[:PORT]`", Words("none"), true,
        c.sip.voicemail = v => Some(v.parsed(VoicemailTemplate::parse)?),
        "The voicemail system, with `{subscriber}` where the subscriber's id belongs; target and cause \
         are added as RFC 4458 says. Without one, the action `voicemail` counts as not set. Trusted \
         like a peer unless a `[[peer]]` covers its address."),
    key!("sip.forwarding", FORWARDING_KIND, Toml(r#""redirect""#), true,
        c.sip.forwarding = v => v.word(FORWARDING)?,
        "How a forwarding is carried out: the caller's side is told the target (302), or we send the \
         call there ourselves."),
    key!("sip.voicemail_forwarding", FORWARDING_KIND, Words("as `forwarding`"), true,
        c.sip.voicemail_forwarding = v => Some(v.word(FORWARDING)?),
        "The same for voicemail."),
    key!("sip.dnd_status", "480, 486 or 603", Toml("480"), true,
        c.sip.dnd_status = v => v.one_of(&[480, 486, 603])? as u16,
        "The answer to a call to somebody in `dnd` who set no action for it."),
    key!("sip.unknown_callee", "`\"next_hop\"` or `\"reject\"`", Toml(r#""next_hop""#), true,
        c.sip.unknown_callee = v => v.word(&[
            ("next_hop", UnknownCallee::NextHop),
            ("reject", UnknownCallee::Reject),
        ])?,
        "A call to nobody we know in a domain of ours: passed on to the PBX, or answered 404. Where \
         phones register with us and `auth.methods` is not empty, strangers get the 480 of a \
         subscriber without a phone instead."),
    key!("sip.call_limit", "number, 1 to 100", Toml("1"), true,
        c.sip.call_limit = v => v.integer(1..=100)? as u16,
        "How many open calls make a subscriber busy."),
    key!("sip.hop_limit", "number, 1 to 20", Toml("5"), true,
        c.sip.hop_limit = v => v.integer(1..=20)? as u8,
        "How often a call is diverted at most, counting what Diversion and History-Info tell."),
    key!("sip.ring_for_s", "seconds, 5 to 120", Toml("20"), true,
        c.sip.ring_for_s = v => v.integer(5..=120)? as u16,
        "How long a subscriber with a no-answer action rings, counted from the first 180, unless they \
         chose a time."),
    key!("sip.session_expires_s", "seconds, 0 or 90 to 86400", Toml("1800"), true,
        c.sip.session_expires_s = v => session_expires(v)?,
        "The session timer (RFC 4028) asked for where the caller's side supports it, so that a call \
         whose BYE is lost ends nevertheless; 0 asks for none."),
    key!("sip.session_min_s", "seconds, 90 to 86400", Toml("90"), true,
        c.sip.session_min_s = v => v.integer(90..=86_400)? as u32,
        "The shortest session timer that is taken (RFC 4028): a caller who asks for less is answered \
         422, or gets this one where its side knows no session timers."),
    key!("sip.max_call_s", "seconds, 60 to 604800", Toml("43200"), true,
        c.sip.max_call_s = v => v.integer(60..=604_800)? as u32,
        "After this time a call counts as ended whatever its parties say; the call itself is not cut."),
    key!("sip.retry_after_s", "seconds, 1 to 3600", Toml("10"), true,
        c.sip.retry_after_s = v => v.integer(1..=3_600)? as u32,
        "What a 503 tells the caller's side to wait; under load up to half as long again, so that not all come \
         back at once."),
    key!("sip.udp_limit_bytes", "bytes, 0 or 576 to 65535", Toml("1300"), true,
        c.sip.udp_limit_bytes = v => udp_limit(v)?,
        "Longer requests go over TCP where a `tcp` listener is configured, and as a datagram only \
         where the other side takes no connection (RFC 3261 §18.1.1); 0 sends any length as a \
         datagram."),
    key!("sip.join_datagrams", "`true` or `false`", Toml("true"), true,
        c.sip.join_datagrams = v => v.flag()?,
        "Under load, where eight or more messages are sent at once, those of one length to one address \
         are given to the kernel as one, which divides them (UDP_SEGMENT) and sends the same datagrams \
         at a lower cost. A capture on this machine may then show them as one long datagram; set \
         `false` where such a capture is analysed. `pointsman_datagrams_joined_total` counts them."),
    key!("sip.shards", "number, 1 to 64", Words("one per core"), false,
        c.sip.shards = v => Some(v.integer(1..=64)? as u16),
        "How many threads handle calls; each owns its calls."),
    key!("sip.receive_buffer_bytes", "bytes, 65536 to 1073741824", Toml("4194304"), false,
        c.sip.receive_buffer_bytes = v => v.integer(65_536..=1 << 30)? as u32,
        "The receive and send buffer of each socket. The kernel grants `net.core.rmem_max` and \
         `net.core.wmem_max` at most; a warning says when it granted less."),
    key!("health.check_s", "seconds, 0 or 5 to 3600", Toml("0"), true,
        c.health.check_s = v => check_s(v)?,
        "How often `sip.next_hop`, `sip.outbound` and `sip.voicemail` are asked with OPTIONS whether \
         they are there; 0 asks none of them. A `[[node]]` and a `[[peer]]` have a `check_s` of their \
         own."),
    key!("health.failures", "number, 1 to 20", Toml("2"), true,
        c.health.failures = v => v.integer(1..=20)? as u8,
        "After so many checks in a row without an answer, or with a 503, a system counts as down \
         and is tried after all others. One answer brings it back."),
    key!("health.penalty_s", "seconds, 0 to 3600", Toml("30"), true,
        c.health.penalty_s = v => v.integer(0..=3_600)? as u32,
        "How long a target is tried after all others when a call found that it does not answer, \
         answers 503 or cannot be reached. The `Retry-After` of a 503 counts instead, up to ten \
         minutes. An answer ends it; 0 holds nothing against anybody."),
    key!("dns.servers", "list of `ADDRESS[:PORT]`", Words("as `/etc/resolv.conf` says"), true,
        c.dns.servers = v => v.list(name_server)?,
        "The name servers that are asked, instead of the system's. `/etc/hosts` counts in any case."),
    key!("dns.timeout_ms", "milliseconds, 100 to 30000", Toml("2000"), true,
        c.dns.timeout_ms = v => v.integer(100..=30_000)? as u32,
        "How long a name server has to answer one query; it is asked twice. Calls do not wait that \
         long: what was resolved before stays in use until there is a new answer."),
    key!("presence.time_zone", "IANA time zone, `Europe/Berlin`", Words("that of the system"), true,
        c.presence.time_zone = v => Some(v.parsed(time_zone)?),
        "In which time zone hours are meant that name none, and times are told."),
    key!("presence.team_sees", "`\"full\"`, `\"status\"`, `\"free_busy\"` or `\"none\"`",
        Toml(r#""full""#), true,
        c.presence.team_sees = v => v.word(LEVELS)?,
        "What people see of those with whom they share a team: the status with its message and end, the \
         status, whether a call is welcome, or nothing. A subscriber's `visibility` may show less."),
    key!("presence.others_see", "`\"full\"`, `\"status\"`, `\"free_busy\"` or `\"none\"`",
        Toml(r#""full""#), true,
        c.presence.others_see = v => v.word(LEVELS)?,
        "The same of everybody else."),
    key!("presence.holidays", "list of `https` URLs or files", Toml("[]"), true,
        c.presence.holidays = v => v.list(calendar)?,
        "Calendars (RFC 5545) whose all-day entries are days on which nobody works, for exceptions that \
         ask for holidays."),
    key!("presence.calendar_refresh_s", "seconds, 10 to 86400", Toml("300"), true,
        c.presence.calendar_refresh_s = v => v.integer(10..=86_400)? as u32,
        "How often the calendars of subscribers and the holidays are read again."),
    key!("presence.calendar_networks", "list of `ADDRESS[/PREFIX]`", Toml("[]"), true,
        c.presence.calendar_networks = v => v.list(network)?,
        "Which addresses that are not on the public network the calendars of subscribers may be read \
         from, such as `\"10.0.0.0/8\"` for a calendar server of your own. Without this a person who names \
         `https://10.0.0.1/` as a calendar would have the server ask there. The address connected to \
         counts, also of a name and of a redirect; the URLs of `holidays` may lead anywhere. A proxy \
         named by `HTTPS_PROXY` judges by itself."),
    key!("forwarding.deny", "list of patterns", Toml("[]"), true,
        c.forwarding.deny = v => v.list(target)?,
        "What may not be forwarded to: `\"+49900*\"` (numbers that begin so, however they are written; also \
         as they are dialled, `\"0900*\"`), `\"110\"`, `\"sip:*@example.com\"`, `\"sip:*@*.example.com\"`, \
         `\"sip:*\"` (every SIP address), `\"*\"` (everything)."),
    key!("forwarding.allow", "list of patterns", Toml("[]"), true,
        c.forwarding.allow = v => v.list(target)?,
        "What may be forwarded to although a shorter pattern of `deny` matches. Without `deny` nothing \
         else may."),
    key!("feature_codes.enabled", "`true` or `false`", Toml("true"), true,
        c.feature_codes.enabled = v => v.flag()?,
        "Whether there are any. Without them such calls go to the PBX."),
    key!("feature_codes.usual", "`true` or `false`", Toml("true"), true,
        c.feature_codes.usual = v => v.flag()?,
        "Whether the usual codes are in the table (`*78`, `*72…`, `*21*…#`, …), beside and after those of \
         `[[feature_code]]`."),
    key!("registrar.mode", "`\"local\"` or `\"pass\"`",
        Words("`\"pass\"` with a `next_hop`, else `\"local\"`"), true,
        c.registrar.mode = v => Some(v.word(&[
            ("local", RegistrarMode::Local),
            ("pass", RegistrarMode::Pass),
        ])?),
        "`local`: phones register with us, and what is for a subscriber goes to their phones. `pass`: \
         REGISTER goes to the PBX as it is, which knows the phones."),
    key!("registrar.min_expires_s", "seconds, 1 to 3600", Toml("60"), true,
        c.registrar.min_expires_s = v => v.integer(1..=3_600)? as u32,
        "A phone that asks for a shorter interval is answered 423."),
    key!("registrar.default_expires_s", "seconds, 1 to 604800", Toml("3600"), true,
        c.registrar.default_expires_s = v => v.integer(1..=604_800)? as u32,
        "The interval of a phone that asks for none."),
    key!("registrar.max_expires_s", "seconds, 60 to 604800", Toml("7200"), true,
        c.registrar.max_expires_s = v => v.integer(60..=604_800)? as u32,
        "The interval of a phone that asks for more; at least the other two."),
    key!("registrar.bindings_per_aor", "number, 1 to 100", Toml("16"), true,
        c.registrar.bindings_per_aor = v => v.integer(1..=100)? as usize,
        "How many phones a subscriber may have registered at once; one more is answered 403."),
    key!("events.packages", "list of `\"dialog\"` and `\"presence\"`",
        Words("both where phones register with us, else `[]`"), true,
        c.events.packages = v => Some(v.list(package)?),
        "Which event packages we answer ourselves for our subscribers: `dialog` lights lamps (RFC 4235), \
         `presence` tells the status (RFC 3856). SUBSCRIBE to anything else, or to nobody of ours, goes on as \
         it would without. Behind a PBX that is the registrar watchers need a password with us, or come \
         from a peer."),
    key!("events.max_expires_s", "seconds, 60 to 604800", Toml("7200"), true,
        c.events.max_expires_s = v => v.integer(60..=604_800)? as u32,
        "The interval of a subscription that asks for more. One that asks for less than 60 is answered 423."),
    key!("events.per_watcher", "number, 1 to 1000000", Toml("1000"), true,
        c.events.per_watcher = v => v.integer(1..=1_000_000)? as usize,
        "How many subscriptions one subscriber may have; one more is answered 403. Peers have no such bound."),
    key!("events.lamp_shows_dnd", "`true` or `false`", Toml("false"), true,
        c.events.lamp_shows_dnd = v => v.flag()?,
        "Whether the lamp of somebody who is not to be disturbed is lit as during a call, for those who may \
         see their status."),
    key!("sip.proxy_protocol", "list of `ADDRESS[/PREFIX]`", Toml("[]"), true,
        c.sip.proxy_protocol = v => v.list(network)?,
        "Load balancers in front of us. A connection from one of these networks must begin with a header \
         of the PROXY protocol, version 2, and counts as coming from the address that it tells; from \
         elsewhere such a header closes the connection."),
    key!("sip.reuse_tcp", "`true` or `false`", Toml("false"), true,
        c.sip.reuse_tcp = v => v.flag()?,
        "Whether `alias` in the Via of a known peer lets us send it requests over its own connection on \
         TCP, too (RFC 5923). On TLS its certificate decides, always."),
    key!("tls.certificate", "path", Words("none; needed for `tls` and `wss`"), true,
        c.tls.certificate = v => Some(v.parsed(path)?),
        "Our certificate, followed by those between it and its root."),
    key!("tls.private_key", "path", Words("none; needed for `tls` and `wss`"), true,
        c.tls.private_key = v => Some(v.parsed(path)?),
        "Its private key: PKCS #8, PKCS #1 or SEC 1, without a passphrase."),
    key!("tls.client_ca", "path", Words("none"), true,
        c.tls.client_ca = v => Some(v.parsed(path)?),
        "The roots of those who connect to us. With it a certificate is asked for and verified, and its \
         names are known; without it nobody is asked for one."),
    key!("tls.require_client_certificate", "`true` or `false`", Toml("false"), true,
        c.tls.require_client_certificate = v => v.flag()?,
        "Whether those who connect to us must have a certificate; needs `client_ca`."),
    key!("tls.server_ca", "path", Words("none"), true,
        c.tls.server_ca = v => Some(v.parsed(path)?),
        "Roots of those whom we connect to, beside the system's."),
    key!("tls.client_certificate", "path", Words("as `certificate`"), true,
        c.tls.client_certificate = v => Some(v.parsed(path)?),
        "The certificate that we show where a system we connect to asks for one."),
    key!("tls.client_key", "path", Words("as `private_key`"), true,
        c.tls.client_key = v => Some(v.parsed(path)?),
        "Its private key."),
    key!("tls.min_version", "`\"1.2\"` or `\"1.3\"`", Toml(r#""1.2""#), true,
        c.tls.min_version = v => v.word(&[("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)])?,
        "The oldest version of TLS that is spoken."),
    key!("tls.verify_server", "`true` or `false`", Toml("true"), true,
        c.tls.verify_server = v => v.flag()?,
        "Whether the certificates of systems we connect to are verified: root, time, and the name or \
         address under which we look for them (RFC 5922). Switched off, anybody in between can listen."),
    key!("tls.allow_wildcards", "`true` or `false`", Toml("false"), true,
        c.tls.allow_wildcards = v => v.flag()?,
        "Whether `*.example.com` in such a certificate is taken for `pbx.example.com`, which RFC 5922 \
         forbids and some trunks need."),
    key!("auth.methods", "list of methods, or `\"*\"`",
        Toml(r#"["REGISTER", "PUBLISH", "SUBSCRIBE"]"#), true,
        c.auth.methods = v => v.list(method)?,
        "Which requests from strangers to a domain of ours must be authenticated: any of these three, \
         `INVITE`, `MESSAGE`, `OPTIONS`, `REFER` and `NOTIFY`, or `\"*\"` for every method that can be; \
         `[]` switches digest off. Peers and requests within our dialogs are never challenged. Where the \
         PBX is the registrar, REGISTER, PUBLISH and SUBSCRIBE are its to challenge. Who subscribes to what is \
         answered here (`[events]`) must always prove who they are, unless the list is empty."),
    key!("auth.realm", "text", Words("the first of `sip.domains`, else the host of the first listener"), true,
        c.auth.realm = v => Some(v.parsed(realm)?),
        "The realm that phones are asked with. Digests belong to a realm: when it changes, every \
         password must be set again, and the log says how many."),
    key!("auth.md5", "`true` or `false`", Toml("false"), true,
        c.auth.md5 = v => v.flag()?,
        "Whether MD5 is offered too, for phones that know neither SHA-256 nor SHA-512/256. It serves \
         passwords that are set from then on."),
    key!("auth.md5_only", "`true` or `false`", Toml("false"), true,
        c.auth.md5_only = v => v.flag()?,
        "Whether MD5 alone is offered. Many phones that know nothing else give up when they see \
         another name before it, as JsSIP and sipsak do, or at all, as baresip 1 does."),
    key!("auth.nonce_s", "seconds, 10 to 86400", Toml("300"), true,
        c.auth.nonce_s = v => v.integer(10..=86_400)? as u32,
        "How long a nonce is good; a phone that uses an older one is told `stale=true` and goes on with a \
         new one."),
    key!("auth.failures", "number, 0 to 1000000", Toml("10"), true,
        c.auth.failures = v => v.integer(0..=1_000_000)? as u32,
        "After so many wrong credentials within the window a source is shut out; three calls to \
         different unknown names weigh as much as one. 0 shuts nobody out."),
    key!("auth.window_s", "seconds, 1 to 86400", Toml("60"), true,
        c.auth.window_s = v => v.integer(1..=86_400)? as u32,
        "The window."),
    key!("auth.ban_s", "seconds, 1 to 604800", Toml("300"), true,
        c.auth.ban_s = v => v.integer(1..=604_800)? as u32,
        "How long a source is shut out: all that it sends outside of dialogs is dropped."),
    key!("auth.never_ban", "list of addresses and blocks", Toml("[]"), true,
        c.auth.never_ban = v => v.list(network)?,
        "Who is never shut out, beside the peers."),
    key!("timers.t1_ms", "milliseconds, 10 to 10000", Toml("500"), true,
        c.timers.t1_ms = v => v.integer(10..=10_000)? as u32,
        "T1, the estimate of the round-trip time."),
    key!("timers.t2_ms", "milliseconds, 10 to 60000", Toml("4000"), true,
        c.timers.t2_ms = v => v.integer(10..=60_000)? as u32,
        "T2, the longest interval between two retransmissions; at least T1."),
    key!("timers.t4_ms", "milliseconds, 10 to 60000", Toml("5000"), true,
        c.timers.t4_ms = v => v.integer(10..=60_000)? as u32,
        "T4, how long a message stays in the network."),
    key!("timers.timer_c_s", "seconds, 1 to 3600", Toml("185"), true,
        c.timers.timer_c_s = v => v.integer(1..=3_600)? as u32,
        "Timer C, how long a branch may ring; RFC 3261 asks for more than three minutes."),
    key!("timers.failover_ms", "milliseconds, 500 to 32000", Toml("4000"), true,
        c.timers.failover_ms = v => v.integer(500..=32_000)? as u32,
        "How long a host may be silent before the next one of the same target is tried, where there \
         is one (RFC 3263 §4.3)."),
    key!("limits.transactions", "number", Toml("1000000"), true,
        c.limits.transactions = v => v.integer(1..=TABLE_LIMIT)? as usize,
        "Transactions. Of those that are over and only absorb repetitions, for 32 s, or 5 s after a \
         refusal, four answered ones or sixteen refused ones count for one: a million is \
         60,000 calls/s. They take about 2 GB."),
    key!("limits.calls", "number", Toml("200000"), false,
        c.limits.calls = v => v.integer(1..=TABLE_LIMIT)? as usize,
        "Open calls."),
    key!("limits.bindings", "number", Toml("1000000"), false,
        c.limits.bindings = v => v.integer(1..=TABLE_LIMIT)? as usize,
        "Bindings of phones, of all subscribers; one more is answered 503."),
    key!("limits.subscriptions", "number", Toml("100000"), false,
        c.limits.subscriptions = v => v.integer(1..=TABLE_LIMIT)? as usize,
        "Subscriptions of watchers, of all together; one more is answered 503."),
    key!("limits.branches", "number, 1 to 64", Toml("16"), true,
        c.limits.branches = v => v.integer(1..=64)? as usize,
        "Targets tried for one call."),
    key!("limits.message_bytes", "bytes, 1500 to 65535", Toml("65535"), false,
        c.limits.message_bytes = v => v.integer(1_500..=65_535)? as usize,
        "The longest message that is handled. Longer datagrams are counted and dropped; on a \
         connection, a longer message closes it."),
    key!("limits.messages_per_source_s", "number, 0 to 10000000", Toml("0"), true,
        c.limits.messages_per_source_s = v => v.integer(0..=10_000_000)? as u32,
        "Messages a second from one source (an IPv4 address, or an IPv6 /64), after a first burst of as \
         many; what exceeds is dropped and counted. Peers and the systems we send calls to are exempt. \
         0 for any number. 200 is plenty for phones; a stranger's load test needs more or 0."),
    key!("limits.connections", "number, 1 to 1000000", Toml("10000"), true,
        c.limits.connections = v => v.integer(1..=1_000_000)? as usize,
        "Connections that are open at once, whoever opened them. More are closed at once."),
    key!("limits.connections_per_source", "number, 1 to 1000000", Toml("1000"), true,
        c.limits.connections_per_source = v => v.integer(1..=1_000_000)? as usize,
        "Connections that one address may open to us at once; peers may open more."),
    key!("limits.connections_opening", "number, 1 to 1000000", Toml("1000"), true,
        c.limits.connections_opening = v => v.integer(1..=1_000_000)? as usize,
        "Connections that are being opened, by us and by others alike, each: until the handshakes of \
         TLS, WebSocket and PROXY are over."),
    key!("limits.connect_s", "seconds, 1 to 60", Toml("3"), true,
        c.limits.connect_s = v => v.integer(1..=60)? as u32,
        "How long we wait until a connection of ours is accepted."),
    key!("limits.handshake_s", "seconds, 1 to 60", Toml("5"), true,
        c.limits.handshake_s = v => v.integer(1..=60)? as u32,
        "How long the handshakes of TLS, WebSocket and PROXY may take, all together."),
    key!("limits.first_message_s", "seconds, 1 to 3600", Toml("30"), true,
        c.limits.first_message_s = v => v.integer(1..=3_600)? as u32,
        "How long somebody may be connected to us before anything comes."),
    key!("limits.message_s", "seconds, 1 to 3600", Toml("10"), true,
        c.limits.message_s = v => v.integer(1..=3_600)? as u32,
        "How long a message may take from its first byte to its last on a connection."),
    key!("limits.connection_idle_s", "seconds, 10 to 604800", Toml("600"), true,
        c.limits.connection_idle_s = v => v.integer(10..=604_800)? as u32,
        "After how long a connection is closed over which nothing came or went, keep-alives included. \
         One over which somebody registered stays, as do WebSockets that answer our pings."),
    key!("limits.connection_stall_s", "seconds, 1 to 60", Toml("5"), true,
        c.limits.connection_stall_s = v => v.integer(1..=60)? as u32,
        "How long the other side may read nothing of what waits for it, before its connection is closed."),
    key!("limits.connection_queue_messages", "number, 16 to 1000000", Toml("4096"), true,
        c.limits.connection_queue_messages = v => v.integer(16..=1_000_000)? as usize,
        "Messages that wait to be sent over one connection; one more closes it."),
    key!("limits.connection_queue_bytes", "bytes, 65536 to 268435456", Toml("1048576"), true,
        c.limits.connection_queue_bytes = v => v.integer(65_536..=256 << 20)? as usize,
        "The bytes that they have together; one more closes the connection."),
    key!("overload.max_delay_ms", "milliseconds, 0 or 4 to 10000", Toml("200"), true,
        c.overload.max_delay_ms = v => max_delay(v)?,
        "How long a new call may have waited for us before it is refused with 503; other new requests may \
         half as long, subscriptions and publications a quarter; what calls in progress need is never \
         refused. Below T1 (500 ms), so that the other side has not yet sent its request again. With 0 \
         nothing is refused for load."),
    key!("overload.control", "`true` or `false`", Toml("true"), true,
        c.overload.control = v => v.flag()?,
        "Overload control between neighbours (RFC 7339, loss-based): we offer it to next hops and send \
         them as much less as they ask, and tell whoever offers it how much less we want."),
    key!("store.engine", "`\"embedded\"`", Toml(r#""embedded""#), false,
        c.store.engine = v => v.word(&[("embedded", StoreEngine::Embedded)])?,
        "Which store: files of this machine. Others come later."),
    key!("store.path", "path", Toml(r#""pointsman-data""#), false,
        c.store.path = v => v.parsed(path)?,
        "The store's directory, made when it is missing; one running server for each."),
    key!("store.journal_days", "days, 1 to 36500", Toml("90"), false,
        c.store.journal_days = v => v.integer(1..=36_500)? as u32,
        "How long journal entries are kept."),
    key!("store.journal_max_mib", "MiB, 64 to 1048576", Toml("1024"), false,
        c.store.journal_max_mib = v => v.integer(64..=1 << 20)? as u32,
        "How much the journal holds; the oldest entries give way."),
    key!("api.listen", "`ADDRESS:PORT`", Toml(r#""127.0.0.1:8080""#), false,
        c.api.listen = v => v.parsed(http_address)?,
        "Where the interface is served. An address other than loopback needs a token."),
    key!("api.admin_token", "text", Words("none"), true,
        c.api.admin_token = v => Some(Secret::new(&v.parsed(token)?)),
        "The administrator's bearer token. Without one, everybody on this machine is administrator."),
    key!("api.admin_token_file", "path", Words("none"), true,
        c.api.admin_token_file = v => Some(v.parsed(path)?),
        "A file that holds the token and nothing else, instead of `admin_token`."),
    key!("oidc.issuer", "URL", Words("none"), true,
        c.oidc.issuer = v => Some(v.parsed(url)?),
        "The provider, as it calls itself; what else is needed it tells at \
         `/.well-known/openid-configuration` beneath. `https`, but for this machine."),
    key!("oidc.client_id", "text", Words("none"), true,
        c.oidc.client_id = v => Some(v.parsed(word)?),
        "By which name the provider knows this server."),
    key!("oidc.client_secret", "text", Words("none"), true,
        c.oidc.client_secret = v => Some(Secret::new(&v.parsed(token)?)),
        "The secret that goes with it; a public client has none."),
    key!("oidc.client_secret_file", "path", Words("none"), true,
        c.oidc.client_secret_file = v => Some(v.parsed(path)?),
        "A file that holds the secret and nothing else, instead of `client_secret`."),
    key!("oidc.scopes", "list of text", Toml(r#"["openid", "profile"]"#), true,
        c.oidc.scopes = v => v.list(word)?,
        "What the provider is asked for; `openid` must be among it."),
    key!("oidc.claim", "text", Toml(r#""preferred_username""#), true,
        c.oidc.claim = v => v.parsed(word)?,
        "Which claim of the ID token is the subscriber's id. An `email` counts only while the \
         provider does not say that it is unverified."),
    key!("oidc.claim_domain", "domain", Words("none"), true,
        c.oidc.claim_domain = v => Some(v.parsed(domain)?),
        "Where the claim is an address, `anna@example.com`: in which domain the part before the `@` \
         is a subscriber's id. Addresses of other domains are nobody's."),
    key!("oidc.label", "text", Toml(r#""Single sign-on""#), true,
        c.oidc.label = v => v.parsed(label)?,
        "What the button at the sign-in says."),
    key!("oidc.public_url", "URL", Words("what the browser asked for"), true,
        c.oidc.public_url = v => Some(v.parsed(url)?),
        "Where people find the page. The provider must know `PUBLIC_URL/api/v1/session/oidc/callback` \
         as a redirect URI."),
    key!("oidc.passwords", "`true` or `false`", Toml("true"), true,
        c.oidc.passwords = v => v.flag()?,
        "Whether people may sign in with a password, too. Tokens work in any case."),
    key!("log.level", "`error`, `warn`, `info`, `debug`, `trace`, or directives", Toml(r#""info""#), true,
        c.log.level = v => v.parsed(level)?,
        "What is logged; also directives such as `\"info,pointsman::net=debug\"`. The environment \
         variable `RUST_LOG` goes first."),
    key!("log.format", "`\"human\"` or `\"json\"`", Toml(r#""human""#), false,
        c.log.format = v => v.word(&[("human", LogFormat::Human), ("json", LogFormat::Json)])?,
        "Lines for people, or one JSON object a line."),
    key!("log.calls_per_s", "number, 0 to 1000000", Toml("1000"), true,
        c.log.calls_per_s = v => v.integer(0..=1_000_000)? as u32,
        "How many lines about single calls are written in a second; the rest is counted."),
    key!("shutdown.grace_s", "seconds, 0 to 86400", Toml("30"), true,
        c.shutdown.grace_s = v => v.integer(0..=86_400)? as u32,
        "How long SIGTERM waits for open calls while new ones are answered 503; a second signal ends \
         at once."),
];

/// The keys of a `[[peer]]`.
pub(super) const PEER_KEYS: &[Key<Peer>] = &[
    key!("name", "text", Words("required"), true,
        p.name = v => v.parsed(peer_name)?,
        "The name in logs and metrics, different for each peer."),
    key!("address", "address, `ADDRESS/PREFIX`, or a list", Words("anywhere, with a `certificate`"), true,
        p.address = v => addresses(v)?,
        "Where it sends from. A peer has addresses or certificates; where it has both, both must match."),
    key!("certificate", "name, or a list", Words("none"), true,
        p.certificate = v => certificates(v)?,
        "The names of which one must stand in the certificate that it shows on a TLS connection, \
         `\"trunk.example.com\"`."),
    key!("forwarding", FORWARDING_KIND, Words("as `sip.forwarding`"), true,
        p.forwarding = v => Some(v.word(FORWARDING)?),
        "How a forwarding is carried out for calls from this peer."),
    key!("voicemail_forwarding", FORWARDING_KIND,
        Words("as the peer's `forwarding` where it has one, else `sip.voicemail_forwarding`"), true,
        p.voicemail_forwarding = v => Some(v.word(FORWARDING)?),
        "The same for voicemail."),
    key!("trust_diversion", "`true` or `false`", Toml("true"), true,
        p.trust_diversion = v => v.flag()?,
        "Whether its Diversion and History-Info are believed."),
    key!("trust_identity", "`true` or `false`", Toml("true"), true,
        p.trust_identity = v => v.flag()?,
        "Whether its P-Asserted-Identity is believed."),
    key!("send_identity", "`true` or `false`", Words("as `trust_identity`"), true,
        p.send_identity = v => Some(v.flag()?),
        "Whether it belongs to the trust domain of RFC 3325 for what we send: it gets the \
         P-Asserted-Identity of callers who ask for `Privacy: id`, and History-Info as it is. Hops that \
         are neither a peer nor configured under `[sip]` do not."),
    key!("external", "`true` or `false`", Toml("false"), true,
        p.external = v => v.flag()?,
        "Whether its calls are external whatever their From says, as from a trunk."),
    key!("check_s", "seconds, 0 or 5 to 3600", Toml("0"), true,
        p.check_s = v => check_s(v)?,
        "How often it is asked with OPTIONS whether it is there, at port 5060 of its address; 0 never. \
         Needs a single address."),
];

/// The keys of a `[[node]]`.
pub(super) const NODE_KEYS: &[Key<Node>] = &[
    key!("name", "text", Words("required"), true,
        n.name = v => v.parsed(peer_name)?,
        "The name in logs and metrics, different for each node."),
    key!("uri", "`sip:HOST[:PORT]`", Words("required"), true,
        n.uri = v => v.parsed(HostPort::parse_uri)?,
        "Where it is. Trusted like a peer unless a `[[peer]]` covers its address."),
    key!("priority", "number, 0 to 65535", Toml("1"), true,
        n.priority = v => v.integer(0..=65_535)? as u16,
        "Nodes of a lower number are tried first; the others when those are in trouble."),
    key!("weight", "number, 0 to 65535", Toml("1"), true,
        n.weight = v => v.integer(0..=65_535)? as u16,
        "Its share of the calls among the nodes of its priority."),
    key!("check_s", "seconds, 0 or 5 to 3600", Toml("30"), true,
        n.check_s = v => check_s(v)?,
        "How often it is asked with OPTIONS whether it is there; 0 never."),
];
