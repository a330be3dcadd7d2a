//! Telephone numbers: many ways of writing, one key.
//!
//! Aliases are normalised when they are saved, with the metadata of the `phonenumber` crate. What a
//! caller dialled is normalised on the call path by a few byte comparisons that agree with it.

use std::fmt;

use phonenumber::metadata::DATABASE;
use phonenumber::{Metadata, Mode, country};

/// The longest user part that can be somebody's key once `%` escapes and separators are gone.
pub const KEY_LIMIT_BYTES: usize = 64;

/// Shorter numbers are extensions, whatever they begin with.
const SHORTEST_NATIONAL: usize = 3;
/// E.164 allows 15 digits; Germany and Austria have been seen to use more.
const LONGEST_DIGITS: usize = 18;
/// Whole numbers, country code and all, that have fewer digits are known to be some.
const FEWEST_DIGITS: usize = 10;

/// How numbers are written in one region: its country code and its prefixes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NumberPlan {
    region: country::Id,
    country_code: String,
    international_prefix: Option<String>,
    national_prefix: Option<String>,
    shortest_national: usize,
    prefix_is_optional: bool,
    zero_codes: ZeroCodes,
}

/// The country codes after which people also write the `0` they dial at home, `+49 (0)30`: one bit
/// for each code. Not Italy, whose zero belongs to the number.
#[derive(Clone, PartialEq, Eq, Debug)]
struct ZeroCodes(Box<[u64; 16]>);

/// A region that has no telephone numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnknownRegion(pub String);

/// Room for one key on the stack.
pub struct SmallBuf {
    bytes: [u8; KEY_LIMIT_BYTES],
    len: usize,
}

/// The keys under which a dialled user part may be known, in the order in which they are tried.
pub struct DialledKeys<'a> {
    plan: &'a NumberPlan,
    user: &'a [u8],
    dialled: SmallBuf,
    normalised: SmallBuf,
    next: u8,
}

impl NumberPlan {
    /// The plan of a region by its ISO 3166 code, `DE`.
    ///
    /// # Errors
    /// When there is no such region.
    pub fn for_region(region: &str) -> Result<Self, UnknownRegion> {
        let unknown = || UnknownRegion(region.to_owned());
        let id: country::Id = region.to_ascii_uppercase().parse().map_err(|_| unknown())?;
        let metadata = DATABASE.by_id(id.as_ref()).ok_or_else(unknown)?;
        let shortest = metadata
            .descriptors()
            .general()
            .possible_length()
            .iter()
            .min();
        let shortest_national = shortest.map_or(SHORTEST_NATIONAL, |&min| {
            usize::from(min).max(SHORTEST_NATIONAL)
        });
        Ok(Self {
            region: id,
            country_code: metadata.country_code().to_string(),
            international_prefix: international_prefix(metadata),
            national_prefix: metadata.national_prefix().map(str::to_owned),
            shortest_national,
            prefix_is_optional: metadata.national_prefix().is_none()
                || metadata.country_code() == 1,
            zero_codes: ZeroCodes::from_metadata(),
        })
    }

    /// The country code without `+`, `49`.
    pub fn country_code(&self) -> &str {
        &self.country_code
    }

    /// The one form of an alias: E.164 with `+` for a number, lower case for a name; an extension
    /// stays as it is.
    pub fn canonical_alias(&self, alias: &str) -> String {
        let mut buf = SmallBuf::new();
        let cheap = match std::str::from_utf8(self.normalise_dialled(alias.as_bytes(), &mut buf)) {
            Ok(cheap) if !cheap.is_empty() => cheap,
            _ => return alias.trim().to_ascii_lowercase(),
        };
        if !is_number(cheap.as_bytes()) {
            return cheap.to_owned();
        }
        let is_global = alias.trim_start_matches(is_separator).starts_with('+');
        let is_national = cheap.starts_with('+') || self.prefix_is_optional;
        if is_global {
            return cheap.to_owned();
        }
        let valid = if is_national {
            self.valid_e164(cheap)
        } else {
            None
        };
        valid.unwrap_or_else(|| self.keep_short(alias, cheap))
    }

