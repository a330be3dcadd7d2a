//! The calls of the demo, and what each must come to.

/// Who calls, and from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// A colleague: the name and the extension.
    Colleague(&'static str, &'static str),
    /// Somebody outside who shows a number, over the trunk.
    Outside(&'static str),
    /// The same over the trunk whose calls pointsman forwards itself.
    Retargeted(&'static str),
    /// Somebody outside who withholds it.
    Anonymous,
    /// Somebody who is no peer of ours.
    Stranger,
}

/// What is special about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Course {
    /// It is placed, answered or not, and ended by the caller.
    Plain,
    /// The caller gives up while it rings.
    CallerGivesUp,
    /// The callee hangs up.
    CalleeHangsUp,
    /// Another call to the same callee is open meanwhile.
    WhileInCall,
    /// It is placed when the callee's break, which ends by itself, is over.
    AfterTheBreak,
    /// It has been diverted so often before.
    Diverted(u8),
}

/// One call and what is expected of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scenario {
    /// Its name for programs.
    pub key: &'static str,
    pub caller: Caller,
    /// What is dialled: a user part in our domain, or a whole URI.
    pub dialled: &'static str,
    /// Whose status is shown; nobody for numbers that are nobody's.
    pub callee: Option<&'static str>,
    pub course: Course,
    pub expected: Expected,
}

/// What a call must come to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    /// The engine's outcome, or the name of the rejection of a request that is not decided.
    pub outcome: &'static str,
    /// The labels of the reasons.
    pub reasons: &'static [&'static str],
    /// What the caller's phone hears, 100 left out.
    pub heard: &'static [u16],
    /// How the Contact of a 302 begins.
    pub contact: Option<&'static str>,
    /// What the phone hears when it follows the 302.
    pub then: &'static [u16],
    /// Who answers in the end.
    pub answered_by: Option<&'static str>,
    /// Who is shown as in a call meanwhile; the others named in the scenario are not.
    pub in_call: &'static [&'static str],
    /// A part of the Reason header of a refusal.
    pub reason_header: Option<&'static str>,
}

const NOTHING: Expected = Expected {
    outcome: "",
    reasons: &[],
    heard: &[],
    contact: None,
    then: &[],
    answered_by: None,
    in_call: &[],
    reason_header: None,
};

/// A call that rings and is answered by that person, who is in a call then.
const fn connected(
    reasons: &'static [&'static str],
    name: &'static str,
    in_call: &'static [&'static str],
) -> Expected {
    Expected {
        outcome: "connect",
        reasons,
        heard: &[180, 200],
        answered_by: Some(name),
        in_call,
        ..NOTHING
    }
}

const fn refused(reasons: &'static [&'static str], heard: &'static [u16]) -> Expected {
    Expected {
        outcome: "reject",
        reasons,
        heard,
        ..NOTHING
    }
}

/// A 302 that the phone follows.
const fn redirected(
    reasons: &'static [&'static str],
    heard: &'static [u16],
    (contact, name): (&'static str, &'static str),
) -> Expected {
    Expected {
        outcome: "redirect",
        reasons,
        heard,
        contact: Some(contact),
        then: &[180, 200],
        answered_by: Some(name),
        ..NOTHING
    }
}

/// A 302 to a voicemail box, which the phone follows.
const fn to_voicemail(
    reasons: &'static [&'static str],
    heard: &'static [u16],
    (contact, name): (&'static str, &'static str),
) -> Expected {
    Expected {
        outcome: "redirect_voicemail",
        then: &[200],
        ..redirected(reasons, heard, (contact, name))
    }
}

const fn plain(
    key: &'static str,
    caller: Caller,
    (dialled, callee): (&'static str, &'static str),
    expected: Expected,
) -> Scenario {
    Scenario {
        key,
        caller,
        dialled,
        callee: Some(callee),
        course: Course::Plain,
        expected,
    }
}

const fn with(course: Course, scenario: Scenario) -> Scenario {
    Scenario { course, ..scenario }
}

const PAULA: Caller = Caller::Colleague("Paula Pauls", "150");
const RALF: Caller = Caller::Colleague("Ralf Rabe", "151");
const CUSTOMER: Caller = Caller::Outside("+498955501001");
const RETARGETED: Caller = Caller::Retargeted("+498955502002");
const MISSED: &[&str] = &["away", "immediate_missed"];

