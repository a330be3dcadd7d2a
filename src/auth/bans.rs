//! Sources that fail: first their answers are limited, then they are shut out for a while.
//!
//! A source is an IPv4 address or an IPv6 /64, as that is what one customer has. What is counted
//! are wrong credentials, whoever they name, and calls to many different names that do not exist;
//! not a request without credentials, which learns nothing, and nothing that is malformed. The
//! table is small and its sets forget who has been quiet longest; a restart forgets all.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use siphasher::sip::SipHasher13;

const SETS: usize = 1_024;
const WAYS: usize = 16;
/// How many unknown names weigh as much as one wrong password.
const MISSES_PER_FAILURE: u32 = 3;
/// How many names a source has missed of late are told apart.
const RECENT: usize = 8;
/// What a source that has failed may cost at once, and in a second.
const BURST: u32 = 20;
const REFILL_PER_S: u32 = 8;
/// How many new bans wait for somebody who tells of them.
const NEWS_LIMIT: usize = 256;

/// Where requests come from, as one customer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Source {
    /// An address.
    V4(Ipv4Addr),
    /// The first address of a /64.
    V6(Ipv6Addr),
}

/// After how much a source is shut out, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BanRules {
    /// So many failures within the window; 0 never.
    pub failures: u32,
    /// The window, seconds.
    pub window_s: u32,
    /// How long, seconds.
    pub ban_s: u32,
}

/// What a source did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Offence {
    /// Credentials that were wrong.
    WrongCredentials,
    /// A request for a name that does not exist; its keyed hash.
    Miss(u64),
}

/// Whether a request that is refused is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Answer {
    /// It is.
    #[default]
    Given,
    /// It is dropped: the source has failed, and asks faster than it may.
    Withheld,
}

/// A source that is shut out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ban {
    /// Who.
    pub source: Source,
    /// Since when, milliseconds since 1970.
    pub since_unix_ms: i64,
    /// Until when.
    pub until_unix_ms: i64,
}

/// Who has failed of late, and who is shut out. Times are milliseconds since 1970.
pub struct Bans {
    hasher: SipHasher13,
    sets: Box<[Mutex<Vec<Offender>>]>,
    /// When the last ban ends: before, each new request is looked up.
    last_until_ms: AtomicI64,
    news: Mutex<Vec<Ban>>,
}

struct Offender {
    source: Source,
    /// Failures in this window; misses count in thirds.
    thirds: u32,
    window_began_ms: i64,
    /// What it may cost right now, in thousandths.
    milli_tokens: i64,
    filled_ms: i64,
    last_ms: i64,
    last_transaction: Option<u64>,
    recent: [u64; RECENT],
    recent_at: usize,
    ban: Option<Ban>,
}

impl Source {
    /// The source of an address.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let prefix = u128::from(address) & !u128::from(u64::MAX);
                Self::V6(prefix.into())
            }
        }
    }
}

impl BanRules {
    /// Nobody is shut out.
    pub const fn off() -> Self {
        Self {
            failures: 0,
            window_s: 60,
            ban_s: 300,
        }
    }
}

impl Bans {
    /// An empty table; the secret keeps sources from choosing their set.
    pub fn new(secret: &[u8; 32]) -> Self {
        let word = |at: usize| {
            let bytes = secret.iter().skip(at).take(8);
            bytes.fold(0u64, |word, byte| word << 8 | u64::from(*byte))
        };
        Self {
            hasher: SipHasher13::new_with_keys(word(0) ^ 0x6261_6e73, word(16) ^ word(8)),
            sets: (0..SETS).map(|_| Mutex::default()).collect(),
            last_until_ms: AtomicI64::new(i64::MIN),
            news: Mutex::default(),
        }
    }

    /// Whether a source is shut out.
    pub fn is_banned(&self, address: IpAddr, now_ms: i64) -> bool {
        if now_ms >= self.last_until_ms.load(Ordering::Relaxed) {
            return false;
        }
        let source = Source::of(address);
        self.set(source, |set| {
            let offender = set.iter_mut().find(|offender| offender.source == source);
            offender.is_some_and(|offender| offender.is_banned(now_ms))
        })
    }

