//! The question which events streams have stored, and its answer.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use crate::message::subject::Subject;
use crate::outcome::PublishError;
use crate::sync::lock;

/// The message id of a stored event, by [`Publisher::stored_ids`](crate::Publisher::stored_ids).
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct StoredId<'a> {
    /// The subjects in question that the event's stream captures.
    pub captured: &'a HashSet<Subject>,
    /// The subject under which the event is stored. A stream or an account may transform it.
    pub subject: &'a str,
    /// The id.
    pub id: &'a str,
    /// The size of the event's payload, if it is known: another event may have the same id.
    pub payload_bytes: Option<usize>,
    moves: Option<&'a Moves>,
}

/// The stored subjects of events that are found under another subject than their own: an account maps it.
#[derive(Debug, Default)]
pub(crate) struct Moves(Mutex<HashMap<Subject, HashSet<String>>>);

impl Moves {
    /// Whether a stored subject of the events of `subject` satisfies `is`.
    pub(crate) fn any(&self, subject: &Subject, is: impl Fn(&str) -> bool) -> bool {
        let moves = lock(&self.0);
        moves.get(subject).into_iter().flatten().any(|to| is(to))
    }
}

impl<'a> StoredId<'a> {
    /// Creates one of an event whose size is unknown.
    #[must_use]
    pub fn new(captured: &'a HashSet<Subject>, subject: &'a str, id: &'a str) -> Self {
        Self {
            captured,
            subject,
            id,
            payload_bytes: None,
            moves: None,
        }
    }

    pub(crate) fn with_moves(mut self, moves: &'a Moves) -> Self {
        self.moves = Some(moves);
        self
    }

    /// Records that the id is that of an event of `subject`, so that its look-up knows where such events are stored.
    pub(crate) fn is_event_of(&self, subject: &Subject) {
        if let Some(moves) = self.moves
            && subject.as_str() != self.subject
        {
            let mut moves = lock(&moves.0);
            let of_subject = moves.entry(subject.clone()).or_default();
            of_subject.insert(self.subject.to_owned());
        }
    }

    /// Sets the size of the event's payload.
    #[must_use]
    pub fn with_payload_bytes(mut self, bytes: Option<usize>) -> Self {
        self.payload_bytes = bytes;
        self
    }
}

/// The result of a look-up of message ids, by [`Publisher::stored_ids`](crate::Publisher::stored_ids).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoredIds {
    /// All ids were visited: an event that was not is not stored.
    Visited,
    /// All ids, with these exceptions.
    VisitedExcept(Vec<LookUpGap>),
    /// This publisher cannot look up ids.
    Unsupported,
}

/// Subjects of one stream for which a look-up is incomplete.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LookUpGap {
    /// The subjects in question.
    pub subjects: Vec<Subject>,
    /// The reason.
    pub reason: GapReason,
}

impl LookUpGap {
    /// Creates one.
    #[must_use]
    pub fn new(subjects: Vec<Subject>, reason: GapReason) -> Self {
        Self { subjects, reason }
    }
}

/// The reason why a look-up is incomplete.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GapReason {
    /// The stream can't be read at the moment, though other requests are answered; no event of these subjects may be
    /// sent yet. After 10 minutes of such look-ups the sink's setting decides.
    Unanswered(PublishError),
    /// Nothing stores events of these subjects at the moment: their stream has no leader, or JetStream is away. None may
    /// be sent before a later look-up, however long that lasts.
    Unreachable(PublishError),
    /// The stream takes longer to read than the others of this look-up; no event of these subjects may be sent before
    /// a later look-up.
    Unfinished,
    /// The stream can't be read, and never will be.
    Refused(PublishError),
    /// All ids were visited, but the stream has removed messages: an event that was not visited may have been
    /// stored.
    Removed,
    /// All ids were visited, but the stream keeps only the newest messages of each subject, at most this many:
    /// an event that was not visited may have been stored.
    Newest(u64),
}
