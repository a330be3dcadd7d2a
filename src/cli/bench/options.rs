//! The options of `bench`, and the small languages some of them are written in.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::super::exit::CliError;
use crate::bench::{Credentials, Event, Scenario, Wrong, is_near};
use crate::message::Transport;
use crate::net::System;

const EXAMPLES: &str = "\
Targets: --users 1000 means user[1..1000]; a pattern such as 4930[100000..199999/4] takes every
fourth number. --subscribers takes the file of `import`: `call` then draws those who are available,
`redirect` those who forward, `reject` those who are not to be disturbed or reject, `voicemail` those
who have it. SCENARIO=… gives one scenario its own users, all of them.

Who answers: with --callee this tool plays the callee, too, and compares both ends; let the proxy
send its calls there. Without it the server is expected to answer itself (a plain UAS).

Percentages and times are of the calls that were due in the measured interval. Times count from when
a call was due, so a server that stalls is seen in them.

It ends with 0 when at most --max-failures of the calls failed, with 1 when more did, with 3 when the
server does not answer. Only loopback and private addresses are called without consent.

Examples:
  pointsman bench --self-test
  pointsman bench --server 127.0.0.1:5060 --callee 127.0.0.1:5070 --users 1000
  pointsman bench --server 127.0.0.1:5060 --scenario redirect --users 'away[1..500]' --window 50
  pointsman bench --server 127.0.0.1:5060 --callee 127.0.0.1:5070 --subscribers users.jsonl \\
      --mix call=70,redirect=20,reject=10 --rate 3000 --duration 30s --server-pid 4711
  pointsman bench --server 127.0.0.1:5060 --callee 127.0.0.1:5070 --users 1000 --ramp
  pointsman bench --server 10.0.0.5:5060 --callee 10.0.0.9:5070 --users 100 --back-to-back
  pointsman bench --server 10.0.0.5:5060 --transport tcp --scenario register --users 100 --password x
  pointsman bench --server 10.0.0.5:5060 --users 100 --from sip:anna@{domain} --credentials anna:secret
  pointsman bench --server 127.0.0.1:5060 --scenario subscribe --users bob --from sip:anna@{domain} \\
      --window 1000 --hold 20s
  pointsman bench --server 127.0.0.1:5060 --callee 127.0.0.1:5070 --users 1000 --label now \\
      --json now.json --report page.html --compare before.json
  pointsman bench --compare before.json --compare now.json --report page.html";

/// Drive calls at a SIP proxy, check every answer, measure
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in super::super) struct Bench {
    #[command(flatten)]
    pub target: TargetOptions,
    #[command(flatten)]
    pub load: LoadOptions,
    #[command(flatten)]
    pub checks: CheckOptions,
    #[command(flatten)]
    pub machine: MachineOptions,
    #[command(flatten)]
    pub output: OutputOptions,
}

