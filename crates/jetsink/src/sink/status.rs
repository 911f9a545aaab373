//! The status of a sink, for the service that uses it.

use std::fmt;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Sink;
use crate::circuit::State;
use crate::message::subject::Subject;
use crate::outcome::{LastFailure, SpoolStatus};
use crate::publisher::Publisher;
use crate::replay::settings::WhenUnconfirmed;

/// The status of a sink at one moment, by [`Sink::status`]. `Display` is one line for a log or a health
/// page:
///
/// ```text
/// connected for 312 s; spool: 0 events, 0 of 1073741824 bytes, 0 dead letters
/// reconnecting for 12 s, 6 probes failed; last failure: no connection to the broker; it is away, out of reach, or refuses the login
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SinkStatus {
    /// The broker's circuit.
    pub broker: State,
    /// The time since which it has been connected or reconnecting; at first, when the sink was created.
    pub since: Instant,
    /// The last failure of the broker or of a subject, also after recovery; `None` without one.
    pub last_failure: Option<LastFailure>,
    /// Subjects whose own circuit is open, sorted: an arbitrary selection if there are more than
    /// [`MAX_LISTED_SUBJECTS`](crate::MAX_LISTED_SUBJECTS).
    pub failing_subjects: Vec<FailingSubject>,
    /// The number of subjects whose own circuit is open, at most
    /// [`MAX_FAILING_SUBJECTS`](crate::MAX_FAILING_SUBJECTS).
    pub failing_subject_count: usize,
    /// Emits in flight, including those of pipelines that were sent.
    pub in_flight: usize,
    /// Events that a stream has acknowledged for this sink, including replayed ones.
    pub delivered: u64,
    /// The contents of the spool in numbers; `None` without one.
    pub spool: Option<SpoolStatus>,
    /// The treatment of spooled events that may be stored already, if no look-up can tell; `None` without a spool.
    /// [`SpoolStatus::possible_duplicates`] and [`SpoolStatus::held_subjects`] show its effect.
    pub when_unconfirmed: Option<WhenUnconfirmed>,
}

/// A subject whose own circuit is open, by [`SinkStatus::failing_subjects`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailingSubject {
    /// The subject.
    pub subject: Subject,
    /// Its circuit.
    pub circuit: State,
}

impl fmt::Display for SinkStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lasted = self.since.elapsed().as_secs();
        match self.broker {
            State::Connected => write!(f, "connected for {lasted} s")?,
            State::Reconnecting {
                attempt, probing, ..
            } => {
                write!(f, "reconnecting for {lasted} s, {attempt} probes failed")?;
                if probing {
                    write!(f, ", probing")?;
                }
                if let Some(failure) = &self.last_failure {
                    write!(f, "; last failure: {}", failure.error)?;
                }
            }
        }
        if let Some(first) = self.failing_subjects.first() {
            write!(f, "; {} fails", first.subject)?;
            if self.failing_subject_count > 1 {
                write!(f, ", and {} other subjects", self.failing_subject_count - 1)?;
            }
        }
        if let Some(spool) = &self.spool {
            let SpoolStatus {
                events,
                used_bytes,
                limit_bytes,
                dead_letters,
                possible_duplicates,
                held_subjects,
                unreadable_segments,
                ..
            } = spool;
            write!(
                f,
                "; spool: {events} events, {used_bytes} of {limit_bytes} bytes, \
                 {dead_letters} dead letters"
            )?;
            if *possible_duplicates > 0 {
                write!(f, ", {possible_duplicates} possible duplicates")?;
            }
            if *held_subjects > 0 {
                write!(f, ", {held_subjects} held subjects")?;
            }
            if *unreadable_segments > 0 {
                write!(f, ", {unreadable_segments} unreadable segments")?;
            }
            if self.when_unconfirmed == Some(WhenUnconfirmed::Hold) {
                write!(f, ", unconfirmed events are held")?;
            }
        }
        Ok(())
    }
}

/// Waits for changes of a sink's [`SinkStatus`], by [`Sink::watch`].
pub struct StatusWatch<'a, P> {
    sink: &'a Sink<P>,
    changes: watch::Receiver<u64>,
}

impl<P: Publisher> Sink<P> {
    /// Returns the present status. Takes a few locks, each for a short time: call it per request of a
    /// health page, not per emit.
    #[must_use]
    pub fn status(&self) -> SinkStatus {
        let direct = self.direct();
        let now = Instant::now();
        let (since, last_failure) = direct.scopes().history().latest();
        SinkStatus {
            broker: direct.state(),
            since,
            last_failure,
            failing_subjects: direct
                .scopes()
                .failing_subjects(now)
                .into_iter()
                .map(|(subject, circuit)| FailingSubject { subject, circuit })
                .collect(),
            failing_subject_count: direct.scopes().failing_count(),
            in_flight: self.in_flight().count(),
            delivered: direct.delivered(),
            spool: self.spool_status(),
            when_unconfirmed: self.when_unconfirmed,
        }
    }

    /// Watches for changes: a circuit that opens or closes, a probe that fails and, within a second, a
    /// spool that becomes empty or non-empty.
    ///
    /// ```no_run
    /// # async fn example<P: jetsink::Publisher>(sink: std::sync::Arc<jetsink::Sink<P>>) {
    /// let mut watch = sink.watch();
    /// loop {
    ///     println!("{}", watch.changed().await);
    /// }
    /// # }
    /// ```
    pub fn watch(&self) -> StatusWatch<'_, P> {
        StatusWatch {
            sink: self,
            changes: self.direct().scopes().history().changes(),
        }
    }
}

impl<P: Publisher> StatusWatch<'_, P> {
    /// Returns the status after the next change, or at once if there was one since the last call.
    /// Several changes may be reported as one.
    ///
    /// Cancellation-safe.
    pub async fn changed(&mut self) -> SinkStatus {
        // The sender lives as long as the sink, which is borrowed.
        let _ = self.changes.changed().await;
        self.sink.status()
    }
}

impl<P> fmt::Debug for StatusWatch<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusWatch").finish_non_exhaustive()
    }
}
