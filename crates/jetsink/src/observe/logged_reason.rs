//! The reason of a circuit's last failure, so that the log has one line per change of it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::outcome::PublishError;

/// The digest of a reason; 0 before the first one.
#[derive(Debug, Default)]
pub(crate) struct LoggedReason(AtomicU64);

impl LoggedReason {
    /// Replaces the reason. Returns whether it is another one than before.
    pub(crate) fn changes_to(&self, error: Option<&PublishError>) -> bool {
        let mut hasher = DefaultHasher::new();
        error.map(ToString::to_string).hash(&mut hasher);
        let digest = hasher.finish();
        self.0.swap(digest, Ordering::Relaxed) != digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_changes_with_its_text_only() {
        let reason = LoggedReason::default();
        let (lost, silent) = (PublishError::ConnectionLost, PublishError::NoStream);
        assert!(reason.changes_to(Some(&lost)), "the first one");
        assert!(!reason.changes_to(Some(&lost)));
        assert!(reason.changes_to(Some(&silent)));
        assert!(reason.changes_to(Some(&lost)));
        assert!(reason.changes_to(None));
    }
}
