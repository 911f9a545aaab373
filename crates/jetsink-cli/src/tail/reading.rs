//! The one reader of a stream at a time: opening another one deletes the consumer of the one before.

use std::sync::Arc;
use std::time::Duration;

use jetsink::{
    NatsPublisher, RequestError, StoredEvent, StreamContent, StreamQuery, StreamReader, StreamStart,
};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::plan::Plan;

/// The longest wait for a consumer that is being created while the command ends.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) struct Reading<'a> {
    pub(super) plan: &'a Plan,
    publisher: Arc<NatsPublisher>,
    /// The stream's creation time, as the first reader saw it.
    pub(super) created: Option<String>,
    reader: Option<StreamReader>,
    /// A task, so that a consumer that is being created when the command ends is deleted, too.
    opening: Option<JoinHandle<Result<StreamReader, RequestError>>>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(publisher: NatsPublisher, plan: &'a Plan) -> Self {
        Self {
            plan,
            publisher: Arc::new(publisher),
            created: None,
            reader: None,
            opening: None,
        }
    }

    /// Replaces the reader.
    pub(super) async fn open(
        &mut self,
        start: StreamStart,
        follows: bool,
    ) -> Result<&mut StreamReader, RequestError> {
        self.close_reader().await;
        let query = StreamQuery::new(StreamContent::Full)
            .start(start)
            .follow(follows)
            .subjects(self.plan.filter.at_the_broker().iter().cloned());
        let (publisher, stream) = (Arc::clone(&self.publisher), self.plan.stream.clone());
        let opening =
            tokio::spawn(async move { publisher.admin().read_stream(&stream, query).await });
        let opened = self.opening.insert(opening).await;
        self.opening = None;
        let reader = opened.map_err(|_| RequestError::NotConnected)??;
        self.created
            .get_or_insert_with(|| reader.stream_created().to_owned());
        Ok(self.reader.insert(reader))
    }

    pub(super) async fn next(&mut self) -> Result<Option<StoredEvent>, RequestError> {
        match &mut self.reader {
            Some(reader) => reader.next().await,
            None => Ok(None),
        }
    }

    /// The open reader.
    pub(super) fn reader(&self) -> Option<&StreamReader> {
        self.reader.as_ref()
    }

    /// Drops a reader whose connection was lost: its consumer can't be deleted now.
    pub(super) fn abandon(&mut self) {
        self.reader = None;
    }

    /// The reason why there is no connection, if that is known.
    pub(super) fn connect_error(&self) -> Option<String> {
        let error = self.publisher.connect_error();
        error.map(|error| error.to_string())
    }

    /// Deletes the consumer.
    pub(super) async fn close_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.close().await;
        }
    }

    /// Deletes the consumer, also one that is being created.
    pub(super) async fn close(mut self) {
        if let Some(opening) = self.opening.take()
            && let Ok(Ok(Ok(reader))) = timeout(CLOSE_TIMEOUT, opening).await
        {
            self.reader = Some(reader);
        }
        self.close_reader().await;
    }
}
