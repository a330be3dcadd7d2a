//! Feature codes: what somebody dials to change their status or their forwardings.
//!
//! The dialects of telephone systems stand in one table. A code is a text with at most one
//! `{number}`; of the codes that fit what was dialled the one with most of its own text counts.

use super::own::StatusName;
use super::settings::Moment;

/// How many characters a code has at most.
const CODE_LIMIT_BYTES: usize = 32;
/// Where the number stands in a code.
const NUMBER: &str = "{number}";

/// What a code does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CodeAction {
    /// Chooses a status; plain `available` clears the choice.
    Status(StatusName),
    /// Forwards to the dialled number, in every status that sets nothing else.
    Forward(Moment),
    /// Takes that forwarding back.
    Clear(Moment),
    /// Takes back every forwarding that codes can set.
    ClearAll,
}

/// One code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FeatureCode {
    before: Box<str>,
    /// What follows the number; `None` where the code has none.
    after: Option<Box<str>>,
    /// What it does.
    pub action: CodeAction,
}

/// The table in force.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FeatureCodes(pub Vec<FeatureCode>);

/// What was dialled means this.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DialledCode {
    /// What is to be done.
    pub action: CodeAction,
    /// The number that was dialled with it; empty where it is missing.
    pub number: String,
}

impl DialledCode {
    /// Whether the code goes with a number.
    pub fn takes_number(&self) -> bool {
        matches!(self.action, CodeAction::Forward(_))
    }
}

impl FeatureCode {
    /// Reads a code, `*72{number}`: it begins with `*` or `#` and has digits, `*` and `#`.
    pub fn new(text: &str, action: CodeAction) -> Option<Self> {
        let (before, after) = match text.split_once(NUMBER) {
            Some((before, after)) => (before, Some(after)),
            None => (text, None),
        };
        let is_plain = |part: &str| {
            part.bytes()
                .all(|b| b.is_ascii_digit() || b"*#".contains(&b))
        };
        let takes_number = matches!(action, CodeAction::Forward(_));
        let is_code = text.len() <= CODE_LIMIT_BYTES
            && before.starts_with(['*', '#'])
            && before.len() > 1
            && is_plain(before)
            && is_plain(after.unwrap_or_default())
            && takes_number == after.is_some();
        is_code.then(|| Self {
            before: before.into(),
            after: after.map(Into::into),
            action,
        })
    }

    /// The code as it is written.
    pub fn text(&self) -> String {
        match &self.after {
            Some(after) => format!("{}{NUMBER}{after}", self.before),
            None => self.before.to_string(),
        }
    }

    /// The number within what was dialled, where the code fits.
    fn number<'d>(&self, dialled: &'d str) -> Option<&'d str> {
        let Some(after) = &self.after else {
            return (*self.before == *dialled).then_some("");
        };
        let rest = dialled.strip_prefix(&*self.before)?;
        let number = rest.strip_suffix(&**after)?;
        let digits = number.strip_prefix('+').unwrap_or(number);
        (number.is_empty() || !digits.is_empty())
            .then_some(number)
            .filter(|_| digits.bytes().all(|b| b.is_ascii_digit()))
    }

    /// How much of what was dialled is the code's own.
    fn own_length(&self) -> usize {
        let after = self.after.as_ref().map_or(0, |after| after.len());
        self.before.len().saturating_add(after)
    }
}

impl FeatureCodes {
    /// What a user part means, `%` escapes undone; `None` where it is no code of the table.
    pub fn read(&self, dialled: &[u8]) -> Option<DialledCode> {
        let is_code = matches!(dialled.first(), Some(b'*' | b'#'));
        let dialled = std::str::from_utf8(dialled).ok().filter(|_| is_code)?;
        let fitting = self
            .0
            .iter()
            .filter_map(|code| Some((code, code.number(dialled)?)));
        let (code, number) = fitting.max_by_key(|(code, _)| code.own_length())?;
        Some(DialledCode {
            action: code.action.clone(),
            number: number.to_owned(),
        })
    }

