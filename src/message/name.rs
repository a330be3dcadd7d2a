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
        let window = line.first_chunk::<WINDOW>()?;
        let words = words(window);
        let colon = colon(words)?;
        let (first, middle) = (window.first()?, window.get(colon / 2)?);
        let last = window.get(colon.checked_sub(1)?)?;
        let name = *SLOTS.get(slot(*first, *middle, *last, colon))?;
        let spelling = WORDS.get(name as usize)?;
        let mask = MASKS.get(colon)?;
        let differs = |at: usize| Some((words.get(at)? & mask.get(at)?) ^ spelling.get(at)?);
        let same = differs(0)? | differs(1)? | differs(2)? == 0;
        same.then_some((name, colon))
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

/// As many bytes as the longest known name has, in whole words.
const WINDOW: usize = 24;

type Words = [u64; WINDOW / 8];

/// The spellings as words, filled up with zeros.
static WORDS: [Words; Name::COUNT] = spellings();

/// For each length, ones over so many bytes.
static MASKS: [Words; WINDOW] = masks();

#[inline]
const fn words(window: &[u8; WINDOW]) -> Words {
    let (words, _) = window.as_chunks::<8>();
    match words {
        [a, b, c] => [
            u64::from_le_bytes(*a),
            u64::from_le_bytes(*b),
            u64::from_le_bytes(*c),
        ],
        _ => [0; 3],
    }
}

/// The offset of the first colon: in each word the lowest byte that is zero after the exclusive or.
#[inline]
fn colon(words: Words) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    for (at, word) in words.into_iter().enumerate() {
        let zeroed = word ^ (ONES * b':' as u64);
        let found = zeroed.wrapping_sub(ONES) & !zeroed & (ONES << 7);
        if found != 0 {
            return Some(at * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    None
}

#[expect(clippy::indexing_slicing, reason = "runs at compile time only")]
const fn spellings() -> [Words; Name::COUNT] {
    let mut spellings = [[0; WINDOW / 8]; Name::COUNT];
    let mut name = 0;
    while name < Name::COUNT {
        let text = SPELLINGS[name].as_bytes();
        let mut window = [0; WINDOW];
        let mut at = 0;
        while at < text.len() {
            window[at] = text[at];
            at += 1;
        }
        spellings[name] = words(&window);
        name += 1;
    }
    spellings
}

#[expect(clippy::indexing_slicing, reason = "runs at compile time only")]
const fn masks() -> [Words; WINDOW] {
    let mut masks = [[0; WINDOW / 8]; WINDOW];
    let mut length = 0;
    while length < WINDOW {
        let mut window = [0; WINDOW];
        let mut at = 0;
        while at < length {
            window[at] = 0xff;
            at += 1;
        }
        masks[length] = words(&window);
        length += 1;
    }
    masks
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
        let filler = "x".repeat(WINDOW);
        for name in Name::all().filter(|&name| name != Name::Other) {
            let text = name.as_str();
            let found = |line: String| Name::before_colon(line.as_bytes());
            assert_eq!(found(format!("{text}:{filler}")), Some((name, text.len())));
            assert_eq!(found(format!("{text}x:{filler}")), None);
            assert_eq!(found(format!("{text} :{filler}")), None);
            assert_eq!(found(format!("{}:{filler}", text.to_lowercase())), None);
        }
        let altered = |text: &str, at: usize| {
            let mut line = format!("{text}:{filler}").into_bytes();
            line[at] = b'_';
            Name::before_colon(&line)
        };
        for name in Name::all() {
            let text = name.as_str();
            assert!(
                (0..text.len()).all(|at| altered(text, at).is_none()),
                "{text}"
            );
        }
        assert_eq!(Name::before_colon(b":xxxxxxxxxxxxxxxxxxxxxxxx"), None);
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
