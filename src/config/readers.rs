//! How the values of single keys are read, where a kind of value is not enough.

use jiff::tz::TimeZone;

use super::Listen;
use super::address::network;
use super::auth::identity;
use super::error::Fault;
use super::value::Value;
use crate::event::Package;
use crate::presence::{Level, NumberPlan, check_feed};

/// The host's index of a listener is a byte, and every shard has a socket for each.
const LISTENERS_LIMIT: usize = 16;

/// How much people may see of each other.
pub(super) const LEVELS: &[(&str, Level)] = &[
    ("full", Level::Full),
    ("status", Level::Status),
    ("free_busy", Level::FreeBusy),
    ("none", Level::None),
];

pub(super) fn check_s(value: Value<'_>) -> Result<u32, Fault> {
    match value.integer(0..=3_600)? {
        short @ 1..5 => Err(Fault::new(format!(
            "{short} is not allowed; allowed: 0, or a whole number from 5 to 3600"
        ))),
        seconds => Ok(seconds as u32),
    }
}

pub(super) fn listeners(value: Value<'_>) -> Result<Vec<Listen>, Fault> {
    let listeners = value.list(Listen::parse)?;
    if listeners.is_empty() || listeners.len() > LISTENERS_LIMIT {
        let text = format!(
            "{} addresses; allowed: 1 to {LISTENERS_LIMIT}",
            listeners.len()
        );
        return Err(Fault::new(text));
    }
    let mut seen = std::collections::HashSet::new();
    match listeners
        .iter()
        .find(|l| l.address.port() != 0 && !seen.insert(**l))
    {
        Some(twice) => Err(Fault::new(format!("{twice} is listed twice"))),
        None => Ok(listeners),
    }
}

pub(super) fn addresses(value: Value<'_>) -> Result<Vec<crate::proxy::policy::Network>, Fault> {
    let networks = value.list(network)?;
    if networks.is_empty() {
        return Err(Fault::new(
            "the list is empty; allowed: at least one address or block",
        ));
    }
    Ok(networks)
}

pub(super) fn certificates(value: Value<'_>) -> Result<Vec<String>, Fault> {
    let names = value.list(identity)?;
    if names.is_empty() {
        return Err(Fault::new("the list is empty; allowed: at least one name"));
    }
    Ok(names)
}

pub(super) fn region(text: &str) -> Result<String, String> {
    match NumberPlan::for_region(text) {
        Ok(_) => Ok(text.to_ascii_uppercase()),
        Err(_) => Err(format!(
            "{text:?} is not a region; allowed: an ISO 3166 code such as \"DE\""
        )),
    }
}

pub(super) fn calendar(text: &str) -> Result<String, String> {
    check_feed(text)
        .map(|()| text.to_owned())
        .map_err(|fault| format!("{text:?} is no calendar: it {fault}"))
}

pub(super) fn time_zone(text: &str) -> Result<String, String> {
    match TimeZone::get(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(format!(
            "{text:?} is no time zone; allowed: an IANA name such as \"Europe/Berlin\""
        )),
    }
}

pub(super) fn udp_limit(value: Value<'_>) -> Result<u32, Fault> {
    match value.integer(0..=65_535)? {
        short @ 1..576 => Err(Fault::new(format!(
            "{short} is not allowed; allowed: 0, or a whole number from 576 to 65535"
        ))),
        bytes => Ok(bytes as u32),
    }
}

pub(super) fn session_expires(value: Value<'_>) -> Result<u32, Fault> {
    match value.integer(0..=86_400)? {
        short @ 1..90 => Err(Fault::new(format!(
            "{short} is not allowed; allowed: 0, or a whole number from 90 to 86400"
        ))),
        seconds => Ok(seconds as u32),
    }
}

pub(super) fn max_delay(value: Value<'_>) -> Result<u32, Fault> {
    match value.integer(0..=10_000)? {
        short @ 1..4 => Err(Fault::new(format!(
            "{short} is not allowed; allowed: 0, or a whole number from 4 to 10000"
        ))),
        ms => Ok(ms as u32),
    }
}

pub(super) fn token(text: &str) -> Result<String, String> {
    match text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Err("a token has at least one character, and no spaces".to_owned()),
        false => Ok(text.to_owned()),
    }
}

pub(super) fn peer_name(text: &str) -> Result<String, String> {
    let legal = |c: char| c.is_alphanumeric() || " -_.".contains(c);
    match text.is_empty() || text.len() > 64 || !text.chars().all(legal) {
        true => Err(format!(
            "{text:?} is not allowed; allowed: 1 to 64 letters, digits, spaces, and any of - _ ."
        )),
        false => Ok(text.to_owned()),
    }
}

pub(super) fn level(text: &str) -> Result<String, String> {
    match tracing_subscriber::EnvFilter::builder().parse(text) {
        Ok(_) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err(format!(
            "{text:?} is not a level; allowed: error, warn, info, debug, trace, or directives \
             such as \"info,pointsman::net=debug\""
        )),
    }
}

/// An event package by its name.
pub(super) fn package(text: &str) -> Result<Package, String> {
    Package::from_name(text.as_bytes()).ok_or_else(|| {
        let names: Vec<_> = Package::ALL.iter().map(|package| package.name()).collect();
        format!("{text:?} is not served here; allowed: {}", names.join(", "))
    })
}
