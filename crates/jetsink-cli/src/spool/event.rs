//! Spooled events and dead letters as text and as JSON.

use jetsink::{DeadLetter, SpooledEvent};
use serde_json::json;

use crate::units::format_time;

/// One line per event.
pub(super) fn event_line(event: &SpooledEvent) -> String {
    let envelope = &event.envelope;
    format!(
        "{:>10} {} {} {} {} bytes{}",
        event.index,
        format_time(event.spooled_at),
        envelope.subject(),
        envelope.message_id().map_or("-", |id| id.as_str()),
        envelope.payload().len(),
        if event.may_be_stored {
            " (may be stored)"
        } else {
            ""
        }
    )
}

/// One JSON object per event.
pub(super) fn event_json(event: &SpooledEvent) -> serde_json::Value {
    let envelope = &event.envelope;
    json!({
        "index": event.index,
        "spooled_at": format_time(event.spooled_at),
        "subject": envelope.subject().as_str(),
        "message_id": envelope.message_id().map(|id| id.as_str()),
        "bytes": envelope.payload().len(),
        "may_be_stored": event.may_be_stored,
    })
}

/// Two lines per dead letter: the event, and the reason.
pub(super) fn dead_letter_lines(letter: &DeadLetter) -> String {
    let died = format_time(letter.died_at);
    format!(
        "{}\n{:>10} {died} {}",
        event_line(&letter.event),
        "died",
        letter.reason
    )
}

/// One JSON object per dead letter.
pub(super) fn dead_letter_json(letter: &DeadLetter) -> serde_json::Value {
    let mut json = event_json(&letter.event);
    json["died_at"] = format_time(letter.died_at).into();
    json["code"] = letter.code.into();
    json["reason"] = letter.reason.clone().into();
    json
}