    /// Notes an offence. `transaction` tells a retransmission, which counts once. Whether the
    /// source is shut out from now on.
    pub fn note(
        &self,
        address: IpAddr,
        (offence, transaction): (Offence, u64),
        rules: &BanRules,
        now_ms: i64,
    ) -> bool {
        if rules.failures == 0 {
            return false;
        }
        let source = Source::of(address);
        let ban = self.set(source, |set| {
            let offender = offender(set, source, now_ms);
            if offender.is_repeated(offence, transaction) || offender.is_banned(now_ms) {
                return None;
            }
            offender.count(offence, rules, now_ms)
        });
        if let Some(ban) = ban {
            self.last_until_ms
                .fetch_max(ban.until_unix_ms, Ordering::Relaxed);
            let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
            if news.len() < NEWS_LIMIT {
                news.push(ban);
            }
        }
        ban.is_some()
    }

    /// Whether a request that is refused is answered: always, unless its source has failed of late
    /// and asks faster than it may. A wrong password costs four times as much as a request without.
    pub fn answer(&self, address: IpAddr, offence: Option<Offence>, now_ms: i64) -> Answer {
        let source = Source::of(address);
        let cost = match offence {
            Some(Offence::WrongCredentials) => 4_000,
            Some(Offence::Miss(_)) => 2_000,
            None => 1_000,
        };
        self.set(source, |set| {
            let offender = set.iter_mut().find(|offender| offender.source == source);
            offender.map_or(Answer::Given, |offender| offender.pay(cost, now_ms))
        })
    }

    /// Everybody who is shut out, by source.
    pub fn list(&self, now_ms: i64) -> Vec<Ban> {
        let mut bans = Vec::new();
        for set in &self.sets {
            let set = set.lock().unwrap_or_else(PoisonError::into_inner);
            bans.extend(set.iter().filter_map(|offender| offender.ban_at(now_ms)));
        }
        bans.sort_by_key(|ban| ban.source);
        bans
    }

    /// Forgets what a source has done; whether it was shut out.
    pub fn lift(&self, source: Source, now_ms: i64) -> bool {
        self.set(source, |set| {
            let at = set.iter().position(|offender| offender.source == source);
            at.is_some_and(|at| set.swap_remove(at).is_banned(now_ms))
        })
    }

    /// The bans since somebody asked last.
    pub fn news(&self) -> Vec<Ban> {
        std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many sources are kept in mind.
    pub fn len(&self) -> usize {
        let of_set =
            |set: &Mutex<Vec<Offender>>| set.lock().unwrap_or_else(PoisonError::into_inner).len();
        self.sets.iter().map(of_set).sum()
    }

    /// Whether nobody has failed of late.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn set<T: Default>(&self, source: Source, f: impl FnOnce(&mut Vec<Offender>) -> T) -> T {
        let hash = match source {
            Source::V4(address) => self.hasher.hash(&address.octets()),
            Source::V6(address) => self.hasher.hash(&address.octets()),
        };
        let set = self.sets.get(hash as usize % self.sets.len().max(1));
        set.map(|set| f(&mut set.lock().unwrap_or_else(PoisonError::into_inner)))
            .unwrap_or_default()
    }
}

/// The entry of a source; where there is no room, whoever has been quiet longest is forgotten,
/// those who are shut out last.
fn offender(set: &mut Vec<Offender>, source: Source, now_ms: i64) -> &mut Offender {
    let found = set.iter().position(|offender| offender.source == source);
    let at = match found {
        Some(at) => at,
        None if set.len() < WAYS => {
            set.push(Offender::new(source, now_ms));
            set.len() - 1
        }
        None => {
            let rank = |offender: &Offender| (offender.is_banned(now_ms), offender.last_ms);
            let quiet = set.iter().enumerate().min_by_key(|(_, o)| rank(o));
            let at = quiet.map_or(0, |(at, _)| at);
            set.remove(at);
            set.insert(at, Offender::new(source, now_ms));
            at
        }
    };
    #[expect(
        clippy::indexing_slicing,
        reason = "the position was found or made above"
    )]
    let offender = &mut set[at];
    offender.last_ms = now_ms;
    offender
}

