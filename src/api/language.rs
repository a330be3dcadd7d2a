//! In which language the reader is addressed.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::header::ACCEPT_LANGUAGE;
use axum::http::request::Parts;

use crate::presence::{Language, Profile};

/// What a request says of the language wanted (RFC 9110 §12.5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Speech(Option<Language>);

impl Speech {
    /// The language for the reader of what belongs to a subscriber: the one that the request asks
    /// for, else the subscriber's, else English.
    pub(super) fn of(self, profile: &Profile) -> Language {
        self.0.or(profile.language()).unwrap_or_default()
    }

    /// The language where nobody in particular is meant.
    pub(super) fn wanted(self) -> Language {
        self.0.unwrap_or_default()
    }

    /// The first of ours among those wanted the most.
    fn read(header: &str) -> Option<Language> {
        let mut best: Option<(Language, f32)> = None;
        for range in header.split(',').take(16) {
            let mut parts = range.split(';').map(str::trim);
            let tag = parts.next()?.split('-').next()?.to_ascii_lowercase();
            let weight = parts.find_map(|part| part.strip_prefix("q="));
            let weight = weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0));
            let language = match tag.as_str() {
                "de" => Language::De,
                "en" => Language::En,
                _ => continue,
            };
            if weight > 0.0 && best.is_none_or(|(_, so_far)| weight > so_far) {
                best = Some((language, weight));
            }
        }
        best.map(|(language, _)| language)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Speech {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let header = parts.headers.get(ACCEPT_LANGUAGE);
        let header = header.and_then(|value| value.to_str().ok());
        Ok(Self(header.and_then(Self::read)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_wanted_the_most_counts_of_those_there_are() {
        for (header, language) in [
            ("de", Some(Language::De)),
            ("de-AT,de;q=0.9,en;q=0.8", Some(Language::De)),
            (
                "fr-CH, fr;q=0.9, en;q=0.8, de;q=0.7, *;q=0.5",
                Some(Language::En),
            ),
            ("en;q=0.3, DE; q=0.4", Some(Language::De)),
            ("de;q=0, en", Some(Language::En)),
            ("fr", None),
            ("*", None),
            ("", None),
            ("de;q=x", None),
        ] {
            assert_eq!(Speech::read(header), language, "{header}");
        }
    }
}
