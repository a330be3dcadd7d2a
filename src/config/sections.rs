//! The sections of the file, with what they are about.

/// Sections in the order of the reference, with what they are about.
pub(super) const SECTIONS: &[(&str, &str)] = &[
    ("sip", "What is spoken, where, and what becomes of calls."),
    (
        "health",
        "What is done about systems that do not answer: see [next hops](next-hops.md).",
    ),
    ("dns", "How host names are resolved (RFC 3263)."),
    ("presence", "How people can be reached."),
    (
        "forwarding",
        "Whereto subscribers may forward calls. What is not allowed is refused when it is saved; where a \
         rule comes later, the forwarding counts as not set. Of the patterns that match, the longest \
         decides; colleagues can always be forwarded to.",
    ),
    (
        "feature_codes",
        "What subscribers can dial to change their status and forwardings: an INVITE to a code from somebody \
         who is proven to be a subscriber is answered by ourselves. See `feature-codes.md`.",
    ),
    (
        "registrar",
        "Who keeps the bindings of phones: we, so that calls go to the phones themselves, or the PBX. \
         A change applies to registrations from then on.",
    ),
    (
        "events",
        "What phones may subscribe to: the lamps beside colleagues' names, and their presence. See \
         `lamps.md`. A change applies at once, also to subscriptions that there are.",
    ),
    (
        "tls",
        "Certificates and what is asked of those of others, for the transports `tls` and `wss`. Files \
         are PEM. They are read again on a reload and as soon as they change; while a new one cannot \
         be used, the old one stays in force and the log says why. Open connections go on.",
    ),
    (
        "auth",
        "Who must prove who they are (Digest), and what becomes of those who cannot. See \
         `authentication.md`.",
    ),
    (
        "timers",
        "The timers of RFC 3261; change them only for a network that needs it. Branches and \
         transactions that run keep theirs.",
    ),
    (
        "limits",
        "Bounds of the whole server, divided evenly among its shards. A new call that would exceed \
         one is answered 503 before anything is kept of it.",
    ),
    (
        "overload",
        "What becomes of requests when more come than can be handled; see `overload.md`.",
    ),
    (
        "store",
        "Where subscribers, settings, open calls and the journal are kept.",
    ),
    ("api", "The HTTP interface for administration and metrics."),
    (
        "oidc",
        "Signing in at the page at a provider of OpenID Connect; see [the web page](web.md).",
    ),
    ("log", "Log lines go to standard error."),
    ("shutdown", "What SIGTERM does."),
];
