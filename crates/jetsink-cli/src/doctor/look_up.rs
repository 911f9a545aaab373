//! The look-up of events whose acknowledgement was lost, and the setting for those that it can't find.

use jetsink::{
    NatsPublisher, PublishError, StreamContent, StreamName, StreamQuery, StreamStart,
    WhenUnconfirmed,
};
use serde_json::Value;

use super::finding::Finding;

/// Checks whether a spool can look up events in a stream: reads the last message.
pub(super) async fn look_up(
    publisher: &NatsPublisher,
    stream: &StreamName,
    config: &Value,
    choice: WhenUnconfirmed,
) -> Finding {
    let read = read_last(publisher, stream).await;
    judge(stream.as_str(), config, read.err().as_ref(), choice)
}

async fn read_last(publisher: &NatsPublisher, stream: &StreamName) -> Result<(), PublishError> {
    let last = StreamQuery::new(StreamContent::HeadersOnly).start(StreamStart::Last(1));
    let mut reader = publisher.admin().read_stream(stream, last).await?;
    let read = reader.next().await;
    reader.close().await;
    read.map(|_| ())
}

fn judge(
    stream: &str,
    config: &Value,
    unreadable: Option<&PublishError>,
    choice: WhenUnconfirmed,
) -> Finding {
    if let Some(error) = unreadable {
        return Finding::warning(
            "look-up.impossible",
            format!(
                "stream {stream} can't be read ({error}), so a spool can't look up events whose acknowledgement was \
                 lost. {}",
                effect(choice)
            ),
            format!(
                "grant publish on $JS.API.STREAM.INFO.{stream}, $JS.API.CONSUMER.CREATE.{stream} and $JS.FC.>"
            ),
        );
    }
    let Some(reason) = removal(config) else {
        return Finding::ok(
            "look-up",
            format!(
                "a spool can look up events of stream {stream} whose acknowledgement was lost. when-unconfirmed ({}) \
                 decides only if messages are removed or too old by then, or the stream is silent for 10 minutes",
                name(choice)
            ),
        );
    };
    Finding::warning(
        "look-up.incomplete",
        format!(
            "stream {stream} {reason}, so a spool may not find an event whose acknowledgement was lost. {}",
            effect(choice)
        ),
        format!("remove that limit of stream {stream}, or choose --when-unconfirmed for the spool"),
    )
}

/// How the stream removes events before they are old.
fn removal(config: &Value) -> Option<String> {
    let limit = |name: &str| config[name].as_i64().filter(|limit| *limit > 0);
    if !matches!(config["retention"].as_str(), None | Some("limits")) {
        return Some("removes consumed events".to_owned());
    }
    let discards_old = config["discard"].as_str() != Some("new");
    if let Some(kept) = limit("max_msgs_per_subject")
        && (discards_old || config["discard_new_per_subject"].as_bool() != Some(true))
    {
        return Some(format!("keeps {kept} events of a subject"));
    }
    let is_limited = limit("max_msgs").or(limit("max_bytes")).is_some();
    (discards_old && is_limited).then(|| "removes its oldest events when it is full".to_owned())
}

fn name(choice: WhenUnconfirmed) -> &'static str {
    match choice {
        WhenUnconfirmed::Deliver => "deliver",
        WhenUnconfirmed::Hold => "hold",
    }
}

/// The effect of the setting on such an event.
pub(super) fn effect(choice: WhenUnconfirmed) -> &'static str {
    match choice {
        WhenUnconfirmed::Deliver => {
            "Such an event is sent again, and may be stored twice (when-unconfirmed deliver)"
        }
        WhenUnconfirmed::Hold => {
            "Such an event stays in the spool, and its subject waits (when-unconfirmed hold)"
        }
    }
}

#[cfg(test)]
#[path = "tests/look_up.rs"]
mod tests;
