//! The last failure that a sink remembers.

use tokio::time::Instant;

use super::publish_error::{PublishError, Scope};
use crate::message::subject::Subject;

/// A failure of a publish or of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LastFailure {
    /// The error.
    pub error: PublishError,
    /// Its scope.
    pub scope: Scope,
    /// The subject of the publish; `None` if the connection ended.
    pub subject: Option<Subject>,
    /// The time of the failure.
    pub at: Instant,
}
