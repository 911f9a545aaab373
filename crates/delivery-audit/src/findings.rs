//! An audit of a stream that fits in memory, with the findings by key.

use std::collections::HashSet;
use std::fmt;

use crate::audit::Verdict;
use crate::event::Event;
use crate::ledger::Ledger;

/// The findings of an audit in memory: for tests and small streams.
///
/// ```
/// use delivery_audit::{Event, Findings};
///
/// let events = ["a", "b", "c"].map(Event::acknowledged);
/// let findings = Findings::of(events, [("events", "a"), ("events", "c"), ("events", "b")]);
/// assert_eq!(findings.out_of_order, ["b"]);
/// assert!(!findings.is_clean());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings<K> {
    /// Acknowledged and not stored, in the order in which they were added.
    pub lost: Vec<K>,
    /// Stored once more than it was added, once per message.
    pub duplicated: Vec<K>,
    /// Stored behind a later event of its subject.
    pub out_of_order: Vec<K>,
    /// Stored on another subject than it was published to.
    pub wrong_subject: Vec<K>,
    /// Stored although the publish returned an error that ruled it out.
    pub stored_despite_error: Vec<K>,
    /// Stored and never added.
    pub unexpected: Vec<K>,
}

impl<K> Default for Findings<K> {
    fn default() -> Self {
        Self {
            lost: Vec::new(),
            duplicated: Vec::new(),
            out_of_order: Vec::new(),
            wrong_subject: Vec::new(),
            stored_despite_error: Vec::new(),
            unexpected: Vec::new(),
        }
    }
}

impl<K: Ord + Clone> Findings<K> {
    /// Compares events, in the order of their publishes, with messages: the subject and the key of each,
    /// in the order of the stream.
    ///
    /// # Panics
    /// As [`Ledger::add`].
    pub fn of<'e, 'm>(
        events: impl IntoIterator<Item = Event<'e, K>>,
        messages: impl IntoIterator<Item = (&'m str, K)>,
    ) -> Self {
        let mut ledger = Ledger::new();
        for event in events {
            ledger.add(event);
        }
        let mut audit = ledger.seal();
        let mut findings = Self::default();
        for (subject, key) in messages {
            let kind = match audit.observe(subject, &key) {
                Verdict::Expected => continue,
                Verdict::OutOfOrder => &mut findings.out_of_order,
                Verdict::WrongSubject => &mut findings.wrong_subject,
                Verdict::Duplicated => &mut findings.duplicated,
                Verdict::StoredDespiteError => &mut findings.stored_despite_error,
                Verdict::Unexpected | Verdict::Unmatched => &mut findings.unexpected,
            };
            kind.push(key);
        }
        let report = audit.finish();
        let lost: HashSet<u32> = report.lost().collect();
        let mut keys: Vec<(u32, &K)> = Vec::with_capacity(lost.len());
        for (key, event) in report.keys() {
            if lost.contains(&event) {
                keys.push((event, key));
            }
        }
        keys.sort_unstable_by_key(|(event, _)| *event);
        findings.lost = keys.into_iter().map(|(_, key)| key.clone()).collect();
        findings
    }
}

impl<K> Findings<K> {
    /// Whether nothing was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let Self {
            lost,
            duplicated,
            out_of_order,
            wrong_subject,
            stored_despite_error,
            unexpected,
        } = self;
        let all = [
            lost,
            duplicated,
            out_of_order,
            wrong_subject,
            stored_despite_error,
            unexpected,
        ];
        all.iter().all(|findings| findings.is_empty())
    }
}

/// `2 lost, 1 duplicated, 0 unexpected, 0 out of order`, and the other findings if there are any.
impl<K> fmt::Display for Findings<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            lost,
            duplicated,
            out_of_order,
            wrong_subject,
            stored_despite_error,
            unexpected,
        } = self;
        write!(
            f,
            "{} lost, {} duplicated, {} unexpected, {} out of order",
            lost.len(),
            duplicated.len(),
            unexpected.len(),
            out_of_order.len()
        )?;
        if !wrong_subject.is_empty() {
            write!(f, ", {} on the wrong subject", wrong_subject.len())?;
        }
        if !stored_despite_error.is_empty() {
            let count = stored_despite_error.len();
            write!(f, ", {count} stored despite an error")?;
        }
        Ok(())
    }
}
