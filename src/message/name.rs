//! Header names and methods as small numbers, so that a field is found by an array look-up.

/// A request method (RFC 3261 §7.1 and the extensions a proxy meets). Methods are case-sensitive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Sets up a dialog (RFC 3261 §13).
    Invite,
    /// Confirms a final response to an INVITE (RFC 3261 §17).
    Ack,
    /// Ends a dialog (RFC 3261 §15).
    Bye,
    /// Gives up a pending request (RFC 3261 §9).
    Cancel,
    /// Asks for capabilities (RFC 3261 §11).
    Options,
    /// Binds an address-of-record to contacts (RFC 3261 §10).
    Register,
    /// Acknowledges a reliable provisional response (RFC 3262).
    Prack,
    /// Changes a session before or within a dialog (RFC 3311).
    Update,
    /// Carries application information within a dialog (RFC 6086).
    Info,
    /// Asks for notifications (RFC 6665).
    Subscribe,
    /// Delivers a notification (RFC 6665).
    Notify,
    /// Asks the recipient to contact a third party (RFC 3515).
    Refer,
    /// Carries an instant message (RFC 3428).
    Message,
    /// Publishes event state (RFC 3903).
    Publish,
    /// Any other token; its bytes stand in the start line.
    Other,
}

impl Method {
    /// The method spelled exactly so, or `Other`.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        match bytes {
            b"INVITE" => Self::Invite,
            b"ACK" => Self::Ack,
            b"BYE" => Self::Bye,
            b"CANCEL" => Self::Cancel,
            b"OPTIONS" => Self::Options,
            b"REGISTER" => Self::Register,
            b"PRACK" => Self::Prack,
            b"UPDATE" => Self::Update,
            b"INFO" => Self::Info,
            b"SUBSCRIBE" => Self::Subscribe,
            b"NOTIFY" => Self::Notify,
            b"REFER" => Self::Refer,
            b"MESSAGE" => Self::Message,
            b"PUBLISH" => Self::Publish,
            _ => Self::Other,
        }
    }

    /// The method as it stands on the wire; `"OTHER"` for `Other`, fit for a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invite => "INVITE",
            Self::Ack => "ACK",
            Self::Bye => "BYE",
            Self::Cancel => "CANCEL",
            Self::Options => "OPTIONS",
            Self::Register => "REGISTER",
            Self::Prack => "PRACK",
            Self::Update => "UPDATE",
            Self::Info => "INFO",
            Self::Subscribe => "SUBSCRIBE",
            Self::Notify => "NOTIFY",
            Self::Refer => "REFER",
            Self::Message => "MESSAGE",
            Self::Publish => "PUBLISH",
            Self::Other => "OTHER",
        }
    }
}

macro_rules! names {
    ($($variant:ident $text:literal $($compact:literal)?;)*) => {
        /// A header field's name (the IANA registry's spelling; compact forms are folded in,
        /// RFC 3261 §7.3.3).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Name {
            $(#[doc = concat!("`", $text, "`")] $variant,)*
            /// Any other name; its bytes stand in the header.
            Other,
        }

        const SPELLINGS: [&str; Name::COUNT] = [$($text,)* ""];

        const ALL: [Name; Name::COUNT] = [$(Name::$variant,)* Name::Other];

        fn compact(letter: u8) -> Name {
            match letter | 0x20 {
                $($($compact => Name::$variant,)?)*
                _ => Name::Other,
            }
        }
    };
}

names! {
    Via "Via" b'v';
    From "From" b'f';
    To "To" b't';
    CallId "Call-ID" b'i';
    CSeq "CSeq";
    MaxForwards "Max-Forwards";
    ContentLength "Content-Length" b'l';
    Route "Route";
    RecordRoute "Record-Route";
    Contact "Contact" b'm';
    Diversion "Diversion";
    HistoryInfo "History-Info";
    SessionExpires "Session-Expires" b'x';
    MinSe "Min-SE";
    Supported "Supported" b'k';
    Require "Require";
    ProxyRequire "Proxy-Require";
    PAssertedIdentity "P-Asserted-Identity";
    PPreferredIdentity "P-Preferred-Identity";
    Privacy "Privacy";
    Reason "Reason";
    ContentType "Content-Type" b'c';
    Expires "Expires";
    Event "Event" b'o';
    RetryAfter "Retry-After";
    Subject "Subject" b's';
    Allow "Allow";
    AllowEvents "Allow-Events" b'u';
    Accept "Accept";
    AcceptEncoding "Accept-Encoding";
    AcceptLanguage "Accept-Language";
    AcceptContact "Accept-Contact" b'a';
    RejectContact "Reject-Contact" b'j';
    RequestDisposition "Request-Disposition" b'd';
    Authorization "Authorization";
    ProxyAuthorization "Proxy-Authorization";
    WwwAuthenticate "WWW-Authenticate";
    ProxyAuthenticate "Proxy-Authenticate";
    AuthenticationInfo "Authentication-Info";
    ContentEncoding "Content-Encoding" b'e';
    ContentDisposition "Content-Disposition";
    ContentLanguage "Content-Language";
    MimeVersion "MIME-Version";
    Date "Date";
    UserAgent "User-Agent";
    Server "Server";
    Warning "Warning";
    Timestamp "Timestamp";
    Unsupported "Unsupported";
    ReferTo "Refer-To" b'r';
    ReferredBy "Referred-By" b'b';
    Replaces "Replaces";
    Join "Join";
    SubscriptionState "Subscription-State";
    SipEtag "SIP-ETag";
    SipIfMatch "SIP-If-Match";
    RSeq "RSeq";
    RAck "RAck";
    MinExpires "Min-Expires";
    Path "Path";
    ServiceRoute "Service-Route";
    RemotePartyId "Remote-Party-ID";
    Organization "Organization";
    Priority "Priority";
    AlertInfo "Alert-Info";
    CallInfo "Call-Info";
    ErrorInfo "Error-Info";
    InReplyTo "In-Reply-To";
    ReplyTo "Reply-To";
    Identity "Identity" b'y';
    UserToUser "User-to-User";
    AnswerMode "Answer-Mode";
    MaxBreadth "Max-Breadth";
}

