//! Goes through a stream and on, over lost connections.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jetsink::{
    NatsPublisher, PublishError, StoredEvent, StreamQuery, StreamReader, StreamReading, StreamStart,
};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::content::Content;
use super::line::line;
use super::{GRACE, Plan, Start, history, screen};
use crate::connection::environment;
use crate::failure::Failure;
use crate::output;

/// The first and the longest wait between two tries to go on.
const WAITS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// The longest that a consumer is waited for which is being made while the command ends.
const TIME_TO_CLOSE: Duration = Duration::from_secs(1);

pub(super) struct Follower<'a> {
    pub(super) plan: &'a Plan,
    publisher: Arc<NatsPublisher>,
    start: Start,
    /// When the stream was created, as far as anything of it was seen.
    created: Option<String>,
    reader: Option<StreamReader>,
    /// A task, so that a reader that is being made when the command ends is not lost sight of.
    opening: Option<JoinHandle<Result<StreamReader, PublishError>>>,
    shown: u64,
}

/// Whether there is more to do.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    More,
    Done,
}

impl<'a> Follower<'a> {
    pub(super) fn new(publisher: NatsPublisher, plan: &'a Plan) -> Self {
        Self {
            plan,
            publisher: Arc::new(publisher),
            start: plan.start,
            created: None,
            reader: None,
            opening: None,
            shown: 0,
        }
    }

    /// Until there is no more, or nobody who reads it.
    pub(super) async fn run(&mut self) -> Result<(), Failure> {
        loop {
            match self.go_through().await {
                Ok(()) => return Ok(()),
                Err(error)
                    if was_lost(&error) || (self.created.is_some() && error.is_transient()) =>
                {
                    if self.is_over() {
                        return Err(self.broken_off(error));
                    }
                    let place = place(self.start);
                    output::note(&format!("{error}; {place} once that is possible"));
                    self.wait_until_it_is_there().await?;
                    output::note(&place);
                }
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    /// Deletes the consumer.
    pub(super) async fn close(mut self) {
        if let Some(opening) = self.opening.take()
            && let Ok(Ok(Ok(reader))) = timeout(TIME_TO_CLOSE, opening).await
        {
            self.reader = Some(reader);
        }
        self.close_reader().await;
    }

    pub(super) async fn close_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.close().await;
        }
    }

    fn failed(&self, error: PublishError) -> Failure {
        Failure::Read {
            stream: self.plan.stream.to_string(),
            error,
        }
    }

    /// As `failed`, of what is a matter of time that there is none for.
    fn broken_off(&self, error: PublishError) -> Failure {
        Failure::BrokenOff {
            stream: self.plan.stream.to_string(),
            error,
        }
    }

    /// Whether nothing is shown any more that is not stored yet, so that nobody waits for the broker.
    fn is_over(&self) -> bool {
        let until = self.plan.filter.until;
        let since = until.and_then(|until| SystemTime::now().duration_since(until).ok());
        !self.plan.follows || since.is_some_and(|since| since > GRACE)
    }

    /// Makes a reader, and gives it the place of the one before.
    pub(super) async fn open(
        &mut self,
        start: StreamStart,
        follows: bool,
    ) -> Result<&mut StreamReader, PublishError> {
        self.close_reader().await;
        let mut query = StreamQuery::new(StreamReading::Whole)
            .start(start)
            .subjects(self.plan.filter.at_the_broker());
        if follows {
            query = query.following();
        }
        let (publisher, stream) = (Arc::clone(&self.publisher), self.plan.stream.clone());
        let opening =
            tokio::spawn(async move { publisher.admin().read_stream(&stream, query).await });
        let opened = self.opening.insert(opening).await;
        self.opening = None;
        let reader = opened.map_err(|_| PublishError::NotConnected)??;
        self.created
            .get_or_insert_with(|| reader.stream_created().to_owned());
        Ok(self.reader.insert(reader))
    }

    pub(super) async fn next(&mut self) -> Result<Option<StoredEvent>, PublishError> {
        match &mut self.reader {
            Some(reader) => reader.next().await,
            None => Ok(None),
        }
    }

    /// Tries in growing intervals, until `--until`; what is not a matter of time is an error.
    async fn wait_until_it_is_there(&mut self) -> Result<(), Failure> {
        self.reader = None;
        let mut wait = WAITS.0;
        let mut told = None;
        loop {
            sleep(wait).await;
            wait = (wait * 2).min(WAITS.1);
            match self.open(StreamStart::New, false).await {
                Ok(_) => return self.same_stream(),
                Err(error) if was_lost(&error) || error.is_transient() => {
                    if self.is_over() {
                        return Err(self.broken_off(error));
                    }
                }
                Err(error) => return Err(self.failed(error)),
            }
            // A login that is no longer good, for instance; the reason why nothing is there is told once.
            let reason = self
                .publisher
                .connect_error()
                .map(|error| error.to_string());
            if let Some(text) = &reason
                && reason != told
            {
                output::note(text);
                told = reason;
            }
        }
    }

    /// Sequence numbers begin anew in a stream that was made anew, and one that lost its end (a power
    /// cut) gives the numbers that were shown to others.
    fn same_stream(&mut self) -> Result<(), Failure> {
        let Some(reader) = &self.reader else {
            return Ok(());
        };
        let stream = &self.plan.stream;
        let created = Some(reader.stream_created().to_owned());
        if self.created.is_some() && self.created != created {
            output::note(&format!(
                "{stream} was made anew meanwhile: from its first message"
            ));
            self.created = created;
            self.start = Start::At(StreamStart::First);
        } else if let Start::At(StreamStart::Sequence(next)) = self.start
            && reader.last_sequence() < next.saturating_sub(1)
        {
            let last = reader.last_sequence();
            output::note(&format!(
                "{stream} ends with message {last} now, what came behind it is lost"
            ));
            self.start = Start::At(StreamStart::Sequence(last + 1));
        }
        Ok(())
    }

    async fn go_through(&mut self) -> Result<(), PublishError> {
        if let Start::Last(most) = self.start {
            let (found, next) = history::last(self, most).await?;
            self.start = Start::At(StreamStart::Sequence(next));
            for message in &found {
                if self.show(message) == Turn::Done {
                    return Ok(());
                }
            }
            // What was stored meanwhile is behind the end that was looked for.
            if !self.plan.follows {
                return Ok(());
            }
        }
        let Start::At(start) = self.start else {
            return Ok(());
        };
        let follows = self.plan.follows;
        let reader = self.open(start, follows).await?;
        let behind = reader.last_sequence() + 1;
        if start == StreamStart::New {
            self.start = Start::At(StreamStart::Sequence(behind));
        }
        let deadline = self.deadline();
        loop {
            let next = match deadline {
                None => self.next().await?,
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    // Where much is waiting, its end is told by the messages.
                    let next = timeout(left.max(GRACE), self.next()).await;
                    match next {
                        Ok(next) => next?,
                        Err(_) if self.reader.as_ref().is_some_and(|r| r.waiting() > 0) => continue,
                        Err(_) => None,
                    }
                }
            };
            let Some(message) = next else {
                return Ok(());
            };
            self.start = Start::At(StreamStart::Sequence(message.sequence + 1));
            if self.show(&message) == Turn::Done {
                return Ok(());
            }
        }
    }

