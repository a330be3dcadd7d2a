//! Who is called: users from a list or a pattern, drawn so that no cache can guess the next.

use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode, utf8_percent_encode};

/// The most users of one scenario; what a slot and a draw can count.
const MOST_USERS: u64 = 20_000_000;

/// What may stand nowhere in a SIP URI; with all that is not ASCII.
const NEVER: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The users that one scenario calls.
#[derive(Debug, Clone, Default)]
pub struct Targets {
    names: Names,
    passwords: Names,
    stride: u64,
}

/// Many short texts in one allocation.
#[derive(Debug, Clone, Default)]
struct Names {
    text: Vec<u8>,
    ends: Vec<u32>,
}

/// Why there are no such users.
#[derive(Debug, PartialEq, Eq)]
pub enum TargetsError {
    /// `[` without `]`, or what stands between is no range.
    BadRange(String),
    /// More than can be counted.
    TooMany,
}

impl fmt::Display for TargetsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadRange(range) => write!(
                f,
                "{range:?} is no range: write user[1..1000], 4930[000..999] or \
                 n[0..99/4] for every fourth"
            ),
            Self::TooMany => write!(f, "more than {MOST_USERS} users"),
        }
    }
}

impl Targets {
    /// The users of a list, with their passwords, empty where there is none.
    ///
    /// # Errors
    /// There are too many.
    pub fn of_list<'n>(
        users: impl IntoIterator<Item = (&'n str, &'n str)>,
    ) -> Result<Self, TargetsError> {
        let mut targets = Self::default();
        for (name, password) in users {
            targets.names.push(&escaped(name))?;
            targets.passwords.push(password)?;
        }
        Ok(targets.with_stride())
    }

    /// The users of a pattern: `user[1..1000]` has a thousand, `4930[000..999/4]` every fourth,
    /// the first number giving the width; a text without brackets is one user.
    ///
    /// # Errors
    /// The range is none, or has too many.
    pub fn of_pattern(pattern: &str) -> Result<Self, TargetsError> {
        let mut targets = Self::default();
        let Some((before, rest)) = pattern.split_once('[') else {
            targets.names.push(&escaped(pattern))?;
            return Ok(targets.with_stride());
        };
        let bad = || TargetsError::BadRange(pattern.to_owned());
        let (range, after) = rest.split_once(']').ok_or_else(bad)?;
        let (range, step) = range.split_once('/').unwrap_or((range, "1"));
        let (first, last) = range.split_once("..").ok_or_else(bad)?;
        let width = first.len();
        let number = |text: &str| text.parse::<u64>().map_err(|_| bad());
        let (first, last, step) = (number(first)?, number(last)?, number(step)?);
        if last < first || step == 0 {
            return Err(bad());
        }
        if (last - first) / step >= MOST_USERS {
            return Err(TargetsError::TooMany);
        }
        let mut number = first;
        while number <= last {
            targets
                .names
                .push(&escaped(&format!("{before}{number:0width$}{after}")))?;
            number += step;
        }
        Ok(targets.with_stride())
    }

    /// The same users, all with this password where they have none of their own.
    #[must_use]
    pub fn with_password(mut self, password: &str) -> Self {
        let mut passwords = Names::default();
        for index in 0..self.len() {
            let own = self.passwords.get(index).unwrap_or_default();
            let own = if own.is_empty() {
                password.as_bytes()
            } else {
                own
            };
            passwords.push_bytes(own);
        }
        self.passwords = passwords;
        self
    }

    /// How many users there are.
    pub fn len(&self) -> u32 {
        u32::try_from(self.names.ends.len()).unwrap_or(u32::MAX)
    }

    /// Whether there is nobody to call.
    pub fn is_empty(&self) -> bool {
        self.names.ends.is_empty()
    }

    /// The name of a user, as it stands in a URI.
    pub fn name(&self, index: u32) -> &[u8] {
        self.names.get(index).unwrap_or_default()
    }

    /// The name of a user without its escapes, to sign in with.
    pub fn login(&self, index: u32) -> Vec<u8> {
        percent_decode(self.name(index)).collect()
    }

    /// The password of a user; empty when there is none.
    pub fn password(&self, index: u32) -> &[u8] {
        self.passwords.get(index).unwrap_or_default()
    }

    /// The user of the `turn`-th call: each comes once before one comes again, and neighbours
    /// in time are far apart in the list.
    pub fn draw(&self, turn: u64) -> u32 {
        let len = u64::from(self.len()).max(1);
        ((turn % len) * self.stride % len) as u32
    }

    fn with_stride(mut self) -> Self {
        let len = u64::from(self.len()).max(1);
        let mut stride = (len as f64 * 0.618_034) as u64 | 1;
        while common_divisor(stride, len) != 1 {
            stride += 1;
        }
        self.stride = stride;
        self
    }
}