impl Name {
    /// How many names there are, `Other` included.
    pub const COUNT: usize = Name::Other as usize + 1;

    /// The header of this name, in any case and in the compact form too.
    #[inline]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let (Some(&first), Some(&last), Some(&middle)) =
            (bytes.first(), bytes.last(), bytes.get(bytes.len() / 2))
        else {
            return Self::Other;
        };
        if bytes.len() == 1 {
            return compact(first);
        }
        let slot = slot(first, middle, last, bytes.len());
        let name = SLOTS.get(slot).copied().unwrap_or(Self::Other);
        let spelling = name.as_str().as_bytes();
        if spelling == bytes || spelling.eq_ignore_ascii_case(bytes) {
            name
        } else {
            Self::Other
        }
    }

    /// The known name at the start of a line, in its registered spelling and with the colon right
    /// after it, and the colon's offset. Most lines are such; `None` says nothing about the others.
    #[inline]
    pub(super) fn before_colon(line: &[u8]) -> Option<(Self, usize)> {
        let both = u128::from_le_bytes(*line.first_chunk()?);
        let (first, second) = (both as u64, (both >> 64) as u64);
        if let Some((first, colon)) = up_to_colon(first) {
            return Some((known([first])?, colon));
        }
        if let Some((second, colon)) = up_to_colon(second) {
            return Some((known([first, second])?, 8 + colon));
        }
        let third = u64::from_le_bytes(*line.get(16..)?.first_chunk()?);
        let (third, colon) = up_to_colon(third)?;
        Some((known([first, second, third])?, 16 + colon))
    }

    /// The registered spelling; empty for `Other`.
    #[inline]
    pub fn as_str(self) -> &'static str {
        SPELLINGS.get(self as usize).copied().unwrap_or("")
    }

    /// Every name, `Other` last.
    pub fn all() -> impl Iterator<Item = Self> {
        ALL.into_iter()
    }
}

/// A name's place in `SLOTS`: no two known names share one, which `slots` proves at compile time.
#[inline]
const fn slot(first: u8, middle: u8, last: u8, length: usize) -> usize {
    let folded = [first | 0x20, middle | 0x20, last | 0x20, length as u8];
    (u32::from_le_bytes(folded).wrapping_mul(0x850d_b565) >> 24) as usize
}

static SLOTS: [Name; 256] = slots();

/// As many words as the longest known name needs.
const WORDS: usize = 3;

/// The spellings with their colons as words, filled up with zeros; `Other` has what no line has.
static SPELLED: [[u64; WORDS]; Name::COUNT] = spelled();

/// What of a word stands up to its first colon, and where that is.
#[inline]
fn up_to_colon(word: u64) -> Option<(u64, usize)> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // The lowest byte that is zero after the exclusive or.
    let others = word ^ (ONES * b':' as u64);
    let found = others.wrapping_sub(ONES) & !others & (ONES << 7);
    let colon = found & found.wrapping_neg();
    let up_to = (colon << 1).wrapping_sub(1);
    (found != 0).then(|| (word & up_to, colon.trailing_zeros() as usize / 8))
}

/// The name whose spelling is in these words, up to its colon.
#[inline]
fn known<const N: usize>(words: [u64; N]) -> Option<Name> {
    let name = *EXACT.get(exact(words))?;
    let spelled = SPELLED.get(name as usize)?.first_chunk::<N>()?;
    (*spelled == words).then_some(name)
}

/// A spelling's place in `EXACT`: no two known ones share one, which `exact_slots` proves at compile
/// time.
#[inline]
const fn exact<const N: usize>(words: [u64; N]) -> usize {
    let mut mixed = 0;
    let mut at = 0;
    #[expect(clippy::indexing_slicing, reason = "at is less than N")]
    while at < N {
        mixed ^= words[at].rotate_left(24 * at as u32);
        at += 1;
    }
    (mixed.wrapping_mul(0x565e_c609_9343_a065) >> 56) as usize
}