impl Offender {
    fn new(source: Source, now_ms: i64) -> Self {
        Self {
            source,
            thirds: 0,
            window_began_ms: now_ms,
            milli_tokens: i64::from(BURST) * 1_000,
            filled_ms: now_ms,
            last_ms: now_ms,
            last_transaction: None,
            recent: [0; RECENT],
            recent_at: 0,
            ban: None,
        }
    }

    fn ban_at(&self, now_ms: i64) -> Option<Ban> {
        self.ban.filter(|ban| now_ms < ban.until_unix_ms)
    }

    fn is_banned(&self, now_ms: i64) -> bool {
        self.ban_at(now_ms).is_some()
    }

    /// Whether this is a retransmission, or a name that was missed just before.
    fn is_repeated(&mut self, offence: Offence, transaction: u64) -> bool {
        let is_again = self.last_transaction.replace(transaction) == Some(transaction);
        let Offence::Miss(name) = offence else {
            return is_again;
        };
        let is_known = self.recent.contains(&name);
        if !is_known {
            if let Some(slot) = self.recent.get_mut(self.recent_at % RECENT) {
                *slot = name;
            }
            self.recent_at = self.recent_at.wrapping_add(1);
        }
        is_again || is_known
    }

    fn count(&mut self, offence: Offence, rules: &BanRules, now_ms: i64) -> Option<Ban> {
        let window_ms = i64::from(rules.window_s) * 1_000;
        let age_ms = now_ms.saturating_sub(self.window_began_ms);
        if !(0..window_ms).contains(&age_ms) {
            self.thirds = 0;
            self.window_began_ms = now_ms;
        }
        self.thirds = self.thirds.saturating_add(match offence {
            Offence::WrongCredentials => MISSES_PER_FAILURE,
            Offence::Miss(_) => 1,
        });
        if self.thirds < rules.failures.saturating_mul(MISSES_PER_FAILURE) {
            return None;
        }
        self.thirds = 0;
        self.ban = Some(Ban {
            source: self.source,
            since_unix_ms: now_ms,
            until_unix_ms: now_ms.saturating_add(i64::from(rules.ban_s) * 1_000),
        });
        self.ban
    }

    fn pay(&mut self, cost: i64, now_ms: i64) -> Answer {
        let passed_ms = now_ms.saturating_sub(self.filled_ms).max(0);
        let refill = passed_ms.saturating_mul(i64::from(REFILL_PER_S));
        let full = i64::from(BURST) * 1_000;
        self.milli_tokens = self.milli_tokens.saturating_add(refill).min(full);
        self.filled_ms = now_ms;
        if self.milli_tokens < cost {
            return Answer::Withheld;
        }
        self.milli_tokens -= cost;
        Answer::Given
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(address) => address.fmt(f),
            Self::V6(address) => write!(f, "{address}/64"),
        }
    }
}

impl FromStr for Source {
    type Err = std::net::AddrParseError;

