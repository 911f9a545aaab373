//! The look-up of events whose acknowledgement was lost, and the setting for those that it can't find.

use jetsink::{NatsPublisher, RequestError, StreamContent, StreamName, StreamQuery, StreamStart};
use serde_json::Value;

use super::finding::{LookUpFinding, Removal};
use crate::spool::arguments::WhenUnconfirmed;

/// Checks whether a spool can look up events in a stream: reads the last message.
pub(super) async fn look_up(
    publisher: &NatsPublisher,
    stream: &StreamName,
    config: &Value,
    choice: WhenUnconfirmed,
) -> LookUpFinding {
    let read = read_last(publisher, stream).await;
    judge(stream.as_str(), config, read.err().as_ref(), choice)
}

async fn read_last(publisher: &NatsPublisher, stream: &StreamName) -> Result<(), RequestError> {
    let last = StreamQuery::new(StreamContent::HeadersOnly).start(StreamStart::Last(1));
    let mut reader = publisher.admin().read_stream(stream, last).await?;
    let read = reader.next().await;
    reader.close().await;
    read.map(|_| ())
}

fn judge(
    stream: &str,
    config: &Value,
    unreadable: Option<&RequestError>,
    choice: WhenUnconfirmed,
) -> LookUpFinding {
    let stream = stream.to_owned();
    if let Some(error) = unreadable {
        return LookUpFinding::Impossible {
            stream,
            error: error.to_string(),
            choice,
        };
    }
    match removal(config) {
        None => LookUpFinding::Possible { stream, choice },
        Some(removal) => LookUpFinding::Incomplete {
            stream,
            removal,
            choice,
        },
    }
}

/// How the stream removes events before they are old.
fn removal(config: &Value) -> Option<Removal> {
    let limit = |name: &str| config[name].as_i64().filter(|limit| *limit > 0);
    if !matches!(config["retention"].as_str(), None | Some("limits")) {
        return Some(Removal::Consumed);
    }
    let discards_old = config["discard"].as_str() != Some("new");
    if let Some(kept) = limit("max_msgs_per_subject")
        && (discards_old || config["discard_new_per_subject"].as_bool() != Some(true))
    {
        return Some(Removal::PerSubject(kept));
    }
    let is_limited = limit("max_msgs").or(limit("max_bytes")).is_some();
    (discards_old && is_limited).then_some(Removal::Oldest)
}

#[cfg(test)]
#[path = "tests/look_up.rs"]
mod tests;