/// Who is called, by whom, how.
#[derive(Debug, Args)]
#[command(next_help_heading = "Calls")]
pub(in super::super) struct TargetOptions {
    /// The server under test, HOST:PORT
    #[arg(long, value_name = "ADDRESS")]
    pub server: Option<String>,
    /// How it is spoken to
    #[arg(long, value_enum, default_value = "udp")]
    pub transport: Wire,
    /// What is played; the same as --mix SCENARIO=1
    #[arg(long, value_parser = scenario, conflicts_with = "mix", value_name = "SCENARIO")]
    pub scenario: Option<Scenario>,
    /// What is played, by weight: call=70,redirect=20,reject=10 (also no-answer, forward, voicemail,
    /// register, subscribe)
    #[arg(long, value_delimiter = ',', value_parser = weight, value_name = "SCENARIO=N,…")]
    pub mix: Vec<(Scenario, u32)>,
    /// Who is called: a number of users, a name or a pattern
    #[arg(long, value_name = "[SCENARIO=]USERS")]
    pub users: Vec<String>,
    /// Who is called: subscribers, one JSON document a line
    #[arg(long, value_name = "[SCENARIO=]FILE")]
    pub subscribers: Vec<String>,
    /// Call subscribers by their first alias instead of their id
    #[arg(long)]
    pub by_alias: bool,
    /// What `subscribe` subscribes to
    #[arg(long, value_enum, default_value = "dialog")]
    pub event: Package,
    /// The address that is called, as a URI with {user}, {domain} and {server}
    #[arg(long, value_name = "URI", default_value = "sip:{user}@{domain}")]
    pub to: String,
    /// Who calls, as a URI with {local_host}, {local}, {domain}, {server}, {transport} and {call_id}
    /// (sip:bench@{local_host}; with --back-to-back sip:{call_id}@{local_host}, and {call_id} must be the user)
    #[arg(long, value_name = "URI")]
    pub from: Option<String>,
    /// The domain; the server's address otherwise
    #[arg(long)]
    pub domain: Option<String>,
    /// The password with which users register who have none in their document
    #[arg(long)]
    pub password: Option<String>,
    /// With what calls are placed again, or subscriptions made, that the server challenges (401, 407)
    #[arg(long, value_name = "USER:PASSWORD", value_parser = credentials)]
    pub credentials: Option<Credentials>,
    /// Play the callee here: the address to which the server sends its calls
    #[arg(long, value_name = "ADDRESS")]
    pub callee: Option<SocketAddr>,
    /// The server is a back-to-back user agent: the callee gets a call of the server's own, and knows it by the
    /// user of its From, which is {call_id}; what is the server's own is not compared
    #[arg(long, requires = "callee")]
    pub back_to_back: bool,
    /// Play voicemail here; the callee then only rings in `voicemail`
    #[arg(long, value_name = "ADDRESS", requires = "callee")]
    pub voicemail: Option<SocketAddr>,
    /// Play who is forwarded to here; the callee then only rings in `forward`
    #[arg(
        long,
        value_name = "ADDRESS",
        requires = "callee",
        conflicts_with = "voicemail"
    )]
    pub forward_to: Option<SocketAddr>,
    /// Call from this address: IP or IP:PORT
    #[arg(long, value_name = "ADDRESS")]
    pub local: Option<String>,
    /// Replace messages: a folder, or NAME=FILE (invite, ack, bye, cancel, register, subscribe,
    /// unsubscribe, 180, 200)
    #[arg(long, value_name = "[NAME=]PATH")]
    pub template: Vec<String>,
    /// Call a host that is neither loopback nor private: I may load it
    #[arg(long)]
    pub i_may_load_this_host: bool,
}

/// How many calls, how fast, how long.
#[derive(Debug, Args)]
#[command(next_help_heading = "Load")]
pub(in super::super) struct LoadOptions {
    /// Closed loop: this many calls open at once (50 where nothing else is said)
    #[arg(long, value_name = "CALLS", value_parser = clap::value_parser!(u32).range(1..))]
    pub window: Option<u32>,
    /// Closed loop: this many of them still unanswered
    #[arg(long, value_name = "CALLS", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub burst: u32,
    /// Open loop: this many calls a second, whatever becomes of them; with --window a closed loop,
    /// this many at most
    #[arg(long, value_name = "CALLS_PER_S", value_parser = positive)]
    pub rate: Option<f64>,
    /// Find the highest rate that is sustained, from --rate on
    #[arg(long, conflicts_with_all = ["window", "count"])]
    pub ramp: bool,
    /// How long calls are measured (10s where nothing else is said); each step of a ramp: 3s
    #[arg(long, short, value_parser = duration)]
    pub duration: Option<Duration>,
    /// Place so many calls instead, and measure them all
    #[arg(long, value_name = "CALLS", conflicts_with = "duration", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// How long calls are placed before they are measured (2s; 0s with --count)
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub warm_up: Option<Duration>,
    /// How long a call lasts, or a subscription
    #[arg(long, value_parser = duration, default_value = "0s", value_name = "DURATION")]
    pub hold: Duration,
    /// How long it rings before it is answered, or in `no-answer` cancelled
    #[arg(long, value_parser = duration, default_value = "0s", value_name = "DURATION")]
    pub ring: Duration,
    /// At most so many open calls in an open loop; more are counted as failed
    #[arg(long, value_name = "CALLS", default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_open: u32,
}

/// What is right, and what is too late.
#[derive(Debug, Args)]
#[command(next_help_heading = "Checks")]
pub(in super::super) struct CheckOptions {
    /// The final statuses that are right, such as reject=486,600
    #[arg(long, value_name = "[SCENARIO=]STATUS,…")]
    pub expect: Vec<String>,
    /// Leave out a check, for a server that means to change what it looks at: via, call-id, cseq,
    /// from-tag, to-tag, route-set, left-route, contact, request-uri, max-forwards, content-length,
    /// body, place, order, hung-up, lost, cancel, expires, event, state
    #[arg(long, value_delimiter = ',', value_parser = check, value_name = "CHECK,…")]
    pub skip_check: Vec<Wrong>,
    /// The share of calls that may fail, percent (0, in a ramp 0.1)
    #[arg(long, value_name = "PERCENT")]
    pub max_failures: Option<f64>,
    /// After which a request without its answer has failed
    #[arg(long, value_parser = duration, default_value = "32s", value_name = "DURATION")]
    pub timeout: Duration,
    /// From which on an answer counts as late
    #[arg(long, value_parser = duration, default_value = "4s", value_name = "DURATION")]
    pub late: Duration,
    /// The first retransmission over UDP
    #[arg(long, value_parser = duration, default_value = "500ms", value_name = "DURATION")]
    pub t1: Duration,
    /// Show so many messages that were wrong
    #[arg(long, value_name = "MESSAGES", default_value_t = 1)]
    pub show: usize,
}

