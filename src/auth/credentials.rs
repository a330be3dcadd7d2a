//! What is kept of a subscriber's password: the digests it is needed for, never the password.
//!
//! A digest is H(user name:realm:password) (RFC 7616 §3.4.2), so there is one for each user name
//! that the subscriber's phones may send and for each algorithm, and all belong to one realm.

use std::fmt;
use std::sync::Arc;

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::algorithm::{Algorithm, Hash};

/// The longest password.
pub const PASSWORD_LIMIT_BYTES: usize = 256;
/// Shorter ones are warned about.
const SHORT_PASSWORD_CHARACTERS: usize = 8;
/// The form of the document; a later form has a greater number.
const FORMAT: u64 = 1;
/// As many as an id, its lower-case form and 32 aliases are.
const USERNAMES_LIMIT: usize = 34;
const TEXT_LIMIT_BYTES: usize = 255;

/// A password on its way to becoming digests. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Box<str>);

impl Password {
    /// A password of 1 to [`PASSWORD_LIMIT_BYTES`] bytes without control characters.
    ///
    /// # Errors
    /// What is wrong with it, without telling it.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("is empty; leave it out to keep the password, null removes it".to_owned());
        }
        if text.len() > PASSWORD_LIMIT_BYTES {
            let length = text.len();
            return Err(format!(
                "{length} bytes long; at most {PASSWORD_LIMIT_BYTES}"
            ));
        }
        match text.chars().any(char::is_control) {
            true => Err("has a control character".to_owned()),
            false => Ok(Self(text.into())),
        }
    }

    /// Whether it is so short that it will be guessed.
    pub fn is_short(&self) -> bool {
        self.0.chars().count() < SHORT_PASSWORD_CHARACTERS
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// How passwords become digests.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hashing {
    /// The realm that phones are asked with.
    pub realm: Box<str>,
    /// Whether MD5 digests are made too.
    pub md5: bool,
}

impl Default for Hashing {
    /// For a server of this machine only; a configuration says better.
    fn default() -> Self {
        Self {
            realm: "localhost".into(),
            md5: false,
        }
    }
}

impl Hashing {
    /// The digests of a password for each of these user names.
    pub fn credentials<'n>(
        &self,
        password: &Password,
        usernames: impl IntoIterator<Item = &'n str>,
    ) -> Credentials {
        let count = if self.md5 { 3 } else { 2 };
        let mut packed = Packed::new(&self.realm);
        for username in usernames {
            let digest = |algorithm: Algorithm| {
                let realm = self.realm.as_bytes();
                algorithm.hash(&[username.as_bytes(), realm, password.0.as_bytes()])
            };
            packed.push(username, Algorithm::ALL.into_iter().take(count).map(digest));
        }
        packed.finish()
    }
}

/// A subscriber's digests, packed: realm, then for each user name its text, which digests there
/// are, and the digests. A text stands behind its length in one byte.
///
/// A digest is as good as the password for this realm and algorithm; shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials(Arc<[u8]>);

/// One user name with its digests.
struct Entry<'a> {
    username: &'a str,
    digests: &'a [u8],
    has: u8,
}

/// Why phones cannot authenticate although there is a password.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Gap {
    /// It was set for another realm.
    Realm {
        /// That realm.
        kept: String,
        /// The realm now.
        wanted: String,
    },
    /// It was set before there were these user names.
    Names(String),
    /// It was set before MD5 was switched on.
    Md5,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Realm { kept, wanted } => write!(
                f,
                "the password was set for the realm \"{kept}\", and the realm is \"{wanted}\" \
                 now: phones cannot authenticate until it is set again"
            ),
            Self::Names(names) => write!(
                f,
                "the password was set before there was {names}: phones cannot authenticate as \
                 that until it is set again"
            ),
            Self::Md5 => f.write_str(
                "the password was set before MD5 was switched on: phones that know MD5 only \
                 cannot authenticate until it is set again",
            ),
        }
    }
}

impl Credentials {
    /// The realm that the digests are for.
    pub fn realm(&self) -> &str {
        Texts(&self.0).text().unwrap_or_default()
    }

    /// The digest of a user name, exactly as a phone sends it.
    pub fn digest(&self, username: &[u8], realm: &str, algorithm: Algorithm) -> Option<Hash> {
        if self.realm() != realm {
            return None;
        }
        let mut entries = self.entries();
        entries
            .find(|entry| entry.username.as_bytes() == username)?
            .digest(algorithm)
    }

    /// The user names that have a digest.
    pub fn usernames(&self) -> impl Iterator<Item = &str> {
        self.entries().map(|entry| entry.username)
    }