impl Names {
    fn push(&mut self, name: &str) -> Result<(), TargetsError> {
        if self.ends.len() as u64 >= MOST_USERS {
            return Err(TargetsError::TooMany);
        }
        self.push_bytes(name.as_bytes());
        Ok(())
    }

    fn push_bytes(&mut self, name: &[u8]) {
        self.text.extend_from_slice(name);
        self.ends
            .push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
    }

    fn get(&self, index: u32) -> Option<&[u8]> {
        let index = index as usize;
        let end = *self.ends.get(index)? as usize;
        let start = index.checked_sub(1).and_then(|index| self.ends.get(index));
        self.text.get(start.map_or(0, |start| *start as usize)..end)
    }
}

/// What may stand nowhere in a URI is escaped (RFC 3261 §25.1).
fn escaped(name: &str) -> String {
    let is_escape = |rest: &str| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit))
    };
    let mut pieces = name.split('%');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        text.push_str(if is_escape(piece) { "%" } else { "%25" });
        text.push_str(piece);
    }
    utf8_percent_encode(&text, NEVER).to_string()
}

fn common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pattern: &str) -> Vec<String> {
        let targets = Targets::of_pattern(pattern).unwrap();
        (0..targets.len())
            .map(|index| String::from_utf8(targets.name(index).to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn a_pattern_names_its_users() {
        assert_eq!(names("anna"), ["anna"]);
        assert_eq!(names("u[8..11]"), ["u8", "u9", "u10", "u11"]);
        assert_eq!(names("49[008..010]x"), ["49008x", "49009x", "49010x"]);
        assert_eq!(names("n[1..10/4]"), ["n1", "n5", "n9"]);
    }

    #[test]
    fn what_may_stand_in_no_uri_is_escaped_and_signs_in_as_it_is() {
        let targets =
            Targets::of_list([("bo b", ""), ("\u{fc}@x#", ""), ("a;b=1%20%", "")]).unwrap();
        let names = [0, 1, 2].map(|index| targets.name(index).to_vec());
        assert_eq!(names, [&b"bo%20b"[..], b"%C3%BC@x%23", b"a;b=1%20%25"]);
        assert_eq!(targets.login(0), b"bo b");
    }

    #[test]
    fn a_range_that_is_none_is_refused() {
        for pattern in ["u[1", "u[1-2]", "u[2..1]", "u[1..2/0]", "u[a..b]", "u[..]"] {
            assert_eq!(
                Targets::of_pattern(pattern).unwrap_err(),
                TargetsError::BadRange(pattern.to_owned())
            );
        }
        assert_eq!(
            Targets::of_pattern("u[1..99999999999]").unwrap_err(),
            TargetsError::TooMany
        );
    }

    #[test]
    fn everybody_is_drawn_once_before_anybody_is_drawn_again() {
        for count in [1, 2, 3, 10, 97, 1_000] {
            let targets = Targets::of_pattern(&format!("u[1..{count}]")).unwrap();
            let mut drawn: Vec<_> = (0..count).map(|turn| targets.draw(turn)).collect();
            drawn.sort_unstable();
            assert_eq!(drawn, (0..count as u32).collect::<Vec<_>>());
            assert_eq!(targets.draw(count), targets.draw(0));
        }
    }

    #[test]
    fn own_passwords_stand_before_the_common_one() {
        let users = [("anna", "secret"), ("bert", "")];
        let targets = Targets::of_list(users).unwrap().with_password("common");
        assert_eq!(targets.password(0), b"secret");
        assert_eq!(targets.password(1), b"common");
        assert_eq!(targets.name(1), b"bert");
        assert_eq!(targets.name(2), b"");
    }
}
