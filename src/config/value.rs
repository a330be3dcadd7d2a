//! Typed readings of one value, from the file or from an environment variable.

use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::DeValue;

use super::error::Fault;

/// One configured value before its type is known.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    /// From the file, with its place.
    Toml(&'a Spanned<DeValue<'a>>),
    /// From an environment variable; lists are separated by commas.
    Text(&'a str),
}

/// One text of a list.
pub(super) struct Item {
    pub text: String,
    pub span: Option<Range<usize>>,
}

impl Value<'_> {
    /// A text.
    pub(super) fn text(self) -> Result<String, Fault> {
        match self {
            Self::Text(text) => Ok(text.to_owned()),
            Self::Toml(value) => match value.get_ref().as_str() {
                Some(text) => Ok(text.to_owned()),
                None => Err(self.mismatch("a text in quotes")),
            },
        }
    }

    /// A text that `parse` understands.
    pub(super) fn parsed<T>(self, parse: fn(&str) -> Result<T, String>) -> Result<T, Fault> {
        parse(&self.text()?).map_err(Fault::from)
    }

    /// A list of texts; one text stands for a list of one.
    pub(super) fn items(self) -> Result<Vec<Item>, Fault> {
        let value = match self {
            Self::Text(text) => {
                let texts = text
                    .split(',')
                    .map(str::trim)
                    .filter(|text| !text.is_empty());
                return Ok(texts
                    .map(|text| Item {
                        text: text.to_owned(),
                        span: None,
                    })
                    .collect());
            }
            Self::Toml(value) => value,
        };
        if let Some(text) = value.get_ref().as_str() {
            return Ok(vec![Item {
                text: text.to_owned(),
                span: Some(value.span()),
            }]);
        }
        let Some(array) = value.get_ref().as_array() else {
            return Err(self.mismatch("a list of texts, [\"…\", \"…\"]"));
        };
        let text = |item: &Spanned<DeValue<'_>>| match item.get_ref().as_str() {
            Some(text) => Ok(Item {
                text: text.to_owned(),
                span: Some(item.span()),
            }),
            None => Err(Value::Toml(item)
                .mismatch("a text in quotes")
                .at(Some(item.span()))),
        };
        array.iter().map(text).collect()
    }

    /// A list each of whose texts `parse` understands.
    pub(super) fn list<T>(self, parse: fn(&str) -> Result<T, String>) -> Result<Vec<T>, Fault> {
        let one = |item: Item| parse(&item.text).map_err(|text| Fault::from(text).at(item.span));
        self.items()?.into_iter().map(one).collect()
    }

    /// A whole number within bounds.
    pub(super) fn integer(self, allowed: RangeInclusive<u64>) -> Result<u64, Fault> {
        let number = match self {
            Self::Text(text) => text.trim().parse::<i128>().ok(),
            Self::Toml(value) => value
                .get_ref()
                .as_integer()
                .and_then(|number| i128::from_str_radix(number.as_str(), number.radix()).ok()),
        };
        let bounds = || {
            format!(
                "a whole number from {} to {}",
                allowed.start(),
                allowed.end()
            )
        };
        let number = number.ok_or_else(|| self.mismatch(&bounds()))?;
        let number = u64::try_from(number)
            .ok()
            .filter(|number| allowed.contains(number));
        number.ok_or_else(|| self.mismatch(&bounds()))
    }

    /// `true` or `false`.
    pub(super) fn flag(self) -> Result<bool, Fault> {
        let flag = match self {
            Self::Text(text) => text.trim().parse().ok(),
            Self::Toml(value) => value.get_ref().as_bool(),
        };
        flag.ok_or_else(|| self.mismatch("true or false"))
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(self, words: &[(&str, T)]) -> Result<T, Fault> {
        let text = self.text()?;
        words
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, meaning)| *meaning)
            .ok_or_else(|| {
                let allowed: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
                Fault::new(format!(
                    "{text:?} is not allowed; allowed: {}",
                    allowed.join(", ")
                ))
            })
    }

    /// One of a few numbers.
    pub(super) fn one_of(self, numbers: &[u64]) -> Result<u64, Fault> {
        let allowed: Vec<_> = numbers.iter().map(u64::to_string).collect();
        let number = self
            .integer(0..=u64::MAX)
            .ok()
            .filter(|number| numbers.contains(number));
        number.ok_or_else(|| self.mismatch(&allowed.join(", ")))
    }

    fn mismatch(self, wanted: &str) -> Fault {
        Fault::new(format!(
            "{} is not allowed; allowed: {wanted}",
            self.shown()
        ))
    }

    fn shown(self) -> String {
        let value = match self {
            Self::Text(text) => return format!("{text:?}"),
            Self::Toml(value) => value.get_ref(),
        };
        match value {
            DeValue::String(text) => format!("{text:?}"),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.to_string(),
            DeValue::Boolean(flag) => flag.to_string(),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
            DeValue::Datetime(_) => "a date".to_owned(),
        }
    }
}