    /// What keeps phones from authenticating as all of these user names under this policy.
    pub fn gaps<'n>(
        &self,
        hashing: &Hashing,
        usernames: impl IntoIterator<Item = &'n str>,
    ) -> Vec<Gap> {
        let realm = self.realm();
        if realm != &*hashing.realm {
            return vec![Gap::Realm {
                kept: realm.to_owned(),
                wanted: hashing.realm.to_string(),
            }];
        }
        let lacks = |username: &&str| {
            let digest = |algorithm| self.digest(username.as_bytes(), realm, algorithm);
            digest(Algorithm::Sha256).is_none()
        };
        let missing: Vec<&str> = usernames.into_iter().filter(lacks).collect();
        let mut gaps = Vec::new();
        if !missing.is_empty() {
            gaps.push(Gap::Names(missing.join(", ")));
        }
        let lacks_md5 = self.entries().any(|e| e.digest(Algorithm::Md5).is_none());
        if hashing.md5 && lacks_md5 {
            gaps.push(Gap::Md5);
        }
        gaps
    }

    /// Reads the document that [`Serialize`] writes.
    ///
    /// # Errors
    /// The key that is wrong, and why.
    pub fn from_json(value: &Value) -> Result<Self, (String, String)> {
        let at = |key: &str, text: &str| (key.to_owned(), text.to_owned());
        let map = value.as_object();
        let map = map.ok_or_else(|| at("", "expected an object as `export` writes it"))?;
        if map.get("format").and_then(Value::as_u64) != Some(FORMAT) {
            return Err(at("format", "expected 1"));
        }
        let realm = short_text(map.get("realm")).map_err(|text| at("realm", text))?;
        let mut packed = Packed::new(realm);
        let digests = map.get("digests").and_then(Value::as_array);
        let digests = digests.filter(|digests| digests.len() <= USERNAMES_LIMIT);
        for (position, entry) in digests
            .ok_or_else(|| at("digests", "expected a list of at most 34"))?
            .iter()
            .enumerate()
        {
            let bad = |text: &str| (format!("digests.{position}"), text.to_owned());
            let entry = entry.as_object().ok_or_else(|| bad("expected an object"))?;
            let username = short_text(entry.get("username")).map_err(bad)?;
            packed.push(username, read_digests(entry).map_err(bad)?);
        }
        Ok(packed.finish())
    }

    fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut texts = Texts(&self.0);
        texts.text();
        std::iter::from_fn(move || texts.entry())
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(digests for {:?})", self.realm())
    }
}

impl Serialize for Credentials {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entries: Vec<_> = self.entries().map(|entry| entry.to_json()).collect();
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("format", &FORMAT)?;
        map.serialize_entry("realm", self.realm())?;
        map.serialize_entry("digests", &entries)?;
        map.end()
    }
}

impl Entry<'_> {
    fn digest(&self, wanted: Algorithm) -> Option<Hash> {
        let mut at = 0;
        for algorithm in Algorithm::ALL {
            let size = algorithm.size_bytes();
            let has = self.has & bit(algorithm) != 0;
            if has && algorithm == wanted {
                return Hash::from_bytes(algorithm, self.digests.get(at..at + size)?);
            }
            at += if has { size } else { 0 };
        }
        None
    }

    fn to_json(&self) -> Value {
        let mut map = Map::new();
        map.insert("username".to_owned(), self.username.into());
        for algorithm in Algorithm::ALL {
            if let Some(digest) = self.digest(algorithm) {
                let hex = String::from_utf8_lossy(digest.hex().as_bytes()).into_owned();
                map.insert(algorithm.name().to_owned(), hex.into());
            }
        }
        map.into()
    }
}

/// What says in an entry that it has a digest of the algorithm.
const fn bit(algorithm: Algorithm) -> u8 {
    match algorithm {
        Algorithm::Sha256 => 1,
        Algorithm::Sha512_256 => 2,
        Algorithm::Md5 => 4,
    }
}

fn short_text(value: Option<&Value>) -> Result<&str, &'static str> {
    let text = value.and_then(Value::as_str);
    text.filter(|text| (1..=TEXT_LIMIT_BYTES).contains(&text.len()))
        .ok_or("expected a realm, or a user name, of 1 to 255 bytes")
}

fn read_digests(entry: &Map<String, Value>) -> Result<Vec<Hash>, &'static str> {
    let mut digests = Vec::new();
    for algorithm in Algorithm::ALL {
        let Some(value) = entry.get(algorithm.name()) else {
            continue;
        };
        let hex = value.as_str().unwrap_or_default().as_bytes();
        let digest = Hash::from_hex(algorithm, hex);
        digests.push(digest.ok_or("a digest is not as long as its algorithm makes it")?);
    }
    match entry.len() == digests.len() + 1 {
        true => Ok(digests),
        false => Err("use username, SHA-256, SHA-512-256 and MD5"),
    }
}

/// Packed credentials while they are made.
struct Packed(Vec<u8>);

impl Packed {
    fn new(realm: &str) -> Self {
        let mut packed = Self(Vec::with_capacity(128));
        packed.text(realm);
        packed
    }

    fn push(&mut self, username: &str, digests: impl IntoIterator<Item = Hash>) {
        self.text(username);
        let flags_at = self.0.len();
        self.0.push(0);
        let mut has = 0;
        for digest in digests {
            has |= bit(digest.algorithm());
            self.0.extend_from_slice(digest.as_bytes());
        }
        if let Some(flags) = self.0.get_mut(flags_at) {
            *flags = has;
        }
    }

