//! Selection of messages: start, subjects, whole messages or headers only.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use serde_json::Value;

use crate::message::pattern::SubjectPattern;

/// The part of each message that a [`StreamReader`](crate::StreamReader) returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamContent {
    /// The whole message.
    Full,
    /// All except the payload, which is empty.
    HeadersOnly,
}

/// The first message that is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamStart {
    /// The first message of the stream.
    #[default]
    First,
    /// The message with this sequence number, or the first one after it.
    Sequence(u64),
    /// The first message stored at this time or later.
    Time(SystemTime),
    /// The message at this distance from the end, by sequence number: removed messages and messages of
    /// other subjects count, too.
    Last(u64),
    /// The first message stored after the reader was made.
    New,
}

/// Selects the messages that [`read_stream`](crate::Admin::read_stream) reads. The default is all messages of
/// all subjects, first to last. A [`StreamContent`] converts into that.
///
/// ```
/// use jetsink::{StreamContent, StreamQuery, StreamStart, SubjectPattern};
///
/// let news_of_acme = StreamQuery::new(StreamContent::Full)
///     .start(StreamStart::New)
///     .subjects([SubjectPattern::new("cellos.events.acme")?])
///     .follow(true);
/// # Ok::<(), jetsink::SubjectError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct StreamQuery {
    pub(super) reading: StreamContent,
    pub(super) start: StreamStart,
    pub(super) subjects: Vec<SubjectPattern>,
    pub(super) follows: bool,
}

impl From<StreamContent> for StreamQuery {
    fn from(reading: StreamContent) -> Self {
        Self::new(reading)
    }
}

impl StreamQuery {
    /// Selects all messages of the stream.
    pub fn new(reading: StreamContent) -> Self {
        Self {
            reading,
            start: StreamStart::First,
            subjects: Vec::new(),
            follows: false,
        }
    }

    /// Sets the first message.
    pub fn start(mut self, start: StreamStart) -> Self {
        self.start = start;
        self
    }

    /// Selects only messages of these subjects; an empty list selects all. The server refuses patterns that overlap. A server older than 2.10 sends messages of other
    /// subjects, too.
    pub fn subjects(mut self, subjects: impl IntoIterator<Item = SubjectPattern>) -> Self {
        self.subjects = subjects.into_iter().collect();
        self
    }

    /// Sets whether to wait for new messages instead of ending after the last one. Default: no.
    pub fn follow(mut self, follow: bool) -> Self {
        self.follows = follow;
        self
    }

    /// Adds the query to a consumer's configuration. New messages are those after `last`.
    pub(super) fn amend(&self, config: &mut Value, last: u64) {
        config["headers_only"] = (self.reading == StreamContent::HeadersOnly).into();
        if !self.subjects.is_empty() {
            let subjects = self.subjects.iter().map(SubjectPattern::as_str);
            config["filter_subjects"] = subjects.collect();
        }
        match self.start {
            StreamStart::Time(time) => {
                config["deliver_policy"] = "by_start_time".into();
                config["opt_start_time"] = rfc3339(time).into();
                config["opt_start_seq"] = Value::Null;
            }
            _ => config["opt_start_seq"] = self.first(last).into(),
        }
    }

    /// The first sequence number that may be selected in a stream with this last one.
    pub(super) fn first(&self, last: u64) -> u64 {
        match self.start {
            StreamStart::First | StreamStart::Time(_) => 1,
            StreamStart::Sequence(sequence) => sequence.max(1),
            StreamStart::Last(count) => last.saturating_sub(count).saturating_add(1),
            StreamStart::New => last.saturating_add(1),
        }
    }

    /// Whether a message with this subject and time is selected.
    pub(super) fn selects(&self, subject: &str, stored_at: SystemTime) -> bool {
        let is_late = match self.start {
            StreamStart::Time(time) => stored_at >= time,
            _ => true,
        };
        let mut patterns = self.subjects.iter();
        is_late && (self.subjects.is_empty() || patterns.any(|pattern| pattern.matches(subject)))
    }
}

/// Formats a time for the server, in UTC with nanoseconds. Times before 1970, older than any stream, become
/// 1970; times after 9999, which the server cannot read, become the latest [`Timestamp`].
fn rfc3339(time: SystemTime) -> String {
    let time = Timestamp::try_from(time.max(UNIX_EPOCH)).unwrap_or(Timestamp::MAX);
    format!("{time:.9}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_formatted_as_the_server_reads_them() {
        let at = |seconds, nanos| rfc3339(UNIX_EPOCH + Duration::new(seconds, nanos));
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(at(951_782_400, 1), "2000-02-29T00:00:00.000000001Z");
        assert_eq!(
            at(1_798_761_599, 999_999_999),
            "2026-12-31T23:59:59.999999999Z"
        );
    }

    #[test]
    fn times_out_of_the_servers_range_are_clamped() {
        let at = |seconds| rfc3339(UNIX_EPOCH + Duration::from_secs(seconds));
        let before_1970 = rfc3339(UNIX_EPOCH - Duration::from_secs(9));
        assert_eq!(before_1970, at(0));
        assert!(at(u64::from(u32::MAX) * 1_000).starts_with("9999-12-30T"));
    }
}
