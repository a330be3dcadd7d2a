//! Who takes part: the colleagues with their settings, and how their phones behave.

use super::answerer::{Book, Manner};
use crate::presence::Subscriber;

/// One subscriber a line, as `pointsman import` reads them.
const CAST: &str = include_str!("cast.jsonl");
/// How long a phone rings before somebody answers, milliseconds.
const PICK_UP_MS: u64 = 250;

/// The colleagues.
///
/// # Errors
/// The first document that is not valid.
pub(super) fn subscribers() -> serde_json::Result<Vec<Subscriber>> {
    CAST.lines().map(serde_json::from_str).collect()
}

/// The PBX: the colleagues' phones by extension, id or number.
pub(super) fn pbx() -> Book {
    let names: Vec<(Vec<String>, String)> = CAST
        .lines()
        .filter_map(|line| serde_json::from_str::<Subscriber>(line).ok())
        .map(|subscriber| {
            let mut keys = subscriber.aliases;
            keys.push(subscriber.id);
            (keys, subscriber.display_name)
        })
        .collect();
    Box::new(move |user| {
        let found = names
            .iter()
            .find(|(keys, _)| keys.iter().any(|key| key == user));
        match found {
            Some((keys, name)) => {
                let extension = keys.first().map_or("", String::as_str);
                (manner_of(extension), name.clone())
            }
            None => (Manner::IsUnknown, String::new()),
        }
    })
}

fn manner_of(extension: &str) -> Manner {
    match extension {
        "106" | "115" => Manner::Rings,
        "112" => Manner::Declines {
            after_ms: PICK_UP_MS,
        },
        "113" => Manner::IsUnplugged,
        "119" => Manner::IsBusy,
        "123" => Manner::HangsUp {
            after_ms: PICK_UP_MS,
        },
        _ => Manner::Answers {
            after_ms: PICK_UP_MS,
        },
    }
}

/// The public network: every number there is a mobile that somebody answers.
pub(super) fn public_network() -> Book {
    Box::new(|user| {
        (
            Manner::Answers {
                after_ms: PICK_UP_MS,
            },
            user.to_owned(),
        )
    })
}

/// Voicemail: answers at once and says whose box it is.
pub(super) fn voicemail() -> Book {
    Box::new(|user| {
        let of = user.strip_prefix("vm-").unwrap_or(user);
        (Manner::PicksUp, format!("voicemail of {of}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presence::NumberPlan;

    #[test]
    fn every_document_of_the_cast_is_valid() {
        let plan = NumberPlan::for_region("DE").unwrap();
        let cast = subscribers().unwrap();
        assert_eq!(cast.len(), CAST.lines().count());
        for subscriber in cast {
            subscriber.validate(&plan).unwrap();
        }
    }

    #[test]
    fn the_pbx_knows_its_phones_by_extension_and_id() {
        let book = pbx();
        assert_eq!(book("119"), (Manner::IsBusy, "Sven Sommer".to_owned()));
        assert_eq!(book("sven").0, Manner::IsBusy);
        assert_eq!(book("199").0, Manner::IsUnknown);
        assert_eq!(voicemail()("vm-anna").1, "voicemail of anna");
    }
}