    fn text(&mut self, text: &str) {
        let text = text.as_bytes();
        let text = text.get(..TEXT_LIMIT_BYTES).unwrap_or(text);
        self.0.push(text.len() as u8);
        self.0.extend_from_slice(text);
    }

    fn finish(self) -> Credentials {
        Credentials(self.0.into())
    }
}

/// Reads packed credentials from the front.
struct Texts<'a>(&'a [u8]);

impl<'a> Texts<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    fn byte(&mut self) -> Option<u8> {
        self.bytes(1)?.first().copied()
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.byte()?;
        std::str::from_utf8(self.bytes(length.into())?).ok()
    }

    fn entry(&mut self) -> Option<Entry<'a>> {
        let username = self.text()?;
        let has = self.byte()?;
        let size = Algorithm::ALL
            .into_iter()
            .filter(|algorithm| has & bit(*algorithm) != 0)
            .map(Algorithm::size_bytes)
            .sum();
        let digests = self.bytes(size)?;
        Some(Entry {
            username,
            digests,
            has,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn hashing(md5: bool) -> Hashing {
        Hashing {
            realm: "example.com".into(),
            md5,
        }
    }

    fn anna(md5: bool) -> Credentials {
        let password = Password::new("correct horse").unwrap();
        hashing(md5).credentials(&password, ["anna", "101"])
    }

    #[test]
    fn a_digest_is_found_by_user_name_realm_and_algorithm() {
        let anna = anna(true);
        for username in ["anna", "101"] {
            for algorithm in Algorithm::ALL {
                let expected =
                    algorithm.hash(&[username.as_bytes(), b"example.com", b"correct horse"]);
                let found = anna.digest(username.as_bytes(), "example.com", algorithm);
                assert_eq!(found, Some(expected));
            }
        }
        assert_eq!(anna.digest(b"anna", "example.net", Algorithm::Sha256), None);
        assert_eq!(anna.digest(b"Anna", "example.com", Algorithm::Sha256), None);
        assert_eq!(anna.usernames().collect::<Vec<_>>(), ["anna", "101"]);
    }

    #[test]
    fn md5_is_kept_only_where_it_is_switched_on() {
        let anna = anna(false);
        assert_eq!(anna.digest(b"anna", "example.com", Algorithm::Md5), None);
        assert!(!serde_json::to_string(&anna).unwrap().contains("MD5"));
    }

    #[test]
    fn what_is_missing_is_told() {
        assert_eq!(anna(true).gaps(&hashing(true), ["anna"]), []);
        let elsewhere = Hashing {
            realm: "example.net".into(),
            md5: false,
        };
        let gaps = anna(true).gaps(&elsewhere, ["anna"]);
        assert!(gaps[0].to_string().contains("realm"), "{gaps:?}");
        let gaps = anna(false).gaps(&hashing(true), ["anna", "102"]);
        assert_eq!(gaps, [Gap::Names("102".to_owned()), Gap::Md5]);
    }

    #[test]
    fn nothing_of_it_is_ever_shown() {
        let password = Password::new("correct horse").unwrap();
        assert_eq!(format!("{password:?}"), "(secret)");
        assert_eq!(format!("{:?}", anna(true)), "(digests for \"example.com\")");
    }

    #[test]
    fn a_password_has_bounds() {
        assert!(Password::new("x").unwrap().is_short());
        assert!(!Password::new("eight ch").unwrap().is_short());
        assert!(Password::new("").is_err());
        assert!(Password::new("a\nb").is_err());
        assert!(Password::new(&"x".repeat(256)).is_ok());
        let error = Password::new(&"secret".repeat(50)).unwrap_err();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn a_document_that_is_wrong_is_refused_by_its_key() {
        let good = serde_json::to_value(anna(true)).unwrap();
        let wrong = |change: &dyn Fn(&mut Value)| {
            let mut document = good.clone();
            change(&mut document);
            Credentials::from_json(&document).unwrap_err().0
        };
        assert_eq!(wrong(&|d| d["format"] = json!(2)), "format");
        assert_eq!(wrong(&|d| d["realm"] = json!("")), "realm");
        assert_eq!(wrong(&|d| d["digests"] = json!({})), "digests");
        assert_eq!(
            wrong(&|d| d["digests"][1]["MD5"] = json!("00")),
            "digests.1"
        );
        assert_eq!(
            wrong(&|d| d["digests"][0]["SHA-1"] = json!("00")),
            "digests.0"
        );
        assert_eq!(wrong(&|d| *d = json!(7)), "");
    }

    proptest! {
        #[test]
        fn a_document_reads_back(
            realm in "[ -~]{1,60}", usernames in prop::collection::vec("[a-z0-9+]{1,64}", 0..8),
            md5 in any::<bool>(),
        ) {
            let hashing = Hashing { realm: realm.into(), md5 };
            let password = Password::new("secret").unwrap();
            let names = usernames.iter().map(String::as_str);
            let made = hashing.credentials(&password, names);
            let document = serde_json::to_value(&made).unwrap();
            prop_assert_eq!(Credentials::from_json(&document).unwrap(), made);
        }
    }
}
