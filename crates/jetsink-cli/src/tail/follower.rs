//! Shows a stream's events and continues after lost connections.

use std::ops::ControlFlow;
use std::time::{Duration, SystemTime};

use jetsink::{NatsPublisher, RequestError, StoredEvent, StreamStart};
use tokio::time::{Instant, sleep, timeout};

use super::content::Content;
use super::line::{header, line};
use super::plan::{Plan, Start};
use super::reading::Reading;
use super::{history, screen};
use crate::connection::environment;
use crate::failure::Failure;
use crate::output;

/// The first and the longest wait between two tries to continue.
const WAITS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// The time that events stored just before `--until` have to arrive.
const GRACE: Duration = Duration::from_secs(1);

pub(super) struct Follower<'a> {
    plan: &'a Plan,
    reading: Reading<'a>,
    /// The position of the next message.
    next: Start,
    shown: u64,
}

impl<'a> Follower<'a> {
    pub(super) fn new(publisher: NatsPublisher, plan: &'a Plan) -> Self {
        Self {
            plan,
            reading: Reading::new(publisher, plan),
            next: plan.start,
            shown: 0,
        }
    }

    /// Shows events until the last one, or until standard output is closed.
    pub(super) async fn run(&mut self) -> Result<(), Failure> {
        loop {
            match self.read().await {
                Ok(()) => return Ok(()),
                Err(error)
                    if is_lost_connection(&error)
                        || (self.reading.created.is_some() && error.is_transient()) =>
                {
                    if self.is_over() {
                        return Err(self.broken_off(error));
                    }
                    let resuming = resuming(self.next);
                    output::note(&format!("{error}; {resuming} once that is possible"));
                    self.wait_for_stream().await?;
                    output::note(&resuming);
                }
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    /// Deletes the consumer.
    pub(super) async fn close(self) {
        self.reading.close().await;
    }

    fn failed(&self, error: RequestError) -> Failure {
        Failure::Read {
            stream: self.plan.stream.to_string(),
            error,
        }
    }

    /// The error of a reading that could continue later, but has no time left.
    fn broken_off(&self, error: RequestError) -> Failure {
        Failure::BrokenOff {
            stream: self.plan.stream.to_string(),
            error,
        }
    }

    /// Whether all wanted events are stored already: then the command does not wait for the broker.
    fn is_over(&self) -> bool {
        let until = self.plan.filter.until;
        let since = until.and_then(|until| SystemTime::now().duration_since(until).ok());
        !self.plan.follows || since.is_some_and(|since| since > GRACE)
    }

    /// Waits until the stream can be read, in growing intervals, at most until `--until`. Returns an
    /// error that waiting does not resolve.
    async fn wait_for_stream(&mut self) -> Result<(), Failure> {
        self.reading.abandon();
        let mut wait = WAITS.0;
        let mut noted = None;
        loop {
            sleep(wait).await;
            wait = (wait * 2).min(WAITS.1);
            match self.reading.open(StreamStart::New, false).await {
                Ok(_) => {
                    self.check_stream();
                    return Ok(());
                }
                Err(error) if is_lost_connection(&error) || error.is_transient() => {
                    if self.is_over() {
                        return Err(self.broken_off(error));
                    }
                }
                Err(error) => return Err(self.failed(error)),
            }
            // For instance a login that has been revoked. Each reason is reported once.
            let reason = self.reading.connect_error();
            if let Some(text) = &reason
                && reason != noted
            {
                output::note(text);
                noted = reason;
            }
        }
    }

    /// Corrects the position if it does not fit the stream any more. The sequence numbers of a stream
    /// that was deleted and created again start at 1; a stream that lost its last messages, such as in
    /// a power failure, assigns their numbers again.
    fn check_stream(&mut self) {
        let Some(reader) = self.reading.reader() else {
            return;
        };
        let stream = &self.plan.stream;
        let created = Some(reader.stream_created().to_owned());
        if self.reading.created.is_some() && self.reading.created != created {
            output::note(&format!(
                "{stream} was deleted and created again: reading it from its first message"
            ));
            self.reading.created = created;
            self.next = Start::At(StreamStart::First);
        } else if let Start::At(StreamStart::Sequence(next)) = self.next
            && reader.last_sequence() < next.saturating_sub(1)
        {
            let last = reader.last_sequence();
            output::note(&format!(
                "{stream} ends with message {last} now: it lost the messages after that one"
            ));
            self.next = Start::At(StreamStart::Sequence(last + 1));
        }
    }

    async fn read(&mut self) -> Result<(), RequestError> {
        if let Start::Last(max) = self.next {
            let (found, next) = history::last(&mut self.reading, max).await?;
            self.next = Start::At(StreamStart::Sequence(next));
            for message in &found {
                if self.show(message).is_break() {
                    return Ok(());
                }
            }
            // Messages that were stored meanwhile come after them.
            if !self.plan.follows {
                return Ok(());
            }
        }
        let Start::At(start) = self.next else {
            return Ok(());
        };
        let follows = self.plan.follows;
        let reader = self.reading.open(start, follows).await?;
        let behind = reader.last_sequence() + 1;
        if start == StreamStart::New {
            self.next = Start::At(StreamStart::Sequence(behind));
        }
        let deadline = self.deadline();
        loop {
            let next = match deadline {
                None => self.reading.next().await?,
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    match timeout(left.max(GRACE), self.reading.next()).await {
                        Ok(next) => next?,
                        // Messages are pending: their times decide.
                        Err(_) if self.reading.reader().is_some_and(|r| r.waiting() > 0) => {
                            continue;
                        }
                        Err(_) => None,
                    }
                }
            };
            let Some(message) = next else {
                return Ok(());
            };
            self.next = Start::At(StreamStart::Sequence(message.sequence + 1));
            if self.show(&message).is_break() {
                return Ok(());
            }
        }
    }

    /// `--until` by the local clock; message times are the server's.
    fn deadline(&self) -> Option<Instant> {
        let until = self.plan.filter.until.filter(|_| self.plan.follows)?;
        let left = until.duration_since(SystemTime::now()).unwrap_or_default();
        Instant::now().checked_add(left + GRACE)
    }

    /// Shows a message that passes the filter. Breaks when no more are wanted.
    fn show(&mut self, message: &StoredEvent) -> ControlFlow<()> {
        let content = Content::of(message);
        if self.plan.filter.passes(message, &content) {
            let look = screen::look(self.plan.json, environment);
            let header = header(look).filter(|_| self.shown == 0);
            let text = line(message, &content, look);
            if !header.is_none_or(|header| output::print(&header)) || !output::print(&text) {
                return ControlFlow::Break(());
            }
            self.shown += 1;
        }
        let enough = self.plan.max.is_some_and(|max| self.shown >= max);
        let over = self
            .plan
            .filter
            .until
            .is_some_and(|until| message.stored_at > until);
        if enough || over {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

/// The position from which reading resumes, for the user.
fn resuming(next: Start) -> String {
    match next {
        Start::At(StreamStart::Sequence(next)) if next > 1 => {
            format!("resuming after message {}", next - 1)
        }
        Start::At(StreamStart::Sequence(_)) => "resuming from the beginning".to_owned(),
        Start::At(_) | Start::Last(_) => "starting again".to_owned(),
    }
}

/// Whether the error only says that there is no connection, or a broken one.
fn is_lost_connection(error: &RequestError) -> bool {
    matches!(
        error,
        RequestError::NotConnected | RequestError::ConnectionLost | RequestError::NoAnswer { .. }
    )
}

#[cfg(test)]
#[path = "tests/follower.rs"]
mod tests;
