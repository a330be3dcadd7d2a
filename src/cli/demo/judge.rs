//! Compares what came of a call with what must.

use super::play::Got;
use super::scenarios::{Course, Scenario};
use crate::presence::Status;

/// One thing that came out otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Deviation {
    pub what: &'static str,
    pub expected: String,
    pub got: String,
}

/// Everything that came out otherwise; nothing where all is well.
pub(super) fn judge(scenario: &Scenario, got: &Got) -> Vec<Deviation> {
    let expected = &scenario.expected;
    let outcome = got.trace.as_ref().map(|trace| trace.outcome.label());
    let trace = got.trace.as_ref();
    let reasons: Vec<_> = trace.iter().flat_map(|trace| &trace.reasons).collect();
    let reasons: Vec<_> = reasons.iter().map(|reason| reason.label()).collect();
    let mut found = Findings::default();
    found.compare(
        "outcome",
        expected.outcome,
        outcome.or(got.rejection).unwrap_or("none"),
    );
    found.compare("reasons", &expected.reasons.join(", "), &reasons.join(", "));
    found.compare("heard", &statuses(expected.heard), &statuses(&got.heard));
    found.compare("then", &statuses(expected.then), &statuses(&got.then));
    let answered_by = got.answered_by.as_deref().unwrap_or("nobody");
    found.compare(
        "answered_by",
        expected.answered_by.unwrap_or("nobody"),
        answered_by,
    );
    let contact = got.contact.as_deref().unwrap_or("none");
    found.begins("contact", expected.contact.unwrap_or("none"), contact);
    if let Some(part) = expected.reason_header {
        let header = got.reason_header.as_deref().unwrap_or("none");
        if !header.contains(part) {
            found.add("reason_header", part, header);
        }
    }
    if scenario.course == Course::AfterTheBreak && got.status_before != Some(Status::Break) {
        found.add(
            "status_before",
            "break",
            got.status_before.map_or("", Status::name),
        );
    }
    found.compare(
        "in_call",
        &expected.in_call.join(", "),
        &got.in_call.join(", "),
    );
    found.compare("in_call_afterwards", "", &got.still_in_call.join(", "));
    if !got.has_ended {
        let who = match scenario.course {
            Course::CalleeHangsUp => "by the callee's BYE",
            _ => "by a BYE",
        };
        found.add("end", who, "not at all");
    }
    found.0
}

#[derive(Default)]
struct Findings(Vec<Deviation>);

impl Findings {
    fn compare(&mut self, what: &'static str, expected: &str, got: &str) {
        if expected != got {
            self.add(what, expected, got);
        }
    }

    fn begins(&mut self, what: &'static str, expected: &str, got: &str) {
        if !got.starts_with(expected) {
            self.add(what, expected, got);
        }
    }

    fn add(&mut self, what: &'static str, expected: &str, got: &str) {
        let shown = |text: &str| match text {
            "" => "nothing".to_owned(),
            text => text.to_owned(),
        };
        self.0.push(Deviation {
            what,
            expected: shown(expected),
            got: shown(got),
        });
    }
}

/// Status codes in a row.
pub(super) fn statuses(statuses: &[u16]) -> String {
    let texts: Vec<_> = statuses.iter().map(u16::to_string).collect();
    texts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::scenarios::SCENARIOS;
    use super::*;

    fn stranger() -> &'static Scenario {
        SCENARIOS
            .iter()
            .find(|s| s.key == "stranger_relay")
            .unwrap()
    }

    fn as_expected() -> Got {
        Got {
            rejection: Some("relay_denied"),
            heard: vec![403],
            has_ended: true,
            ..Got::default()
        }
    }

    #[test]
    fn what_comes_out_as_expected_has_no_deviation() {
        assert_eq!(judge(stranger(), &as_expected()), []);
    }

    #[test]
    fn each_deviation_is_told() {
        let got = Got {
            heard: vec![100, 200],
            answered_by: Some("Mallory".to_owned()),
            contact: Some("sip:x@y".to_owned()),
            then: vec![200],
            still_in_call: vec!["anna".to_owned()],
            has_ended: false,
            ..Got::default()
        };
        let found: Vec<_> = judge(stranger(), &got).iter().map(|d| d.what).collect();
        assert_eq!(
            found,
            [
                "outcome",
                "heard",
                "then",
                "answered_by",
                "contact",
                "in_call_afterwards",
                "end"
            ]
        );
        for scenario in SCENARIOS {
            assert!(
                !judge(scenario, &Got::default()).is_empty(),
                "{}",
                scenario.key
            );
        }
    }
}