static EXACT: [Name; 256] = exact_slots();

#[expect(clippy::indexing_slicing, reason = "runs at compile time only")]
const fn spelled() -> [[u64; WORDS]; Name::COUNT] {
    let mut spelled = [[u64::MAX; WORDS]; Name::COUNT];
    let mut name = 0;
    while name + 1 < Name::COUNT {
        let text = SPELLINGS[name].as_bytes();
        let mut words = [0; WORDS];
        let mut at = 0;
        while at <= text.len() {
            let byte = if at < text.len() { text[at] } else { b':' };
            words[at / 8] |= (byte as u64) << (8 * (at % 8));
            at += 1;
        }
        spelled[name] = words;
        name += 1;
    }
    spelled
}

#[expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "runs at compile time only"
)]
const fn exact_slots() -> [Name; 256] {
    let mut slots = [Name::Other; 256];
    let mut at = 0;
    while at + 1 < Name::COUNT {
        let slot = exact(SPELLED[at]);
        if !matches!(slots[slot], Name::Other) {
            panic!("two spellings share a slot: choose another multiplier");
        }
        slots[slot] = ALL[at];
        at += 1;
    }
    slots
}

#[expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "runs at compile time only"
)]
const fn slots() -> [Name; 256] {
    let mut slots = [Name::Other; 256];
    let mut at = 0;
    while at + 1 < Name::COUNT {
        let text = SPELLINGS[at].as_bytes();
        let slot = slot(
            text[0],
            text[text.len() / 2],
            text[text.len() - 1],
            text.len(),
        );
        if !matches!(slots[slot], Name::Other) {
            panic!("two header names share a slot: choose another multiplier");
        }
        slots[slot] = ALL[at];
        at += 1;
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case() {
        for name in Name::all().filter(|&name| name != Name::Other) {
            let text = name.as_str();
            assert_eq!(Name::from_bytes(text.as_bytes()), name);
            assert_eq!(Name::from_bytes(text.to_ascii_lowercase().as_bytes()), name);
            assert_eq!(Name::from_bytes(text.to_ascii_uppercase().as_bytes()), name);
        }
    }

    #[test]
    fn the_usual_spelling_before_a_colon_is_found() {
        let filler = "x".repeat(16);
        for name in Name::all().filter(|&name| name != Name::Other) {
            let text = name.as_str();
            let found = |line: String| Name::before_colon(line.as_bytes());
            assert_eq!(found(format!("{text}:{filler}")), Some((name, text.len())));
            assert_eq!(found(format!("{text}x:{filler}")), None);
            assert_eq!(found(format!("{text} :{filler}")), None);
            assert_eq!(found(format!("{}:{filler}", text.to_lowercase())), None);
        }
        let altered = |text: &str, at: usize, byte: u8| {
            let mut line = format!("{text}:{filler}").into_bytes();
            line[at] = byte;
            Name::before_colon(&line)
        };
        for name in Name::all() {
            let text = name.as_str();
            for byte in [b'_', 0, 0xff] {
                let is_none = |at: usize| altered(text, at, byte).is_none();
                assert!((0..text.len()).all(is_none), "{text}");
            }
            let line = format!("{text}\0:{filler}");
            assert_eq!(Name::before_colon(line.as_bytes()), None);
        }
        assert_eq!(Name::before_colon(b":xxxxxxxxxxxxxxxxxxxxxxxx"), None);
        assert_eq!(Name::before_colon(&[0xff; 24]), None);
        let last_line = Name::before_colon(b"Content-Length: 0\r\n");
        assert_eq!(last_line, Some((Name::ContentLength, 14)));
        assert_eq!(Name::before_colon(b"Via: short"), None);
    }

    #[test]
    fn compact_forms_are_the_long_ones() {
        let long = [
            (b"v", Name::Via),
            (b"F", Name::From),
            (b"t", Name::To),
            (b"i", Name::CallId),
            (b"L", Name::ContentLength),
            (b"m", Name::Contact),
            (b"x", Name::SessionExpires),
            (b"k", Name::Supported),
        ];
        for (letter, name) in long {
            assert_eq!(Name::from_bytes(letter), name);
        }
    }

    #[test]
    fn near_misses_are_other() {
        for text in [
            "",
            "Vi",
            "Viaa",
            "Frim",
            "Contact ",
            "Content_Length",
            "q",
            "\u{16}",
            "Call\rID",
        ] {
            assert_eq!(Name::from_bytes(text.as_bytes()), Name::Other, "{text:?}");
        }
    }

    #[test]
    fn methods_are_case_sensitive() {
        assert_eq!(Method::from_bytes(b"INVITE"), Method::Invite);
        assert_eq!(Method::from_bytes(b"Invite"), Method::Other);
        assert_eq!(
            Method::from_bytes(Method::Publish.as_str().as_bytes()),
            Method::Publish
        );
    }
}
