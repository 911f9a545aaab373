//! The parts of a stream's configuration that decide how it is read, and which messages it removes.

use serde::Deserialize;
use serde_json::{Value, json};

use super::consumer::consumer;
use crate::message::pattern::SubjectPattern;
use crate::message::subject::Subject;

/// The settings of a stream, by `STREAM.INFO`. The default is for a stream whose settings are unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct StreamConfig {
    #[serde(default)]
    subjects: Option<Vec<String>>,
    #[serde(default)]
    retention: Retention,
    #[serde(default)]
    discard: Discard,
    #[serde(default)]
    discard_new_per_subject: bool,
    #[serde(default)]
    max_msgs_per_subject: i64,
    #[serde(default)]
    num_replicas: u64,
    subject_transform: Option<SubjectTransform>,
    #[serde(default)]
    consumer_limits: ConsumerLimits,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Retention {
    #[default]
    Limits,
    Interest,
    WorkQueue,
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Discard {
    #[default]
    Old,
    #[serde(other)]
    Other,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
struct SubjectTransform {
    #[serde(default)]
    dest: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
struct ConsumerLimits {
    /// In nanoseconds.
    #[serde(default)]
    inactive_threshold: u64,
    #[serde(default)]
    max_ack_pending: i64,
}

impl StreamConfig {
    /// Whether the stream captures a subject.
    pub(crate) fn captures(&self, subject: &Subject) -> bool {
        let patterns = self.subjects.iter().flatten();
        let mut patterns = patterns.filter_map(|text| SubjectPattern::new(text.as_str()).ok());
        patterns.any(|pattern| pattern.matches(subject.as_str()))
    }

    /// Whether it stores messages under other subjects than those that it captures.
    pub(crate) fn transforms(&self) -> bool {
        self.subject_transform
            .as_ref()
            .is_some_and(|transform| !transform.dest.is_empty())
    }

    /// Whether a consumer without acknowledgements leaves the stream as it is.
    pub(crate) fn allows_readers(&self) -> bool {
        self.retention == Retention::Limits
    }

    /// The number of messages of each subject that it keeps, if it removes older ones.
    pub(crate) fn newest_per_subject(&self) -> Option<u64> {
        let removes = self.discard == Discard::Old || !self.discard_new_per_subject;
        let kept = u64::try_from(self.max_msgs_per_subject).ok();
        kept.filter(|kept| removes && *kept > 0)
    }

    /// Returns the configuration of a reading consumer that the stream allows.
    pub(crate) fn consumer(&self, inbox: &str, above: u64) -> Value {
        let mut config = consumer(inbox, above);
        let limits = &self.consumer_limits;
        if limits.inactive_threshold > 0 {
            let usual = config["inactive_threshold"].as_u64().unwrap_or(u64::MAX);
            config["inactive_threshold"] = json!(usual.min(limits.inactive_threshold));
        }
        if limits.max_ack_pending > 0 {
            config["max_ack_pending"] = json!(limits.max_ack_pending);
        }
        if !self.allows_readers() && self.num_replicas > 0 {
            config["num_replicas"] = json!(self.num_replicas);
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(value: Value) -> StreamConfig {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn consumer_stays_within_the_limits_of_its_stream() {
        let usual = config(json!({ "subjects": ["a"], "num_replicas": 3 })).consumer("i", 4);
        assert_eq!(usual, consumer("i", 4));
        let limits = json!({ "inactive_threshold": 5, "max_ack_pending": 7 });
        let limited = config(json!({ "consumer_limits": limits })).consumer("i", 4);
        assert_eq!(
            (&limited["inactive_threshold"], &limited["max_ack_pending"]),
            (&json!(5), &json!(7))
        );
        let interest = json!({ "retention": "interest", "num_replicas": 3 });
        assert_eq!(config(interest).consumer("i", 4)["num_replicas"], 3);
    }

    #[test]
    fn stream_keeps_the_newest_messages_per_subject_unless_it_refuses_new_ones() {
        let newest = |value| config(value).newest_per_subject();
        assert_eq!(newest(json!({ "max_msgs_per_subject": -1 })), None);
        assert_eq!(newest(json!({ "max_msgs_per_subject": 2 })), Some(2));
        let refuses =
            json!({ "max_msgs_per_subject": 2, "discard": "new", "discard_new_per_subject": true });
        assert_eq!(newest(refuses), None);
        let unknown = json!({ "retention": "later", "discard": "later" });
        assert!(!config(unknown).allows_readers());
    }

    #[test]
    fn subjects_are_captured_by_the_patterns_of_the_stream() {
        let stream = config(json!({ "subjects": ["a.*", "b.>"] }));
        let captures = |text| stream.captures(&Subject::new(text).unwrap());
        assert!(captures("a.x") && captures("b.x.y"));
        assert!(!captures("a.x.y") && !captures("c"));
        assert!(!StreamConfig::default().captures(&Subject::new("a").unwrap()));
    }
}