    /// Reads an address, with or without the `/64` that [`fmt::Display`] writes.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.strip_suffix("/64")
            .unwrap_or(text)
            .parse()
            .map(Self::of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: BanRules = BanRules {
        failures: 3,
        window_s: 60,
        ban_s: 300,
    };

    fn bans() -> Bans {
        Bans::new(&[7; 32])
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn fail(bans: &Bans, address: IpAddr, transaction: u64, now_ms: i64) -> bool {
        let offence = (Offence::WrongCredentials, transaction);
        bans.note(address, offence, &RULES, now_ms)
    }

    #[test]
    fn three_failures_in_a_minute_shut_a_source_out_for_five() {
        let (bans, mallory) = (bans(), ip("192.0.2.66"));
        assert!(!fail(&bans, mallory, 1, 0) && !fail(&bans, mallory, 2, 1_000));
        assert!(!bans.is_banned(mallory, 1_000));
        assert!(fail(&bans, mallory, 3, 2_000));
        assert!(bans.is_banned(mallory, 2_000) && bans.is_banned(mallory, 301_999));
        assert!(!bans.is_banned(ip("192.0.2.67"), 2_000));
        assert!(!bans.is_banned(mallory, 302_000));
        let news = bans.news();
        assert_eq!((news.len(), bans.news().len()), (1, 0));
        assert_eq!(bans.list(2_000), news);
        assert!(bans.list(302_000).is_empty());
    }

    #[test]
    fn failures_far_apart_and_retransmissions_do_not_add_up() {
        let (bans, clumsy) = (bans(), ip("192.0.2.5"));
        for n in 0..20 {
            assert!(!fail(&bans, clumsy, n as u64, n * 31_000));
        }
        let retransmitting = ip("192.0.2.6");
        for n in 0..20 {
            assert!(!fail(&bans, retransmitting, 7, n * 500));
        }
    }

    #[test]
    fn many_unknown_names_shut_out_and_one_does_not() {
        let bans = bans();
        let miss = |address: &str, name: u64, transaction: u64| {
            let offence = (Offence::Miss(name), transaction);
            bans.note(ip(address), offence, &RULES, 0)
        };
        for n in 1..1_000 {
            assert!(!miss("192.0.2.5", 1 + n % 5, n));
        }
        let scanned = (1..).find(|n| miss("192.0.2.6", *n, *n));
        assert_eq!(scanned, Some(9));
    }

    #[test]
    fn an_ipv6_source_is_its_64_and_a_mapped_one_its_ipv4() {
        let bans = bans();
        for n in 0..3 {
            let address = format!("2001:db8:0:1::{n}");
            fail(&bans, ip(&address), n, 0);
        }
        assert!(bans.is_banned(ip("2001:db8:0:1:ffff::1"), 1));
        assert!(!bans.is_banned(ip("2001:db8:0:2::1"), 1));
        assert_eq!(
            Source::of(ip("::ffff:192.0.2.1")),
            Source::of(ip("192.0.2.1"))
        );
        let source = bans.list(1)[0].source;
        assert_eq!(source.to_string(), "2001:db8:0:1::/64");
        assert_eq!(source.to_string().parse(), Ok(source));
        assert!(bans.lift(source, 1) && !bans.lift(source, 1));
        assert!(!bans.is_banned(ip("2001:db8:0:1::1"), 1));
    }

    #[test]
    fn who_has_failed_is_answered_slowly_and_nobody_else() {
        let (bans, mallory) = (bans(), ip("192.0.2.66"));
        let lenient = BanRules {
            failures: 1_000,
            ..RULES
        };
        let wrong = Some(Offence::WrongCredentials);
        for n in 0..1_000 {
            assert_eq!(bans.answer(mallory, None, n), Answer::Given);
        }
        let mut given = 0;
        for n in 0..1_000u64 {
            let now_ms = 10_000 + n as i64 * 10;
            bans.note(mallory, (Offence::WrongCredentials, n), &lenient, now_ms);
            given += usize::from(bans.answer(mallory, wrong, now_ms) == Answer::Given);
        }
        assert_eq!(given, 5 + 19);
        assert_eq!(bans.answer(ip("192.0.2.1"), wrong, 20_000), Answer::Given);
    }

    #[test]
    fn nothing_is_noted_where_bans_are_off() {
        let bans = bans();
        let offence = (Offence::WrongCredentials, 1);
        assert!(!bans.note(ip("192.0.2.1"), offence, &BanRules::off(), 0));
        assert!(bans.is_empty());
    }

    #[test]
    fn the_table_is_bounded_and_keeps_those_who_are_shut_out() {
        let bans = bans();
        let mallory = ip("192.0.2.66");
        (0..3).for_each(|n| {
            fail(&bans, mallory, n, 0);
        });
        for n in 0..(4 * SETS * WAYS) as u32 {
            fail(&bans, IpAddr::V4(n.into()), 1, 1);
        }
        assert!(bans.len() <= SETS * WAYS);
        assert!(bans.is_banned(mallory, 2));
    }
}
