//! What can be wrong with a message, by name: each fault knows its status, phrase and label.

use std::fmt;

macro_rules! faults {
    (
        $(#[$doc:meta])* $enum:ident;
        $(
            $(#[$line:meta])*
            $variant:ident $status:literal $phrase:literal $kind:literal;
        )*
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $enum {
            $($(#[$line])* $variant,)*
        }

        impl $enum {
            /// All of them, for metrics that must exist before the first fault.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The status code of the response that refuses the request.
            pub fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// The reason phrase that names the fault to a person.
            pub fn reason_phrase(self) -> &'static str {
                match self { $(Self::$variant => $phrase,)* }
            }

            /// The metric label: lower case, words joined by `_`.
            pub fn kind(self) -> &'static str {
                match self { $(Self::$variant => $kind,)* }
            }
        }

        impl fmt::Display for $enum {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.reason_phrase())
            }
        }

        impl std::error::Error for $enum {}
    };
}

faults! {
    /// A message that is framed but has a field a proxy needs and cannot read (RFC 3261 §16.3).
    Fault;
    /// The start line names a version other than `SIP/2.0`.
    UnsupportedVersion 505 "Version Not Supported" "unsupported_version";
    /// Extra or missing white space in the request line (RFC 3261 §7.1).
    MalformedRequestLine 400 "Malformed Request-Line" "malformed_request_line";
    /// White space, brackets, control bytes, header fields or a bad host in the Request-URI.
    MalformedRequestUri 400 "Malformed Request-URI" "malformed_request_uri";
    /// A Request-URI beyond the limit.
    UriTooLong 414 "Request-URI Too Long" "uri_too_long";
    /// A scheme other than sip, sips, tel or urn in the Request-URI (RFC 3261 §16.3(2)).
    UnsupportedUriScheme 416 "Unsupported URI Scheme" "unsupported_uri_scheme";
    /// The datagram ends within the header section.
    UnterminatedHeaders 400 "Header Section Not Terminated" "unterminated_headers";
    /// A header line without a colon or whose name is no token, a first header line that is a
    /// continuation, or a CR that ends no line.
    MalformedHeader 400 "Malformed Header Line" "malformed_header";
    /// A request too large to be relayed.
    MessageTooLarge 513 "Message Too Large" "message_too_large";
    /// More header lines than the limit.
    TooManyHeaders 400 "Too Many Header Lines" "too_many_headers";
    /// A header line beyond the limit.
    HeaderTooLong 400 "Header Line Too Long" "header_too_long";
    /// More Vias than hops are allowed (RFC 3261 §16.3(3) by other means).
    TooManyVias 483 "Too Many Hops" "too_many_vias";
    /// More Route values than the limit.
    TooManyRoutes 400 "Too Many Routes" "too_many_routes";
    /// More Contact values than the limit.
    TooManyContacts 400 "Too Many Contacts" "too_many_contacts";
    /// More Authorization or Proxy-Authorization lines than the limit.
    TooManyCredentials 400 "Too Many Credentials" "too_many_credentials";
    /// No Via at all.
    MissingVia 400 "Missing Via" "missing_via";
    /// No From.
    MissingFrom 400 "Missing From" "missing_from";
    /// No To.
    MissingTo 400 "Missing To" "missing_to";
    /// No Call-ID.
    MissingCallId 400 "Missing Call-ID" "missing_call_id";
    /// No CSeq.
    MissingCSeq 400 "Missing CSeq" "missing_cseq";
    /// More than one From.
    DuplicateFrom 400 "Duplicate From" "duplicate_from";
    /// More than one To.
    DuplicateTo 400 "Duplicate To" "duplicate_to";
    /// More than one Call-ID.
    DuplicateCallId 400 "Duplicate Call-ID" "duplicate_call_id";
    /// More than one CSeq.
    DuplicateCSeq 400 "Duplicate CSeq" "duplicate_cseq";
    /// More than one Max-Forwards.
    DuplicateMaxForwards 400 "Duplicate Max-Forwards" "duplicate_max_forwards";
    /// Two of another header that has one value and is read here: the next hop might read the
    /// other one.
    DuplicateHeader 400 "Duplicate Header" "duplicate_header";
    /// Two Content-Length headers that disagree.
    ConflictingContentLength 400 "Conflicting Content-Length" "conflicting_content_length";
    /// An element among the Vias that is not a Via, or a branch without an identifier at the top.
    MalformedVia 400 "Malformed Via" "malformed_via";
    /// A Via branch beyond the limit.
    BranchTooLong 400 "Branch Too Long" "branch_too_long";
    /// A From that is no address, has an open quote or bracket, blanks in its URI, an empty tag, or
    /// a display name that must be quoted.
    MalformedFrom 400 "Malformed From" "malformed_from";
    /// A To that is no address; as for From.
    MalformedTo 400 "Malformed To" "malformed_to";
    /// A From with two tags.
    TwoFromTags 400 "Two Tags In From" "two_from_tags";
    /// A To with two tags.
    TwoToTags 400 "Two Tags In To" "two_to_tags";
    /// A tag beyond the limit.
    TagTooLong 400 "Tag Too Long" "tag_too_long";
    /// An empty Call-ID, or one with blanks or control bytes in it.
    MalformedCallId 400 "Malformed Call-ID" "malformed_call_id";
    /// A Call-ID beyond the limit.
    CallIdTooLong 400 "Call-ID Too Long" "call_id_too_long";
    /// A CSeq that is not a number and a method.
    MalformedCSeq 400 "Malformed CSeq" "malformed_cseq";
    /// A CSeq number of 2^31 or more (RFC 3261 §8.1.1.5).
    CSeqOutOfRange 400 "CSeq Number Out Of Range" "cseq_out_of_range";
    /// A CSeq method that is not the request's.
    CSeqMethodMismatch 400 "CSeq Method Mismatch" "cseq_method_mismatch";
    /// A CSeq method that is not the request's, where the request's is unknown here: it may be one
    /// that a later standard defines.
    UnknownMethodMismatch 501 "Not Implemented" "unknown_method_mismatch";
    /// A Max-Forwards that is not a number from 0 to 255.
    MalformedMaxForwards 400 "Malformed Max-Forwards" "malformed_max_forwards";
    /// A Content-Length that is not a number.
    MalformedContentLength 400 "Malformed Content-Length" "malformed_content_length";
    /// A Content-Length beyond the end of the datagram (RFC 3261 §18.3).
    ContentLengthTooLong 400 "Content-Length Exceeds Message" "content_length_too_long";
    /// A Contact that is not an address, found where it is needed.
    MalformedContact 400 "Malformed Contact" "malformed_contact";
    /// A Contact of `*` that is not the only one.
    StarWithOthers 400 "Contact Star With Others" "star_with_others";
    /// A Route that is not an address, found where it is needed.
    MalformedRoute 400 "Malformed Route" "malformed_route";
    /// An address outside From and To that cannot be read.
    MalformedAddress 400 "Malformed Address" "malformed_address";
    /// A URI outside the request line that cannot be read.
    MalformedUri 400 "Malformed URI" "malformed_uri";
}