    /// The key of a user part as a caller dialled it: `%` escapes resolved, parameters taken off,
    /// separators dropped, prefixes replaced by `+` and country code, names in lower case.
    /// Empty when it is too long to be anybody's key.
    ///
    /// `;phone-context` is honoured as RFC 3966 §5.1.5 says.
    pub fn normalise_dialled<'b>(&self, user: &[u8], buf: &'b mut SmallBuf) -> &'b [u8] {
        let mut dialled = SmallBuf::new();
        if !dialled.decode(user) {
            return &[];
        }
        self.normalise_decoded(dialled.as_slice(), phone_context(user), buf)
    }

    /// Every key under which a dialled user part may be known: as dialled, so that an extension
    /// beats everything; normalised; as a national number where people dial no prefix; as E.164
    /// whose `+` a trunk has dropped.
    pub fn dialled_keys<'a>(&'a self, user: &'a [u8]) -> DialledKeys<'a> {
        let mut dialled = SmallBuf::new();
        dialled.decode(user);
        DialledKeys {
            plan: self,
            user,
            dialled,
            normalised: SmallBuf::new(),
            next: 0,
        }
    }

    fn normalise_decoded<'b>(
        &self,
        decoded: &[u8],
        context: Option<&[u8]>,
        buf: &'b mut SmallBuf,
    ) -> &'b [u8] {
        buf.len = 0;
        if !is_number(decoded) {
            buf.extend(decoded);
            return buf.as_slice();
        }
        let mut digits = SmallBuf::new();
        digits.extend_digits(decoded);
        self.complete(digits.as_slice(), context, buf);
        buf.as_slice()
    }

    /// Puts `+` and country code in the place of the prefixes of a number without separators.
    fn complete(&self, number: &[u8], context: Option<&[u8]>, buf: &mut SmallBuf) {
        if let Some(rest) = number.strip_prefix(b"+") {
            return self.global(rest, buf);
        }
        if let Some(context) = context {
            buf.extend(context);
            buf.extend(self.without_national_prefix(number).unwrap_or(number));
            return;
        }
        match self.without_international_prefix(number) {
            Some(rest) => self.global(rest, buf),
            None => match self.without_national_prefix(number) {
                Some(rest) => {
                    buf.extend(b"+");
                    buf.extend(self.country_code.as_bytes());
                    buf.extend(rest);
                }
                None => buf.extend(number),
            },
        }
    }

    /// A number with country code; the `0` dialled at home is not part of it.
    fn global(&self, digits: &[u8], buf: &mut SmallBuf) {
        buf.extend(b"+");
        match self.zero_codes.split(digits) {
            Some((code, rest)) => {
                buf.extend(code);
                buf.extend(rest);
            }
            None => buf.extend(digits),
        }
    }

    fn without_international_prefix<'n>(&self, number: &'n [u8]) -> Option<&'n [u8]> {
        let prefix = self.international_prefix.as_ref()?;
        number
            .strip_prefix(prefix.as_bytes())
            .filter(|rest| rest.len() > SHORTEST_NATIONAL && !rest.starts_with(b"0"))
    }

    fn without_national_prefix<'n>(&self, number: &'n [u8]) -> Option<&'n [u8]> {
        let prefix = self.national_prefix.as_ref()?;
        let length = self.shortest_national..=LONGEST_DIGITS;
        number
            .strip_prefix(prefix.as_bytes())
            .filter(|rest| length.contains(&rest.len()))
    }

    /// With a country code the number is parsed without the home region, whose national prefix
    /// the crate would take off a foreign number.
    fn valid_e164(&self, cheap: &str) -> Option<String> {
        let home = (!cheap.starts_with('+')).then_some(self.region);
        let number = phonenumber::parse(home, cheap).ok()?;
        number
            .is_valid()
            .then(|| number.format().mode(Mode::E164).to_string())
    }

    /// Whether the digits are a number's beginning and no whole number: too few, and none that its
    /// country gives. Of extensions and short codes such as `110` that cannot be told.
    pub fn is_beginning(&self, digits: &str) -> bool {
        let after = |prefix: &Option<String>| {
            let prefix = prefix.as_deref().filter(|prefix| prefix.starts_with('0'))?;
            digits.strip_prefix(prefix)
        };
        let abroad = digits
            .strip_prefix('+')
            .or_else(|| after(&self.international_prefix));
        let home = after(&self.national_prefix).map(|rest| format!("{}{rest}", self.country_code));
        let Some(international) = abroad.map(str::to_owned).or(home) else {
            return false;
        };
        international.len() < FEWEST_DIGITS
            && self.valid_e164(&format!("+{international}")).is_none()
    }

    /// A number that no plan knows: with a prefix and long enough it is one all the same (test
    /// numbers, new blocks); else it is an extension.
    fn keep_short(&self, alias: &str, cheap: &str) -> String {
        let written: String = alias.chars().filter(|&c| !is_separator(c)).collect();
        if written.len() >= 7 {
            cheap.to_owned()
        } else {
            written
        }
    }
}

