//! Selection of messages: start, subjects, whole messages or headers only.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// The part of each message that a [`StreamReader`](crate::StreamReader) returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamReading {
    /// All of it.
    Whole,
    /// All but the payload, which is empty then.
    HeadersOnly,
}

/// The first message that is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StreamStart {
    /// The first message of the stream.
    #[default]
    First,
    /// The one with this sequence number, or the first one behind it.
    Sequence(u64),
    /// The first one that was stored at this time or later.
    Time(SystemTime),
    /// The message at this distance from the end, by sequence number: removed messages and messages of
    /// other subjects count too.
    Last(u64),
    /// The first one that is stored after the reader was made.
    New,
}

/// Selects the messages that [`read_stream`](crate::Admin::read_stream) reads. The default is all messages of
/// all subjects, first to last. A [`StreamReading`] converts into that.
///
/// ```
/// use jetsink::{StreamQuery, StreamReading, StreamStart};
///
/// let news_of_acme = StreamQuery::new(StreamReading::Whole)
///     .start(StreamStart::New)
///     .subjects(["cellos.events.acme"])
///     .following();
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct StreamQuery {
    pub(super) reading: StreamReading,
    pub(super) start: StreamStart,
    pub(super) subjects: Vec<String>,
    pub(super) follows: bool,
}

impl From<StreamReading> for StreamQuery {
    fn from(reading: StreamReading) -> Self {
        Self::new(reading)
    }
}

impl StreamQuery {
    /// All messages of the stream.
    pub fn new(reading: StreamReading) -> Self {
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

    /// Only messages of these subjects, `*` and `>` as subscribers write them; none is all. No two may
    /// overlap. A server older than 2.10 sends messages of other subjects, too.
    pub fn subjects<S: Into<String>>(mut self, subjects: impl IntoIterator<Item = S>) -> Self {
        self.subjects = subjects.into_iter().map(Into::into).collect();
        self
    }

    /// Waits for new messages instead of ending after the last one.
    pub fn following(mut self) -> Self {
        self.follows = true;
        self
    }

    /// The consumer's, whose start is resolved: what is new is behind `last`.
    pub(super) fn amend(&self, config: &mut Value, last: u64) {
        config["headers_only"] = (self.reading == StreamReading::HeadersOnly).into();
        if !self.subjects.is_empty() {
            config["filter_subjects"] = json!(self.subjects);
        }
        let sequence = match self.start {
            StreamStart::First => 1,
            StreamStart::Sequence(sequence) => sequence.max(1),
            StreamStart::Last(count) => last.saturating_sub(count).saturating_add(1),
            StreamStart::New => last.saturating_add(1),
            StreamStart::Time(time) => {
                config["deliver_policy"] = "by_start_time".into();
                config["opt_start_time"] = rfc3339(time).into();
                config["opt_start_seq"] = Value::Null;
                return;
            }
        };
        config["opt_start_seq"] = sequence.into();
    }
}

/// In UTC. Times before 1970 are 1970, no stream is older.
fn rfc3339(time: SystemTime) -> String {
    let since = time
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        // The server reads years of four digits.
        .min(Duration::from_secs(253_402_300_799));
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // Counted from 1 March of the year 0, a leap day is the last of its year.
    let from_march = days + 719_468;
    let (era, of_era) = (from_march / 146_097, from_march % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:09}Z",
        second / 3_600,
        second / 60 % 60,
        second % 60,
        since.subsec_nanos()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_server_reads_them() {
        let at = |seconds, nanos| rfc3339(UNIX_EPOCH + Duration::new(seconds, nanos));
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(at(951_782_400, 1), "2000-02-29T00:00:00.000000001Z");
        assert_eq!(at(1_709_251_199, 0), "2024-02-29T23:59:59.000000000Z");
        assert_eq!(at(1_709_251_200, 0), "2024-03-01T00:00:00.000000000Z");
        assert_eq!(at(4_107_542_399, 0), "2100-02-28T23:59:59.000000000Z");
        assert_eq!(at(4_107_542_400, 0), "2100-03-01T00:00:00.000000000Z");
        assert_eq!(
            at(1_798_761_599, 999_999_999),
            "2026-12-31T23:59:59.999999999Z"
        );
        assert_eq!(
            rfc3339(UNIX_EPOCH - Duration::from_secs(9)),
            at(0, 0),
            "before all streams"
        );
        assert!(at(u64::from(u32::MAX) * 1_000, 0).starts_with("9999-12-31T23:59:59"));
    }
}