/// On which cores, and whose accounts are read.
#[derive(Debug, Args)]
#[command(next_help_heading = "Machine")]
pub(in super::super) struct MachineOptions {
    /// Threads of the generator
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub threads: u8,
    /// The cores for them, in turn
    #[arg(long, value_delimiter = ',', value_name = "CPU,…")]
    pub cpus: Vec<usize>,
    /// Never wait, look again and again: exact times, a whole core for each thread
    #[arg(long)]
    pub spin: bool,
    /// The server's process: CPU time, memory, context switches and lost datagrams of it and all
    /// it has started
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// Prove what the generator can do, against a reflector in this process
    #[arg(long, conflicts_with_all = ["server", "callee", "voicemail", "forward_to", "server_pid"])]
    pub self_test: bool,
}

/// What is written where.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(in super::super) struct OutputOptions {
    /// With --json: write the document to this file instead of standard output
    #[arg(value_name = "JSON_FILE")]
    pub json_file: Option<PathBuf>,
    /// The name of this run in reports
    #[arg(long)]
    pub label: Option<String>,
    /// Write one self-contained page with plots
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Lay another run beside this one: a document that --json wrote
    #[arg(long, value_name = "FILE.json")]
    pub compare: Vec<PathBuf>,
    /// With --compare alone: print medians by label as Markdown
    #[arg(long)]
    pub markdown: bool,
}

/// The transports of the tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in super::super) enum Wire {
    /// Datagrams
    Udp,
    /// A byte stream
    Tcp,
}

impl Wire {
    pub(super) const fn transport(self) -> Transport {
        match self {
            Self::Udp => Transport::Udp,
            Self::Tcp => Transport::Tcp,
        }
    }
}

/// The packages of the tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in super::super) enum Package {
    /// Who rings or speaks (RFC 4235)
    Dialog,
    /// How somebody can be reached (RFC 3856)
    Presence,
}

impl Package {
    pub(super) const fn event(self) -> Event {
        match self {
            Self::Dialog => Event::Dialog,
            Self::Presence => Event::Presence,
        }
    }
}

impl TargetOptions {
    /// Who calls, as a URI with slots.
    pub(super) fn caller(&self) -> Result<&str, CliError> {
        match (&self.from, self.back_to_back) {
            (None, false) => Ok("sip:bench@{local_host}"),
            (None, true) => Ok("sip:{call_id}@{local_host}"),
            (Some(from), true) if !from.starts_with("sip:{call_id}@") => {
                Err(CliError::usage(format!(
                    "--from {from}: with --back-to-back it begins with sip:{{call_id}}@, by which the callee \
                     knows a call"
                )))
            }
            (Some(from), _) => Ok(from),
        }
    }

    /// The server's address, which this tool may call.
    pub(super) fn server_address(&self) -> Result<SocketAddr, CliError> {
        let Some(text) = &self.server else {
            return Err(CliError::usage(
                "--server says which server to call (or --self-test, or --compare FILE.json)",
            ));
        };
        let server = resolve(text)?;
        if !is_near(server.ip()) && !self.i_may_load_this_host {
            return Err(CliError::usage(format!(
                "{server} is neither loopback nor private: a load test would hit a public host; \
                 --i-may-load-this-host says that you may"
            )));
        }
        Ok(server)
    }

    /// The address of the caller's sockets; the port is 0 where none was asked for.
    pub(super) fn local_address(&self, server: SocketAddr) -> Result<SocketAddr, CliError> {
        let bad = |text: &str, why| CliError::usage(format!("--local {text}: {why}"));
        match &self.local {
            Some(text) => {
                let ip = text.parse::<IpAddr>();
                let local = ip.map_or_else(|_| text.parse(), |ip| Ok(SocketAddr::new(ip, 0)));
                let local = local.map_err(|_| bad(text, "no IP or IP:PORT"))?;
                match local.ip().is_unspecified() {
                    true => Err(bad(
                        text,
                        "stands for every address; the server answers to one",
                    )),
                    false => Ok(local),
                }
            }
            None => {
                let source = System.source_towards(server);
                let ip = source.map_err(|error| {
                    CliError::failed(format!("there is no way to {server}: {error}"))
                })?;
                Ok(SocketAddr::new(ip, 0))
            }
        }
    }
}