    /// By our clock; the messages tell it by the server's.
    fn deadline(&self) -> Option<Instant> {
        let until = self.plan.filter.until.filter(|_| self.plan.follows)?;
        let left = until.duration_since(SystemTime::now()).unwrap_or_default();
        Instant::now().checked_add(left + GRACE)
    }

    fn show(&mut self, message: &StoredEvent) -> Turn {
        let content = Content::of(message);
        if self.plan.filter.passes(message, &content) {
            let look = screen::look(self.plan.json, environment);
            if !output::print(&line(message, &content, look)) {
                return Turn::Done;
            }
            self.shown += 1;
        }
        let enough = self.plan.most.is_some_and(|most| self.shown >= most);
        let over = self
            .plan
            .filter
            .until
            .is_some_and(|until| message.stored_at > until);
        if enough || over {
            Turn::Done
        } else {
            Turn::More
        }
    }
}

/// Where it goes on.
fn place(start: Start) -> String {
    match start {
        Start::At(StreamStart::Sequence(next)) if next > 1 => {
            format!("going on behind message {}", next - 1)
        }
        Start::At(StreamStart::Sequence(_)) => "going on from the beginning".to_owned(),
        Start::At(_) | Start::Last(_) => "beginning again".to_owned(),
    }
}

/// Whether it says nothing but that there is no connection, or a broken one.
fn was_lost(error: &PublishError) -> bool {
    matches!(
        error,
        PublishError::NotConnected
            | PublishError::ConnectionLost
            | PublishError::ClientBusy
            | PublishError::AckTimeout { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_no_message_0_to_go_on_behind() {
        let behind = |next| place(Start::At(StreamStart::Sequence(next)));
        assert_eq!(behind(0), "going on from the beginning");
        assert_eq!(behind(1), "going on from the beginning");
        assert_eq!(behind(2), "going on behind message 1");
        assert_eq!(place(Start::Last(3)), "beginning again");
    }
}
