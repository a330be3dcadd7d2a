//! What the administrator lays down for everybody: own statuses.

use super::own::OwnStatuses;

/// The rules of the house, compiled from the configuration; swapped whole.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HouseRules {
    /// The statuses of the deployment's own.
    pub statuses: OwnStatuses,
}