    /// The codes that most telephone systems share: `*78`/`*79`, `*72`/`*73`, `*90`, `*52`, `*30` to
    /// `*33`, and those of GSM (3GPP TS 22.030): `*21*…#`, `*61*…#`, `*62*…#`, `*67*…#`, `##002#`.
    pub fn usual() -> Vec<FeatureCode> {
        let status = |code: &str, name: &str| {
            let name = StatusName::read(name);
            (code.to_owned(), name.map(CodeAction::Status))
        };
        let statuses = [
            ("*78", "dnd"),
            ("*79", "available"),
            ("*30", "available"),
            ("*31", "away"),
            ("*32", "dnd"),
            ("*33", "break"),
        ];
        let mut codes: Vec<_> = statuses
            .into_iter()
            .map(|(code, name)| status(code, name))
            .collect();
        for (set, clear, moment) in [
            ("*72", "*73", Moment::Immediate),
            ("*90", "*91", Moment::Busy),
            ("*52", "*53", Moment::NoAnswer),
        ] {
            codes.push((format!("{set}{NUMBER}"), Some(CodeAction::Forward(moment))));
            codes.push((clear.to_owned(), Some(CodeAction::Clear(moment))));
        }
        for (service, moment) in [
            ("21", Moment::Immediate),
            ("61", Moment::NoAnswer),
            ("62", Moment::Unreachable),
            ("67", Moment::Busy),
        ] {
            for set in ["*", "**"] {
                let code = format!("{set}{service}*{NUMBER}#");
                codes.push((code, Some(CodeAction::Forward(moment))));
            }
            for clear in ["#", "##"] {
                let code = format!("{clear}{service}#");
                codes.push((code, Some(CodeAction::Clear(moment))));
            }
        }
        for clear in ["#002#", "##002#"] {
            codes.push((clear.to_owned(), Some(CodeAction::ClearAll)));
        }
        let codes = codes.into_iter();
        codes
            .filter_map(|(code, action)| FeatureCode::new(&code, action?))
            .collect()
    }
}

impl CodeAction {
    /// The name in logs and journals, `forward_busy`.
    pub fn label(&self) -> String {
        match self {
            Self::Status(name) => format!("status_{}", name.name()),
            Self::Forward(moment) => format!("forward_{}", moment.name()),
            Self::Clear(moment) => format!("clear_{}", moment.name()),
            Self::ClearAll => "clear_all".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(dialled: &str) -> Option<(String, String)> {
        let table = FeatureCodes(FeatureCodes::usual());
        let code = table.read(dialled.as_bytes())?;
        Some((code.action.label(), code.number))
    }

    #[test]
    fn the_usual_codes_mean_what_people_expect() {
        for (dialled, action, number) in [
            ("*78", "status_dnd", ""),
            ("*79", "status_available", ""),
            ("*33", "status_break", ""),
            ("*72+491701234567", "forward_immediate", "+491701234567"),
            ("*72101", "forward_immediate", "101"),
            ("*73", "clear_immediate", ""),
            ("*21*0301234#", "forward_immediate", "0301234"),
            ("**61*0301234#", "forward_no_answer", "0301234"),
            ("#21#", "clear_immediate", ""),
            ("##67#", "clear_busy", ""),
            ("##002#", "clear_all", ""),
            ("*72", "forward_immediate", ""),
            ("*21*#", "forward_immediate", ""),
        ] {
            let expected = (action.to_owned(), number.to_owned());
            assert_eq!(read(dialled), Some(expected), "{dialled}");
        }
    }

    #[test]
    fn what_is_in_no_row_is_no_code() {
        for dialled in [
            "*98", "78", "*780", "*21*12", "*72ab", "*72+", "#22#", "", "anna", "*",
        ] {
            assert_eq!(read(dialled), None, "{dialled}");
        }
    }

    #[test]
    fn a_code_has_a_number_where_its_action_takes_one() {
        let forward = CodeAction::Forward(Moment::Busy);
        for bad in [
            "72{number}",
            "*72",
            "*{number}",
            "*7a{number}",
            "*72{number}{number}",
        ] {
            assert_eq!(FeatureCode::new(bad, forward.clone()), None, "{bad}");
        }
        assert_eq!(FeatureCode::new("*73{number}", CodeAction::ClearAll), None);
        let code = FeatureCode::new("*7*{number}#", forward).unwrap();
        assert_eq!(code.text(), "*7*{number}#");
        for code in FeatureCodes::usual() {
            assert_eq!(
                FeatureCode::new(&code.text(), code.action.clone()),
                Some(code)
            );
        }
    }
}
