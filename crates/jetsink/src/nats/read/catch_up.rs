//! Tracks whether a reader has seen every message that was stored when it began.

use std::collections::HashMap;

use serde::Deserialize;

use super::config::StreamConfig;
use crate::nats::api::cant_read;
use crate::outcome::PublishError;

/// The servers of a stream or consumer in an answer of the JetStream API.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Cluster {
    #[serde(default)]
    leader: Option<String>,
}

/// The part of a stream leader's answer (`STREAM.INFO`) that readers need.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct StreamInfo {
    /// Empty if it is unknown.
    pub(crate) created: String,
    pub(crate) state: StreamState,
    #[serde(default)]
    pub(crate) config: StreamConfig,
    cluster: Option<Cluster>,
    /// The JetStream domain of the answering server, if it has one.
    pub(crate) domain: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct StreamState {
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    #[serde(default)]
    pub(crate) messages: u64,
    /// The number of messages that were removed between the first and the last one.
    #[serde(default)]
    pub(crate) num_deleted: u64,
    /// Their sequence numbers, if they were asked for.
    pub(crate) deleted: Option<Vec<u64>>,
    /// The number of messages of each subject that was asked for.
    pub(crate) subjects: Option<HashMap<String, u64>>,
}

impl StreamInfo {
    /// Describes a stream by its last sequence number alone.
    pub(crate) fn up_to(last_seq: u64) -> Self {
        let state = StreamState {
            last_seq,
            ..StreamState::default()
        };
        Self {
            state,
            ..Self::default()
        }
    }

    /// Returns the catch-up of a consumer on `consumer`'s servers, made after this answer.
    pub(crate) fn catch_up(&self, consumer: Option<&Cluster>) -> CatchUp {
        CatchUp::new(self.state.last_seq, self.cluster.as_ref(), consumer)
    }
}

/// The sequence number that a consumer must reach, and the one that it has reached.
///
/// In a cluster, a consumer without replicas runs on any server of the stream. A server that has just
/// restarted may lack messages that a majority has acknowledged.
#[derive(Debug)]
pub(crate) struct CatchUp {
    last: u64,
    seen: u64,
}

impl CatchUp {
    /// `last` and `stream` are from the stream's leader, before the consumer was made.
    fn new(last: u64, stream: Option<&Cluster>, consumer: Option<&Cluster>) -> Self {
        let leader = stream.and_then(|stream| stream.leader.as_ref());
        let has_all = match consumer {
            None => true,
            Some(consumer) => consumer.leader.is_some() && consumer.leader.as_ref() == leader,
        };
        let seen = if has_all { last } else { 0 };
        Self { last, seen }
    }

    /// Records that the consumer has reached `sequence`, by a message or by a heartbeat.
    pub(crate) fn observed(&mut self, sequence: u64) {
        self.seen = self.seen.max(sequence);
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.seen >= self.last
    }

    /// Returns an error unless the reader has seen every message.
    pub(crate) fn check(&self) -> Result<(), PublishError> {
        if self.is_complete() {
            Ok(())
        } else {
            Err(cant_read("the server that reads it is behind its leader"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn led_by(name: &str) -> Cluster {
        serde_json::from_value(serde_json::json!({ "name": "c", "leader": name })).unwrap()
    }

    #[test]
    fn catch_up_is_needed_only_on_a_server_that_may_lag() {
        let (a, b) = (led_by("a"), led_by("b"));
        let complete = |stream, consumer| CatchUp::new(7, stream, consumer).is_complete();
        assert!(complete(None, None), "no cluster");
        assert!(complete(Some(&a), None), "the answer of a single server");
        assert!(complete(Some(&a), Some(&a)));
        assert!(!complete(Some(&a), Some(&b)));
        let leaderless = Cluster::default();
        assert!(
            !complete(Some(&leaderless), Some(&leaderless)),
            "an election"
        );
        assert!(CatchUp::new(0, Some(&a), Some(&b)).is_complete(), "empty");
    }

    #[test]
    fn catch_up_is_complete_once_the_last_sequence_was_observed() {
        let mut catch_up = CatchUp::new(7, Some(&led_by("a")), Some(&led_by("b")));
        for (sequence, complete) in [(3, false), (6, false), (2, false), (7, true), (1, true)] {
            catch_up.observed(sequence);
            assert_eq!(catch_up.is_complete(), complete, "{sequence}");
        }
    }
}