/// HOST:PORT, an address without its port (5060), or a SIP URI of them.
fn resolve(text: &str) -> Result<SocketAddr, CliError> {
    let bare = text.strip_prefix("sip:").unwrap_or(text);
    if let Ok(ip) = bare.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, 5060));
    }
    let with_port = match bare.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => bare.to_owned(),
        _ => format!("{bare}:5060"),
    };
    let found = with_port.to_socket_addrs();
    let failed = |reason: String| CliError::usage(format!("--server {text}: {reason}"));
    let mut found = found.map_err(|error| failed(error.to_string()))?;
    found.next().ok_or_else(|| failed("no address".to_owned()))
}

/// Splits `SCENARIO=rest`; no scenario for another text, also one with an equals sign in it.
pub(super) fn of_scenario(text: &str) -> (Option<Scenario>, &str) {
    let split = text.split_once('=');
    let found = split.and_then(|(name, rest)| Some((Scenario::from_name(name)?, rest)));
    found.map_or((None, text), |(scenario, rest)| (Some(scenario), rest))
}

fn scenario(text: &str) -> Result<Scenario, String> {
    Scenario::from_name(text).ok_or_else(|| {
        let names: Vec<_> = Scenario::ALL.iter().map(|one| one.name()).collect();
        format!("there are {}", names.join(", "))
    })
}

fn weight(text: &str) -> Result<(Scenario, u32), String> {
    let (name, weight) = text.split_once('=').unwrap_or((text, "1"));
    let weight: u32 = weight.parse().map_err(|_| "a weight is a number")?;
    match weight {
        1..=1_000 => Ok((scenario(name)?, weight)),
        _ => Err("a weight is between 1 and 1000".to_owned()),
    }
}

fn credentials(text: &str) -> Result<Credentials, String> {
    let split = text.split_once(':');
    match split.filter(|(user, password)| !user.is_empty() && !password.is_empty()) {
        Some((user, password)) => Ok(Credentials {
            user: user.to_owned(),
            password: password.to_owned(),
        }),
        None => Err("a user name, a colon and a password".to_owned()),
    }
}

fn check(text: &str) -> Result<Wrong, String> {
    Wrong::from_name(text).ok_or_else(|| {
        let names: Vec<_> = Wrong::ALL.iter().map(|one| one.name()).collect();
        format!("there are {}", names.join(", "))
    })
}

fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "no number")?;
    if number > 0.0 && number <= 1e8 {
        Ok(number)
    } else {
        Err("a rate is above 0".to_owned())
    }
}

/// `500ms`, `10s`, `2m`, `1h30m`, or plain seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok();
    if let Some(seconds) = seconds.filter(|seconds| (0.0..=1e7).contains(seconds)) {
        return Ok(Duration::from_secs_f64(seconds));
    }
    let parsed = text.parse::<jiff::SignedDuration>();
    let parsed = parsed.ok().and_then(|span| Duration::try_from(span).ok());
    parsed.ok_or_else(|| "a duration is 500ms, 10s, 2m or 1h30m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, ms) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1h30m", 5_400_000),
            ("2", 2_000),
            ("0.5", 500),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "x", "-1s", "-1", "10 parsecs"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_server_is_found_by_any_of_its_spellings() {
        for (text, address) in [
            ("127.0.0.1:5070", "127.0.0.1:5070"),
            ("127.0.0.1", "127.0.0.1:5060"),
            ("sip:127.0.0.1:5062", "127.0.0.1:5062"),
            ("[::1]:5070", "[::1]:5070"),
            ("::1", "[::1]:5060"),
        ] {
            assert_eq!(resolve(text).unwrap(), address.parse().unwrap(), "{text}");
        }
    }

    #[test]
    fn credentials_end_at_the_first_colon() {
        let read = credentials("anna:a:b").unwrap();
        assert_eq!(
            (read.user.as_str(), read.password.as_str()),
            ("anna", "a:b")
        );
        for text in ["", "anna", "anna:", ":secret"] {
            assert!(credentials(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_scenario_in_front_is_told_from_a_name_with_an_equals_sign() {
        assert_eq!(
            of_scenario("redirect=a=b"),
            (Some(Scenario::Redirect), "a=b")
        );
        assert_eq!(of_scenario("x=y"), (None, "x=y"));
        assert_eq!(weight("call=70"), Ok((Scenario::Call, 70)));
        assert!(weight("call=0").is_err() && weight("calls=1").is_err());
    }
}
