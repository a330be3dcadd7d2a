//! Subscribers with random statuses and settings, chains and loops among them included.

use pointsman::presence::Subscriber;

use crate::random::Chance;

pub const EXTERNAL: &str = "203.0.113.10:5060";
pub const CLOSED: &str = "203.0.113.66:5060";
/// A name that is resolved a while after it was asked for.
pub const SLOW_NAME: &str = "slow.provider.test";

/// The subscribers of a run, by number.
pub struct People {
    pub documents: Vec<Subscriber>,
}

impl People {
    pub fn new(count: usize, chance: &mut Chance) -> Self {
        let documents = (0..count)
            .map(|number| document(number, count, chance))
            .collect();
        Self { documents }
    }

    /// A subscriber sets something else.
    pub fn change(&mut self, number: usize, chance: &mut Chance) {
        self.documents[number] = document(number, self.documents.len(), chance);
    }

    /// Whom a dialled user part names.
    pub fn find(&self, user: &str) -> Option<usize> {
        let digits = user
            .strip_prefix("+49301234")
            .or_else(|| user.strip_prefix("0049301234"))
            .or_else(|| user.strip_prefix("0301234"))
            .or_else(|| user.strip_prefix('s').filter(|rest| rest.len() == 3))
            .unwrap_or(user);
        let number: usize = digits.parse().ok()?;
        let number = number.checked_sub(100)?;
        (digits.len() == 3 && number < self.documents.len()).then_some(number)
    }
}

pub fn id_of(number: usize) -> String {
    format!("s{}", 100 + number)
}

/// One of the ways to dial a subscriber.
pub fn dialled(number: usize, chance: &mut Chance) -> String {
    let extension = 100 + number;
    match chance.below(5) {
        0 | 1 => extension.to_string(),
        2 => id_of(number),
        3 => format!("+49301234{extension}"),
        _ => format!("0301234{extension}"),
    }
}

fn document(number: usize, count: usize, chance: &mut Chance) -> Subscriber {
    let status = chance.weighted(&[(60, "available"), (15, "away"), (10, "break"), (15, "dnd")]);
    let mut settings = Vec::new();
    for part in ["available", "away", "break", "dnd", "in_call"] {
        let rules = rules(part, count, chance);
        if !rules.is_empty() {
            settings.push(format!("\"{part}\":{{{}}}", rules.join(",")));
        }
    }
    let extension = 100 + number;
    let text = format!(
        "{{\"id\":\"{}\",\"aliases\":[\"{extension}\",\"+49301234{extension}\"],\
         \"status\":\"{status}\",\"settings\":{{{}}}}}",
        id_of(number),
        settings.join(",")
    );
    serde_json::from_str(&text).unwrap_or_else(|fault| panic!("{fault}: {text}"))
}

fn rules(part: &str, count: usize, chance: &mut Chance) -> Vec<String> {
    let mut rules = Vec::new();
    for moment in ["immediate", "busy", "no_answer", "unreachable", "declined"] {
        let wanted = if moment == "immediate" && part == "available" {
            10
        } else {
            35
        };
        if !chance.percent(wanted) {
            continue;
        }
        let rule = if chance.percent(20) {
            let class = chance.pick(&["internal", "external", "anonymous"]);
            format!("{{\"{class}\":{}}}", action(count, chance))
        } else {
            action(count, chance)
        };
        rules.push(format!("\"{moment}\":{rule}"));
    }
    if chance.percent(40) {
        rules.push(format!("\"ring_for_s\":{}", chance.range(5, 40)));
    }
    rules
}

fn action(count: usize, chance: &mut Chance) -> String {
    match chance.weighted(&[(20, 0), (10, 1), (10, 2), (20, 3), (40, 4)]) {
        0 => "\"connect\"".into(),
        1 => "\"reject\"".into(),
        2 => "\"missed\"".into(),
        3 => "\"voicemail\"".into(),
        _ => format!("{{\"forward\":\"{}\"}}", target(count, chance)),
    }
}

fn target(count: usize, chance: &mut Chance) -> String {
    let colleague = chance.below(count);
    match chance.below(10) {
        0..=2 => (100 + colleague).to_string(),
        3..=4 => format!("+49301234{}", 100 + colleague),
        5 => format!("sip:{}@example.com", id_of(colleague)),
        6 => format!("+4917012345{:02}", chance.below(100)),
        7 => format!("sip:mobile@{EXTERNAL}"),
        8 => format!("sip:nobody@{CLOSED}"),
        _ => format!("sip:late@{SLOW_NAME}"),
    }
}