impl SmallBuf {
    /// An empty one.
    pub const fn new() -> Self {
        Self {
            bytes: [0; KEY_LIMIT_BYTES],
            len: 0,
        }
    }

    /// What was written.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// Appends; a key that does not fit becomes empty for good, for it is nobody's.
    fn extend(&mut self, more: &[u8]) {
        let end = self.len.saturating_add(more.len());
        match self.bytes.get_mut(self.len..end) {
            Some(room) => {
                room.copy_from_slice(more);
                self.len = end;
            }
            None => {
                self.bytes.fill(0);
                self.len = 0;
            }
        }
    }

    fn push(&mut self, byte: u8) -> bool {
        let Some(room) = self.bytes.get_mut(self.len) else {
            return false;
        };
        *room = byte;
        self.len += 1;
        true
    }

    /// Resolves `%` escapes up to the first parameter and lowers the case; false when too long.
    fn decode(&mut self, user: &[u8]) -> bool {
        if user.len() <= KEY_LIMIT_BYTES && !user.iter().any(|byte| matches!(byte, b'%' | b';')) {
            self.extend(user);
            self.bytes.make_ascii_lowercase();
            return true;
        }
        let mut rest = user;
        while let [byte, after @ ..] = rest {
            let (byte, after) = match (byte, after) {
                (b';', _) => return true,
                (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                    (Some(high), Some(low)) => (high << 4 | low, after),
                    _ => (b'%', rest.get(1..).unwrap_or_default()),
                },
                (byte, after) => (*byte, after),
            };
            if !self.push(byte.to_ascii_lowercase()) {
                self.len = 0;
                return false;
            }
            rest = after;
        }
        true
    }

    /// Copies the digits and a leading `+`.
    fn extend_digits(&mut self, number: &[u8]) {
        for &byte in number
            .iter()
            .filter(|byte| byte.is_ascii_digit() || **byte == b'+')
        {
            self.push(byte);
        }
    }
}

impl ZeroCodes {
    fn from_metadata() -> Self {
        let mut codes = Self(Box::new([0; 16]));
        for metadata in DATABASE
            .iter()
            .filter(|region| region.national_prefix() == Some("0"))
        {
            let code = usize::from(metadata.country_code());
            if let Some(word) = codes.0.get_mut(code / 64) {
                *word |= 1 << (code % 64);
            }
        }
        codes
    }

    /// Takes the `0` after such a code away: the code and what follows the `0`. No country code
    /// begins another, so the first that fits is the one.
    fn split<'n>(&self, digits: &'n [u8]) -> Option<(&'n [u8], &'n [u8])> {
        (1..=3).find_map(|length| {
            let (code, rest) = digits.split_at_checked(length)?;
            let rest = rest
                .strip_prefix(b"0")
                .filter(|rest| rest.len() >= SHORTEST_NATIONAL)?;
            let number = code
                .iter()
                .fold(0, |sum, digit| sum * 10 + usize::from(digit & 15));
            let word = self.0.get(number / 64)?;
            (word >> (number % 64) & 1 == 1).then_some((code, rest))
        })
    }
}

impl Default for SmallBuf {
    fn default() -> Self {
        Self::new()
    }
}

