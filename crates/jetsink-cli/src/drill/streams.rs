//! Reads the streams of a drill.

use jetsink::{Binding, NatsPublisher, StreamContent, StreamName, StreamQuery, StreamStart};

use super::event::{Events, Stored};
use crate::failure::Failure;

/// Returns the stream that captures the load's subject.
pub(super) async fn capturing(
    reader: &NatsPublisher,
    binding: &Binding,
    events: &Events,
) -> Result<StreamName, Failure> {
    let event = binding.envelope(events.event(0, 0).into());
    let event = event.map_err(|error| Failure::Usage(format!("--subject: {error}")))?;
    let subject = event.subject().as_str();
    let failed = |error| Failure::Read {
        stream: format!("for {subject}"),
        error,
    };
    let names = reader.admin().stream_names(subject).await.map_err(failed)?;
    match names.as_slice() {
        [stream] => Ok(stream.clone()),
        [] => Err(Failure::Usage(format!(
            "--subject: no stream captures {subject}; jetsink stream apply makes one"
        ))),
        [first, second, ..] => Err(Failure::Usage(format!(
            "--subject: {first} and {second} both capture {subject}; choose a subject of one stream"
        ))),
    }
}

/// Returns the stream's last sequence. An error if consumers remove messages from the stream.
pub(super) async fn last_sequence(
    reader: &NatsPublisher,
    stream: &StreamName,
) -> Result<u64, Failure> {
    let info = reader.admin().stream_info(stream).await;
    let info = info.map_err(|error| Failure::Read {
        stream: stream.to_string(),
        error,
    })?;
    match info["config"]["retention"].as_str() {
        None | Some("limits") => Ok(info["state"]["last_seq"].as_u64().unwrap_or(0)),
        Some(retention) => Err(Failure::Usage(format!(
            "stream {stream} has {retention} retention: consumers remove its messages, so a loss can't be \
             detected; use a stream for the load alone"
        ))),
    }
}

/// Reads the events of a drill after the message `after`, in the stream's order.
pub(super) async fn read_back(
    reader: &NatsPublisher,
    stream: &StreamName,
    after: u64,
    events: &Events,
) -> Result<Vec<Stored>, Failure> {
    let failed = |error| Failure::Read {
        stream: stream.to_string(),
        error,
    };
    let query = StreamQuery::new(StreamContent::Full).start(StreamStart::Sequence(after + 1));
    let mut messages = reader
        .admin()
        .read_stream(stream, query)
        .await
        .map_err(failed)?;
    if after > 0 && messages.first_sequence() > after + 1 {
        return Err(Failure::Usage(format!(
            "stream {stream} has removed messages since the drill began, by its limits or a purge, so a \
             loss can't be detected; use a stream that keeps them"
        )));
    }
    let mut stored = Vec::new();
    while let Some(message) = messages.next().await.map_err(failed)? {
        stored.extend(events.recognize(&message.payload));
    }
    Ok(stored)
}
