//! Who sees what of a person: by team, in four levels.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How much one person sees of another.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Debug,
    Default,
    Serialize,
    Deserialize,
    ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Not that the person is there.
    None,
    /// Whether calls would be welcome.
    FreeBusy,
    /// The status.
    Status,
    /// The status, its message and its end.
    #[default]
    Full,
}

/// What colleagues see of a person; what is left out is as the administrator configured.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Visibility {
    /// Those who share a team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<Level>,
    /// Everybody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub others: Option<Level>,
}

impl Level {
    /// The name in documents, `free_busy`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::FreeBusy => "free_busy",
            Self::Status => "status",
            Self::Full => "full",
        }
    }
}

impl Visibility {
    /// What somebody sees, with what the administrator configured in the place of what is left
    /// out, and at most that: a person can show less than configured, not more.
    pub fn level(self, shares_a_team: bool, configured: Self) -> Level {
        let (own, configured) = match shares_a_team {
            true => (self.team, configured.team),
            false => (self.others, configured.others),
        };
        let configured = configured.unwrap_or_default();
        own.map_or(configured, |own| own.min(configured))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_shows_at_most_what_is_configured() {
        let configured = Visibility {
            team: Some(Level::Full),
            others: Some(Level::Status),
        };
        let own = Visibility {
            team: Some(Level::FreeBusy),
            others: Some(Level::Full),
        };
        assert_eq!(own.level(true, configured), Level::FreeBusy);
        assert_eq!(own.level(false, configured), Level::Status);
        assert_eq!(
            Visibility::default().level(false, configured),
            Level::Status
        );
        assert_eq!(
            Visibility::default().level(false, Visibility::default()),
            Level::Full
        );
    }
}