impl DialledKeys<'_> {
    /// The next key to try; empty ones and repetitions are left out.
    pub fn next_key(&mut self) -> Option<&[u8]> {
        loop {
            self.next = self.next.saturating_add(1);
            let fresh = match self.next {
                1 => !self.dialled.as_slice().is_empty(),
                2 => self.drop_separators(),
                3 => self.normalise(),
                4 => self.plan.prefix_is_optional && self.rewrite_digits(true),
                5 => self.rewrite_digits(false),
                _ => return None,
            };
            if fresh {
                break;
            }
        }
        let key = if self.next <= 2 {
            &self.dialled
        } else {
            &self.normalised
        };
        Some(key.as_slice())
    }

    fn normalise(&mut self) -> bool {
        let dialled = self.dialled.as_slice();
        let context = phone_context(self.user);
        let key = self
            .plan
            .normalise_decoded(dialled, context, &mut self.normalised);
        !key.is_empty() && key != dialled
    }

    /// Makes `1-01` the extension 101; false where nothing was to drop.
    fn drop_separators(&mut self) -> bool {
        let mut digits = SmallBuf::new();
        digits.extend_digits(self.dialled.as_slice());
        let dropped = is_number(self.dialled.as_slice()) && digits.len < self.dialled.len;
        if dropped {
            self.dialled = digits;
        }
        dropped
    }

    /// Puts `+`, and the country code if `national`, before a number dialled without prefix.
    fn rewrite_digits(&mut self, national: bool) -> bool {
        let digits = self.dialled.as_slice();
        let code = self.plan.country_code.as_bytes();
        let shortest = self.plan.shortest_national;
        let fits = is_number(digits)
            && !digits.starts_with(b"+")
            && if national {
                digits.len() >= shortest
            } else {
                digits.starts_with(code) && digits.len() >= code.len().saturating_add(shortest)
            };
        if fits {
            self.normalised.len = 0;
            self.normalised.extend(b"+");
            if national {
                self.normalised.extend(code);
            }
            self.normalised.extend(digits);
        }
        fits
    }
}

impl fmt::Display for UnknownRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "unknown region `{}`; use a code as \"DE\" or \"US\"",
            self.0
        )
    }
}

impl std::error::Error for UnknownRegion {}

/// Whether these are digits with separators, perhaps after a `+`: no name, no feature code.
pub fn is_number(key: &[u8]) -> bool {
    let mut digits = 0;
    for (position, byte) in key.iter().enumerate() {
        match byte {
            b'0'..=b'9' => digits += 1,
            b'+' if position == 0 => {}
            byte if is_separator(char::from(*byte)) => {}
            _ => return false,
        }
    }
    digits > 0
}

/// RFC 3966 §5.1.1's visual separators, and the blank and slash that people write.
const fn is_separator(c: char) -> bool {
    matches!(c, '-' | '.' | '(' | ')' | ' ' | '/')
}