/// Every call of the demo. They are placed at the same time.
pub(super) const SCENARIOS: &[Scenario] = &[
    plain(
        "available",
        PAULA,
        ("101", "anna"),
        connected(&["available"], "Anna Arndt", &["anna", "paula"]),
    ),
    with(
        Course::CalleeHangsUp,
        plain(
            "callee_hangs_up",
            CUSTOMER,
            ("123", "wanda"),
            connected(&["available"], "Wanda Weiß", &["wanda"]),
        ),
    ),
    plain(
        "away_redirect",
        RALF,
        ("102", "bob"),
        redirected(
            &["away", "immediate_forward"],
            &[302],
            ("sip:+491701234567@", "+491701234567"),
        ),
    ),
    plain(
        "away_retarget",
        RETARGETED,
        ("102", "bob"),
        Expected {
            outcome: "forward",
            heard: &[181, 180, 200],
            answered_by: Some("+491701234567"),
            ..refused(&["away", "immediate_forward"], &[])
        },
    ),
    plain(
        "break_voicemail",
        CUSTOMER,
        ("103", "carla"),
        to_voicemail(
            &["break", "immediate_voicemail"],
            &[302],
            ("sip:vm-carla@", "voicemail of carla"),
        ),
    ),
    plain(
        "break_voicemail_retarget",
        RETARGETED,
        ("103", "carla"),
        Expected {
            outcome: "forward_voicemail",
            heard: &[181, 200],
            answered_by: Some("voicemail of carla"),
            ..refused(&["break", "immediate_voicemail"], &[])
        },
    ),
    plain(
        "dnd",
        CUSTOMER,
        ("104", "dieter"),
        Expected {
            reason_header: Some("cause=480;text=\"Do Not Disturb\""),
            ..refused(&["dnd"], &[480])
        },
    ),
    plain(
        "dnd_forward",
        RETARGETED,
        ("110", "john"),
        Expected {
            outcome: "forward",
            heard: &[181, 180, 200],
            ..connected(
                &["dnd", "immediate_forward", "available"],
                "Karin Krüger",
                &["karin"],
            )
        },
    ),
    with(
        Course::WhileInCall,
        plain(
            "in_call_reject",
            CUSTOMER,
            ("105", "eva"),
            Expected {
                in_call: &["eva"],
                ..refused(&["available", "in_call", "immediate_reject"], &[486])
            },
        ),
    ),
    with(
        Course::WhileInCall,
        plain(
            "call_waiting",
            CUSTOMER,
            ("114", "nina"),
            connected(&["available", "in_call"], "Nina Neumann", &["nina"]),
        ),
    ),
    plain(
        "no_answer_voicemail",
        CUSTOMER,
        ("106", "frank"),
        to_voicemail(
            &["available", "failed_no_answer", "no_answer_voicemail"],
            &[180, 302],
            ("sip:vm-frank@", "voicemail of frank"),
        ),
    ),
    plain(
        "forwarding_loop",
        CUSTOMER,
        ("107", "greta"),
        to_voicemail(
            &[
                "away",
                "immediate_forward",
                "away",
                "immediate_forward",
                "loop",
                "first_called",
                "no_answer_voicemail",
            ],
            &[302],
            ("sip:vm-greta@", "voicemail of greta"),
        ),
    ),
    plain(
        "chain_first_called",
        CUSTOMER,
        ("121", "uma"),
        to_voicemail(
            &["away", "immediate_forward", "dnd", "immediate_voicemail"],
            &[302],
            ("sip:vm-uma@", "voicemail of uma"),
        ),
    ),
    plain(
        "class_internal",
        RALF,
        ("109", "ines"),
        connected(&["away", "immediate_connect"], "Ines Ivers", &["ines"]),
    ),
    plain(
        "class_external",
        CUSTOMER,
        ("109", "ines"),
        refused(MISSED, &[480]),
    ),
    plain(
        "class_anonymous",
        Caller::Anonymous,
        ("109", "ines"),
        refused(&["away", "immediate_reject"], &[433]),
    ),
    plain(
        "declined",
        CUSTOMER,
        ("112", "liam"),
        to_voicemail(
            &["available", "failed_declined", "declined_voicemail"],
            &[180, 302],
            ("sip:vm-liam@", "voicemail of liam"),
        ),
    ),
    plain(
        "unreachable",
        CUSTOMER,
        ("113", "mia"),
        redirected(
            &["available", "failed_unreachable", "unreachable_forward"],
            &[302],
            ("sip:+491709876543@", "+491709876543"),
        ),
    ),
    plain(
        "phone_busy",
        CUSTOMER,
        ("119", "sven"),
        Expected {
            outcome: "connect",
            ..refused(&["available"], &[486])
        },
    ),
    with(
        Course::CallerGivesUp,
        plain(
            "caller_gives_up",
            CUSTOMER,
            ("115", "oskar"),
            Expected {
                outcome: "connect",
                ..refused(&["available"], &[180, 487])
            },
        ),
    ),
    plain(
        "call_through",
        Caller::Colleague("Rosa Reiter", "118"),
        ("117", "quentin"),
        connected(
            &["away", "call_through"],
            "Quentin Quinn",
            &["quentin", "rosa"],
        ),
    ),
    with(
        Course::AfterTheBreak,
        plain(
            "status_ends",
            CUSTOMER,
            ("120", "tom"),
            connected(&["available"], "Tom Turner", &["tom"]),
        ),
    ),
    with(
        Course::Diverted(5),
        plain(
            "hop_limit",
            CUSTOMER,
            ("102", "bob"),
            refused(&["away", "immediate_forward", "hop_limit"], &[483]),
        ),
    ),
    plain(
        "number_e164",
        CUSTOMER,
        ("+49301234116", "petra"),
        refused(MISSED, &[480]),
    ),
    plain(
        "number_00",
        CUSTOMER,
        ("0049301234116", "petra"),
        refused(MISSED, &[480]),
    ),
    plain(
        "number_national",
        CUSTOMER,
        ("0301234116", "petra"),
        refused(MISSED, &[480]),
    ),
    plain(
        "number_tel_uri",
        CUSTOMER,
        ("tel:+49-30-1234-116", "petra"),
        refused(MISSED, &[480]),
    ),
    Scenario {
        callee: None,
        ..plain(
            "unknown_number",
            CUSTOMER,
            ("199", ""),
            Expected {
                outcome: "pass_on",
                ..refused(&["unknown_callee"], &[404])
            },
        )
    },
    Scenario {
        callee: None,
        ..plain(
            "stranger_relay",
            Caller::Stranger,
            ("sip:+4990012345@elsewhere.net", ""),
            Expected {
                outcome: "relay_denied",
                ..refused(&[], &[403])
            },
        )
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_has_a_name_of_its_own_and_expects_something() {
        for (at, scenario) in SCENARIOS.iter().enumerate() {
            let earlier = SCENARIOS.get(..at).unwrap();
            assert!(earlier.iter().all(|other| other.key != scenario.key));
            assert!(!scenario.expected.heard.is_empty(), "{}", scenario.key);
        }
    }
}
