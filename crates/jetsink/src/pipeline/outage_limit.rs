//! How long a pipeline tries a failing broker, or a stream without a leader, before the failure becomes the result.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::LOOK_AGAIN;
use crate::message::subject::Subject;
use crate::publisher::window::MAX_WINDOW;

/// The shortest wait: the circuit reports a wait of zero while a probe is in flight.
const MIN_WAIT: Duration = Duration::from_millis(1);

/// The maximum number of failing subjects that are tracked. An event of another one fails once its circuit is open.
const MAX_SUBJECTS: usize = 2 * MAX_WINDOW;

/// The longest time for which streams without a leader are tried: one of them must not stop the others for ever.
const MAX_STREAM_OUTAGE: Duration = Duration::from_secs(600);

/// The time of streams begins again after this multiple of its length. So streams that never recover cost a pipeline at
/// most a tenth of its time.
const RENEWED_AFTER: u32 = 10;

#[derive(Debug, Default)]
pub(super) struct OutageLimit {
    pub(super) limit: Duration,
    /// The first failure of the broker since the last success.
    failing_since: Option<Instant>,
    /// The first failure of a stream since a failing subject recovered. All streams share the time from then on.
    streams_failing_since: Option<Instant>,
    /// The subjects whose stream has failed since the subject's last success, and until when each is tried.
    subjects: HashMap<Subject, Instant>,
}

impl OutageLimit {
    /// The time to the next try of a failing broker; `None` once the maximum outage has passed.
    pub(super) fn next_try(&mut self, now: Instant, wait: Duration) -> Option<Duration> {
        let failing_since = *self.failing_since.get_or_insert(now);
        let failed_for = now.saturating_duration_since(failing_since);
        wait_within(self.limit.saturating_sub(failed_for), wait)
    }

    /// The time to the next try of a subject whose stream fails; `None` once the maximum outage has passed.
    pub(super) fn next_try_of(
        &mut self,
        subject: &Subject,
        now: Instant,
        wait: Duration,
    ) -> Option<Duration> {
        let until = match self.subjects.get(subject) {
            Some(until) if !self.is_renewed(*until, now) => *until,
            Some(_) | None => {
                let until = self.streams_until(now);
                self.track(subject, until, now);
                until
            }
        };
        wait_within(until.saturating_duration_since(now), wait)
    }

    fn stream_limit(&self) -> Duration {
        self.limit.min(MAX_STREAM_OUTAGE)
    }

    /// Whether the time of streams that ended at `until` has begun again.
    fn is_renewed(&self, until: Instant, now: Instant) -> bool {
        now >= until + self.stream_limit() * (RENEWED_AFTER - 1)
    }

    /// The time until which a subject is tried whose stream begins to fail at `now`.
    fn streams_until(&mut self, now: Instant) -> Instant {
        let limit = self.stream_limit();
        if let Some(since) = self.streams_failing_since
            && self.is_renewed(since + limit, now)
        {
            self.streams_failing_since = None;
        }
        *self.streams_failing_since.get_or_insert(now) + limit
    }

    fn track(&mut self, subject: &Subject, until: Instant, now: Instant) {
        if self.subjects.len() >= MAX_SUBJECTS {
            self.subjects.retain(|_, until| *until > now);
        }
        if self.subjects.len() < MAX_SUBJECTS {
            self.subjects.insert(subject.clone(), until);
        }
    }

    /// Whether the stream of this subject has failed since the subject's last success.
    pub(super) fn is_failing(&self, subject: &Subject) -> bool {
        self.subjects.contains_key(subject)
    }

    #[inline]
    pub(super) fn succeeded(&mut self) {
        self.failing_since = None;
    }

    /// Whether a subject has failed and not recovered.
    #[inline]
    pub(super) fn tracks_subjects(&self) -> bool {
        !self.subjects.is_empty()
    }

    /// An event of this subject was stored.
    pub(super) fn recovered(&mut self, subject: &Subject) {
        if self.subjects.remove(subject).is_some() {
            self.streams_failing_since = None;
        }
    }
}

/// A wait that ends within the time that is left; `None` if none is left.
fn wait_within(left: Duration, wait: Duration) -> Option<Duration> {
    (!left.is_zero()).then(|| wait.clamp(MIN_WAIT, LOOK_AGAIN).min(left))
}