/// A global number as context, with its `+`; a domain says nothing about the number.
fn phone_context(user: &[u8]) -> Option<&[u8]> {
    const NAME: &[u8] = b"phone-context=";
    let parameters = user.splitn(2, |byte| *byte == b';').nth(1)?;
    parameters
        .split(|byte| *byte == b';')
        .filter(|parameter| parameter.len() > NAME.len())
        .find_map(|parameter| {
            let (name, value) = parameter.split_at_checked(NAME.len())?;
            name.eq_ignore_ascii_case(NAME).then_some(value)
        })
        .filter(|value| match value {
            [b'+', digits @ ..] => !digits.is_empty() && digits.iter().all(u8::is_ascii_digit),
            _ => false,
        })
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// The metadata gives a pattern; where it is not plain, the preferred prefix or its first choice.
fn international_prefix(metadata: &Metadata) -> Option<String> {
    let preferred = metadata.preferred_international_prefix().map(str::to_owned);
    let first = || {
        let pattern = metadata.international_prefix()?.as_str();
        pattern.split('|').next().map(str::to_owned)
    };
    preferred
        .or_else(first)
        .filter(|prefix| !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use phonenumber::metadata::Descriptor;
    use proptest::prelude::*;

    use super::*;

    const REGIONS: [&str; 7] = ["DE", "AT", "CH", "US", "GB", "FR", "IT"];

    fn plan(region: &str) -> NumberPlan {
        NumberPlan::for_region(region).unwrap()
    }

    fn dialled(region: &str, user: &str) -> String {
        let mut buf = SmallBuf::new();
        String::from_utf8(
            plan(region)
                .normalise_dialled(user.as_bytes(), &mut buf)
                .to_vec(),
        )
        .unwrap()
    }

    fn keys(region: &str, user: &str) -> Vec<String> {
        let plan = plan(region);
        let mut keys = plan.dialled_keys(user.as_bytes());
        let mut all = Vec::new();
        while let Some(key) = keys.next_key() {
            all.push(String::from_utf8_lossy(key).into_owned());
        }
        all
    }

    #[test]
    fn the_ways_of_writing_a_number_have_one_key() {
        let ways = [
            "+49 30 1234-56",
            "0049 30 123456",
            "030 123456",
            "030/1234-56",
            "(030) 123456",
            "+49 (0)30 123456",
            "+49 030 123456",
            "+4930123456",
        ];
        for way in ways {
            assert_eq!(plan("DE").canonical_alias(way), "+4930123456", "{way}");
            assert_eq!(dialled("DE", way), "+4930123456", "{way}");
        }
        assert_eq!(
            plan("DE").canonical_alias("+49 30 12345-101"),
            "+493012345101"
        );
    }

    #[test]
    fn extensions_names_and_feature_codes_stay() {
        for alias in [
            "101",
            "0",
            "030",
            "0815",
            "*21",
            "**7#",
            "anna.arndt",
            "anna-2",
            "30123456",
        ] {
            assert_eq!(plan("DE").canonical_alias(alias), alias);
        }
        assert_eq!(plan("DE").canonical_alias("Anna.Arndt"), "anna.arndt");
        assert_eq!(plan("US").canonical_alias("1234"), "1234");
        assert_eq!(plan("IT").canonical_alias("101"), "101");
    }

    #[test]
    fn national_numbers_without_prefix_are_known_where_people_dial_so() {
        assert_eq!(plan("IT").canonical_alias("06 12345678"), "+390612345678");
        assert_eq!(plan("US").canonical_alias("(212) 555-0123"), "+12125550123");
        assert_eq!(keys("IT", "0612345678"), ["0612345678", "+390612345678"]);
        assert_eq!(keys("US", "2125550123"), ["2125550123", "+12125550123"]);
        assert_eq!(keys("DE", "101"), ["101"]);
        assert_eq!(keys("DE", "030123456"), ["030123456", "+4930123456"]);
        assert_eq!(keys("DE", "4930123456"), ["4930123456", "+4930123456"]);
    }

    #[test]
    fn escapes_case_and_parameters_of_a_user_part_are_resolved() {
        assert_eq!(keys("DE", "%41nna"), ["anna"]);
        assert_eq!(dialled("DE", "%2B49%2030%20123456"), "+4930123456");
        assert_eq!(dialled("DE", "+4930123456;isub=1"), "+4930123456");
        assert_eq!(dialled("DE", "30-123456;phone-context=+49"), "+4930123456");
        assert_eq!(
            dialled("DE", "030123456;ext=1;Phone-Context=+49"),
            "+4930123456"
        );
        assert_eq!(dialled("DE", "101;phone-context=example.com"), "101");
        assert_eq!(dialled("DE", "50%"), "50%");
        assert_eq!(dialled("DE", "%zz"), "%zz");
    }

    #[test]
    fn what_is_too_long_is_nobodys_key() {
        assert_eq!(dialled("DE", &"9".repeat(65)), "");
        assert!(keys("DE", &"9".repeat(65)).is_empty());
        assert_eq!(
            dialled("DE", &format!("1;phone-context=+{}", "9".repeat(80))),
            "1"
        );
        assert!(keys("DE", "").is_empty());
    }

    #[test]
    fn a_region_is_known_or_named_in_the_error() {
        assert_eq!(plan("de").country_code(), "49");
        let error = NumberPlan::for_region("XX").unwrap_err().to_string();
        assert!(error.contains("`XX`"), "{error}");
        assert_eq!(plan("US").international_prefix.as_deref(), Some("011"));
        assert_eq!(plan("AU").international_prefix.as_deref(), Some("0011"));
    }

    /// A valid number of the region, near one of the examples in the metadata.
    fn valid_number() -> impl Strategy<Value = (&'static str, String)> {
        (0..REGIONS.len(), 0usize..3, any::<u32>()).prop_filter_map(
            "not valid",
            |(region, kind, tail)| {
                let region = REGIONS[region];
                let metadata = DATABASE.by_id(region).unwrap();
                let kinds = [
                    metadata.descriptors().fixed_line(),
                    metadata.descriptors().mobile(),
                    metadata.descriptors().toll_free(),
                ];
                let example = kinds[kind].and_then(Descriptor::example)?;
                let keep = example.len().saturating_sub(5);
                let national = format!("{}{:05}", &example[..keep], tail % 100_000);
                let e164 = format!("+{}{national}", metadata.country_code());
                let parsed = phonenumber::parse(None, &e164).ok()?;
                (parsed.is_valid() && parsed.format().mode(Mode::E164).to_string() == e164)
                    .then_some((region, national))
            },
        )
    }

    fn spread(number: &str, separator: char, every: usize) -> String {
        let mut written = String::new();
        for (position, digit) in number.chars().enumerate() {
            if position > 0 && position % every == 0 && digit.is_ascii_digit() {
                written.push(separator);
            }
            written.push(digit);
        }
        written
    }

    proptest! {
        #[test]
        fn the_call_paths_normaliser_agrees_with_phonenumber(
            (region, national) in valid_number(),
            home in 0..REGIONS.len(),
            separator in prop::sample::select(vec!['-', '.', ' ']),
            every in 2usize..6,
        ) {
            let home = plan(REGIONS[home]);
            let own = plan(region);
            let code = own.country_code.clone();
            let global = format!("+{code}{national}");
            let abroad = home.international_prefix.clone().unwrap();
            let spaced = spread(&national, separator, every);
            let mut ways = vec![
                (&home, None, global.clone()),
                (&home, None, format!("+{code}{separator}{spaced}")),
            ];
            // Given a region, the crate takes its national prefix off a foreign number too.
            if !national.starts_with(home.national_prefix.as_deref().unwrap_or("+")) {
                ways.push((&home, Some(home.region), format!("{abroad}{code}{national}")));
            }
            if let Some(prefix) = &own.national_prefix {
                let way = spread(&format!("{prefix}{national}"), separator, every);
                ways.push((&own, Some(own.region), way));
            }
            for (plan, region, way) in ways {
                let theirs = phonenumber::parse(region, &way).unwrap();
                prop_assert_eq!(&theirs.format().mode(Mode::E164).to_string(), &global);
                let mut buf = SmallBuf::new();
                let ours = plan.normalise_dialled(way.as_bytes(), &mut buf);
                prop_assert_eq!(std::str::from_utf8(ours).unwrap(), &global, "{}", way);
                prop_assert_eq!(plan.canonical_alias(&way), global.clone(), "{}", way);
            }
        }

        #[test]
        fn an_alias_that_was_saved_is_found_as_it_was_written(
            alias in "[+0-9(][0-9 ./()-]{0,20}|[a-zA-Z0-9._-]{1,20}", region in 0..REGIONS.len(),
        ) {
            let plan = plan(REGIONS[region]);
            let saved = plan.canonical_alias(&alias);
            prop_assume!(!saved.is_empty());
            let mut keys = plan.dialled_keys(saved.as_bytes());
            prop_assert_eq!(keys.next_key(), Some(saved.as_bytes()));
            let mut keys = plan.dialled_keys(alias.as_bytes());
            let mut found = false;
            while let Some(key) = keys.next_key() {
                found |= key == saved.as_bytes();
            }
            prop_assert!(found, "{} is saved as {}", alias, saved);
        }

        #[test]
        fn any_bytes_are_normalised_without_panic(user in prop::collection::vec(any::<u8>(), 0..100)) {
            let plan = plan("DE");
            let mut keys = plan.dialled_keys(&user);
            while let Some(key) = keys.next_key() {
                prop_assert!(key.len() <= KEY_LIMIT_BYTES);
            }
        }
    }
}
