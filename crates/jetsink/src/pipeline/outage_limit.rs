//! How long a pipeline tries a failing broker, or a stream without a leader, before the failure becomes the result.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::{LOOK_AGAIN, MAX_WINDOW};
use crate::message::subject::Subject;

/// The shortest wait: the circuit reports a wait of zero while a probe is in flight.
const MIN_WAIT: Duration = Duration::from_millis(1);

/// The maximum number of failing subjects that are tracked. The events of others fail after a few attempts.
const MAX_SUBJECTS: usize = 2 * MAX_WINDOW;

#[derive(Debug, Default)]
pub(super) struct OutageLimit {
    pub(super) limit: Duration,
    /// The first failure of the broker since the last success.
    failing_since: Option<Instant>,
    /// The first failure of a subject's stream since the subject's last success. A limit of the pipeline would begin
    /// again with each success of another subject.
    subjects: HashMap<Subject, Instant>,
}

impl OutageLimit {
    /// The time to the next try of a failing broker; `None` once the maximum outage has passed.
    pub(super) fn next_try(&mut self, now: Instant, wait: Duration) -> Option<Duration> {
        let failing_since = *self.failing_since.get_or_insert(now);
        wait_within(self.limit, failing_since, now, wait)
    }

    /// The time to the next try of a subject whose stream fails; `None` once the maximum outage has passed.
    pub(super) fn next_try_of(
        &mut self,
        subject: &Subject,
        now: Instant,
        wait: Duration,
    ) -> Option<Duration> {
        let limit = self.limit;
        if let Some(since) = self.subjects.get(subject) {
            return wait_within(limit, *since, now, wait);
        }
        if self.subjects.len() >= MAX_SUBJECTS {
            self.subjects
                .retain(|_, since| now.saturating_duration_since(*since) < limit);
        }
        if self.subjects.len() >= MAX_SUBJECTS {
            return None;
        }
        self.subjects.insert(subject.clone(), now);
        wait_within(limit, now, now, wait)
    }

    /// Whether the stream of this subject has failed since the subject's last success.
    pub(super) fn is_failing(&self, subject: &Subject) -> bool {
        self.subjects.contains_key(subject)
    }

    pub(super) fn succeeded(&mut self, subject: &Subject) {
        self.failing_since = None;
        if !self.subjects.is_empty() {
            self.subjects.remove(subject);
        }
    }
}

fn wait_within(limit: Duration, since: Instant, now: Instant, wait: Duration) -> Option<Duration> {
    let failed_for = now.saturating_duration_since(since);
    (failed_for < limit).then(|| wait.clamp(MIN_WAIT, LOOK_AGAIN).min(limit - failed_for))
}
