//! The point in a stream above which unanswered events may be stored. Pure.

use std::collections::HashMap;

/// Baselines by the name of their stream.
pub type Baselines = HashMap<String, Baseline>;

/// A point in a stream, for [`Publisher::stored_ids`](crate::Publisher::stored_ids): the events in question are
/// stored above it, or not at all.
///
/// A name and a sequence number alone are not enough: a stream may be deleted and made again, or restored from
/// an older store.
///
/// ```
/// use jetsink::Baseline;
///
/// let baseline = Baseline::new(40).with_created(Some("2026-11-30T07:00:00Z".to_owned()));
/// assert_eq!(baseline.above(Some("2026-11-30T07:00:00Z"), Some(41)), 40);
/// // Another stream of the same name, and one that was set back.
/// assert_eq!(baseline.above(Some("2026-11-30T08:00:00Z"), Some(41)), 0);
/// assert_eq!(baseline.above(Some("2026-11-30T07:00:00Z"), Some(39)), 0);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Baseline {
    /// The sequence number of the last message at that point.
    pub sequence: u64,
    /// The JetStream domain in the stream's acknowledgements, if they have one.
    pub domain: Option<String>,
    /// The stream's creation time as its server writes it; `None` if the server does not report it.
    pub created: Option<String>,
}

impl Baseline {
    /// Creates a baseline of a stream whose domain and creation time are unknown.
    #[must_use]
    pub fn new(sequence: u64) -> Self {
        Self {
            sequence,
            ..Self::default()
        }
    }

    /// Sets the creation time of the stream.
    #[must_use]
    pub fn with_created(mut self, created: Option<String>) -> Self {
        self.created = created;
        self
    }

    /// Sets the domain of the stream.
    #[must_use]
    pub fn with_domain(mut self, domain: Option<String>) -> Self {
        self.domain = domain;
        self
    }

    /// Returns the sequence number above which a stream must be read that now has this creation time and this
    /// last sequence number: 0 if it is another stream, or was set back. `None` if unknown.
    #[must_use]
    pub fn above(&self, created: Option<&str>, last_sequence: Option<u64>) -> u64 {
        let is_another = match (self.created.as_deref(), created) {
            (Some(before), Some(now)) => before != now,
            (None, _) | (_, None) => false,
        };
        let was_set_back = last_sequence.is_some_and(|last| last < self.sequence);
        if is_another || was_set_back {
            0
        } else {
            self.sequence
        }
    }

    /// Whether both are points in one stream.
    pub(crate) fn is_of_same_stream(&self, other: &Self) -> bool {
        self.domain == other.domain && self.created == other.created
    }
}
