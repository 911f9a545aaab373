//! What a sink knows of itself, for the service that holds it.

use std::fmt;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Sink;
use crate::circuit::State;
use crate::message::subject::Subject;
use crate::outcome::LastFailure;
use crate::publisher::Publisher;
use crate::spool::SpoolStatus;

/// What a sink knows of itself at one moment, by [`Sink::status`]. `Display` is one line fit for a
/// log or a health page:
///
/// ```text
/// connected for 312 s; spool: 0 events, 0 of 1073741824 bytes, 0 dead letters
/// reconnecting for 12 s, 6 probes failed; last failure: no connection to the broker
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Status {
    /// The broker's circuit.
    pub broker: State,
    /// Since when it has been connected, or reconnecting; at first, when the sink was made.
    pub since: Instant,
    /// The last failure of the broker or of a subject, if there was one; also when all is well again.
    pub last_failure: Option<LastFailure>,
    /// Subjects whose own circuit is open, at most
    /// [`MOST_FAILING_SUBJECTS`](crate::MOST_FAILING_SUBJECTS), in their order.
    pub failing_subjects: Vec<(Subject, State)>,
    /// Emits under way, those in pipelines that have been sent among them.
    pub in_flight: usize,
    /// Events that a stream acknowledged during the sink's life, replayed ones among them.
    pub delivered: u64,
    /// What the spool holds; `None` without one.
    pub spool: Option<SpoolStatus>,
}

impl fmt::Display for Status {
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
        if let [(first, _), others @ ..] = &self.failing_subjects[..] {
            write!(f, "; {first} fails")?;
            if !others.is_empty() {
                write!(f, ", and {} other subjects", others.len())?;
            }
        }
        if let Some(spool) = &self.spool {
            let SpoolStatus {
                events,
                used_bytes,
                limit_bytes,
                dead_letters,
                ..
            } = spool;
            write!(
                f,
                "; spool: {events} events, {used_bytes} of {limit_bytes} bytes, \
                 {dead_letters} dead letters"
            )?;
        }
        Ok(())
    }
}

/// Waits for changes of a sink's [`Status`], by [`Sink::watch`].
pub struct StatusWatch<'a, P> {
    sink: &'a Sink<P>,
    changes: watch::Receiver<u64>,
}

impl<P: Publisher> Sink<P> {
    /// What the sink knows of itself now. Costs a few locks that nothing holds for long, so ask it
    /// for each request of a health page, not for each emit.
    #[must_use]
    pub fn status(&self) -> Status {
        let direct = self.direct();
        let now = Instant::now();
        let (since, last_failure) = direct.scopes().history().told();
        Status {
            broker: direct.state(),
            since,
            last_failure,
            failing_subjects: direct.scopes().failing_subjects(now),
            in_flight: self.emits().under_way(),
            delivered: direct.delivered(),
            spool: self.spool_status(),
        }
    }

    /// Tells of changes: a circuit that opens or closes, a probe that fails, and, within a second, a
    /// spool that is not empty any more, or is again.
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
    /// The status after the next change, or at once where something changed since the last call.
    /// Several changes in a row may be told as one.
    ///
    /// Cancellation-safe.
    pub async fn changed(&mut self) -> Status {
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
