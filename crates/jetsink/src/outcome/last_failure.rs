//! The last failure that a sink remembers.

use tokio::time::Instant;

use super::publish_error::{PublishError, Scope};
use crate::message::subject::Subject;

/// Why something failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LastFailure {
    /// What happened.
    pub error: PublishError,
    /// Whom it concerned.
    pub scope: Scope,
    /// The subject that was published to; `None` where the connection ended.
    pub subject: Option<Subject>,
    /// When.
    pub at: Instant,
}