faults! {
    /// Bytes that cannot be framed as a SIP message at all: counted, never answered.
    Malformed;
    /// Nothing but line ends, NULs or nothing at all: a keep-alive (RFC 5626 §3.5.1).
    KeepAlive 400 "Keep-Alive" "keep_alive";
    /// More bytes than any UDP datagram has.
    TooLarge 513 "Message Too Large" "too_large";
    /// The first line is neither a request line nor a status line.
    NotSip 400 "Not A SIP Message" "not_sip";
    /// A status line whose code is not three digits from 100 to 699.
    StatusCode 400 "Malformed Status-Line" "status_code";
}

faults! {
    /// Why a byte stream cannot be cut into messages any further: its connection is closed.
    Unframed;
    /// A message, or its header section alone, of more bytes than the limit.
    TooLong 513 "Message Too Large" "too_long";
    /// No Content-Length, without which nothing says where a message ends (RFC 3261 §18.3).
    NoContentLength 400 "Missing Content-Length" "no_content_length";
    /// A Content-Length that is not a number.
    BadContentLength 400 "Malformed Content-Length" "bad_content_length";
    /// Two Content-Length headers that disagree.
    ConflictingContentLength 400 "Conflicting Content-Length" "conflicting_content_length";
    /// The first line is neither a request line nor a status line.
    NotSip 400 "Not A SIP Message" "not_sip";
}
