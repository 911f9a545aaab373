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
    allow_direct: Option<bool>,
    #[serde(default)]
    max_age: i64,
    #[serde(default)]
    max_msgs: i64,
    #[serde(default)]
    max_bytes: i64,
    #[serde(default)]
    deny_delete: bool,
    #[serde(default)]
    deny_purge: bool,
    #[serde(default)]
    allow_rollup_hdrs: bool,
    #[serde(default)]
    allow_msg_ttl: bool,
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

    /// Whether messages may be removed by something else than the limit per subject: another limit, a purge, a rollup,
    /// a time to live or by hand.
    pub(crate) fn has_other_removals(&self) -> bool {
        let limits = [self.max_age, self.max_msgs, self.max_bytes];
        !self.deny_delete
            || !self.deny_purge
            || self.allow_rollup_hdrs
            || self.allow_msg_ttl
            || !self.allows_readers()
            || limits.iter().any(|limit| *limit > 0)
    }

    /// Whether it answers direct gets; `None` if that is unknown.
    pub(crate) fn allows_direct(&self) -> Option<bool> {
        self.allow_direct
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
    fn stream_removes_only_by_its_limit_per_subject_if_all_else_is_denied() {
        let append_only = json!({
            "max_msgs_per_subject": 1, "deny_delete": true, "deny_purge": true, "allow_rollup_hdrs": false,
            "allow_msg_ttl": false, "max_age": 0, "max_msgs": -1, "max_bytes": -1, "retention": "limits",
        });
        assert!(!config(append_only.clone()).has_other_removals());
        for (name, value) in [
            ("deny_delete", json!(false)),
            ("deny_purge", json!(false)),
            ("allow_rollup_hdrs", json!(true)),
            ("allow_msg_ttl", json!(true)),
            ("max_age", json!(1_000_000_000)),
            ("max_msgs", json!(9)),
            ("max_bytes", json!(9)),
            ("retention", json!("workqueue")),
        ] {
            let mut other = append_only.clone();
            other[name] = value;
            assert!(config(other).has_other_removals(), "{name}");
        }
        assert!(StreamConfig::default().has_other_removals());
        assert_eq!(StreamConfig::default().allows_direct(), None);
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
