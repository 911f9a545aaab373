//! Whether a reader of a stream has come to all that was stored when it began.

use serde::Deserialize;

use crate::nats::api::cant_read;
use crate::outcome::PublishError;

/// What the JetStream API says of a stream's or a consumer's servers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Cluster {
    #[serde(default)]
    leader: Option<String>,
}

/// What a stream's leader says of it (`STREAM.INFO`), as far as its readers ask.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct StreamInfo {
    pub(crate) created: String,
    pub(crate) state: State,
    cluster: Option<Cluster>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct State {
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
}

impl StreamInfo {
    /// Of a stream of which no more is known than its last sequence number.
    pub(crate) fn up_to(last_seq: u64) -> Self {
        let state = State {
            last_seq,
            ..State::default()
        };
        Self {
            state,
            ..Self::default()
        }
    }

    /// How far a consumer on these servers must come that was made since.
    pub(crate) fn reach(&self, consumer: Option<&Cluster>) -> Reach {
        Reach::new(self.state.last_seq, self.cluster.as_ref(), consumer)
    }
}

/// How far a consumer must come, and has.
///
/// In a cluster a consumer without replicas is on any server that has the stream, and one that was just
/// restarted may not have yet what a majority acknowledged.
#[derive(Debug)]
pub(crate) struct Reach {
    last: u64,
    seen: u64,
}

impl Reach {
    /// `last`: the stream's last sequence number and `stream`, by its leader, before the consumer was made.
    fn new(last: u64, stream: Option<&Cluster>, consumer: Option<&Cluster>) -> Self {
        let leader = stream.and_then(|stream| stream.leader.as_ref());
        let has_all = match consumer {
            None => true,
            Some(consumer) => consumer.leader.is_some() && consumer.leader.as_ref() == leader,
        };
        let seen = if has_all { last } else { 0 };
        Self { last, seen }
    }

    /// It was read as far as `sequence`: a message's, or a heartbeat's, which counts what it left out.
    pub(crate) fn came_to(&mut self, sequence: u64) {
        self.seen = self.seen.max(sequence);
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.seen >= self.last
    }

    /// An error where nobody may take what was read for all of it.
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
    fn only_a_server_that_may_be_behind_is_waited_for() {
        let (a, b) = (led_by("a"), led_by("b"));
        let complete = |stream, consumer| Reach::new(7, stream, consumer).is_complete();
        assert!(complete(None, None), "no cluster");
        assert!(complete(Some(&a), None), "as a single server says it");
        assert!(complete(Some(&a), Some(&a)));
        assert!(!complete(Some(&a), Some(&b)));
        let nobody = Cluster::default();
        assert!(!complete(Some(&nobody), Some(&nobody)), "an election");
        assert!(Reach::new(0, Some(&a), Some(&b)).is_complete(), "empty");
    }

    #[test]
    fn it_is_complete_once_the_last_one_is_seen_or_passed_over() {
        let mut reach = Reach::new(7, Some(&led_by("a")), Some(&led_by("b")));
        for (sequence, complete) in [(3, false), (6, false), (2, false), (7, true), (1, true)] {
            reach.came_to(sequence);
            assert_eq!(reach.is_complete(), complete, "{sequence}");
        }
    }
}
