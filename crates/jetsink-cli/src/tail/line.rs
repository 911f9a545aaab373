//! Formats a message as one line: for a terminal, for a pipe, or as JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jetsink::{StoredEvent, TENANT_ID_DEFAULT_TOKEN};
use serde::Serialize;
use serde_json::json;

use super::content::Content;
use super::text::{Cut, fitted, harmless, harmless_json, harmless_start};
use crate::units::format_time;

/// The type column of a message that is not an event.
const NO_EVENT: &str = "not a CloudEvent";

/// The number of characters of its payload that are shown.
const START: usize = 80;

/// The format of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Json,
    /// Whole columns with tabs between them.
    Tabs,
    /// Columns that fit the width.
    Terminal {
        width: usize,
        coloured: bool,
    },
}

pub(super) fn line(message: &StoredEvent, content: &Content, look: Look) -> String {
    match look {
        Look::Json => as_json(message, content),
        Look::Tabs => columns(message, content).join("\t"),
        Look::Terminal { width, coloured } => {
            on_terminal(&columns(message, content), width, coloured)
        }
    }
}

/// The line above the columns; on a terminal only.
pub(super) fn header(look: Look) -> Option<String> {
    let Look::Terminal { width, coloured } = look else {
        return None;
    };
    let names = ["TIME", "TENANT", "TYPE", "SOURCE", "ID"].map(str::to_owned);
    let header = on_terminal(&names, width, false);
    Some(match coloured {
        true => format!("\x1b[4m{header}\x1b[0m"),
        false => header,
    })
}

/// Time, tenant, type, source, id; for a message that is not an event, subject and beginning of the
/// payload instead of source and id.
fn columns(message: &StoredEvent, content: &Content) -> [String; 5] {
    let stored_at = format_time(message.stored_at);
    match content {
        Content::Event(event) => [
            stored_at,
            harmless(event.tenant.as_deref().unwrap_or(TENANT_ID_DEFAULT_TOKEN)),
            harmless(&event.event_type),
            harmless(&event.source),
            harmless(&event.id),
        ],
        Content::Other => [
            stored_at,
            "-".to_owned(),
            NO_EVENT.to_owned(),
            harmless(&message.subject),
            harmless_start(&message.payload, START),
        ],
    }
}

/// Month, day and time to the second; wider with its thousandths.
const SHORT_TIME: std::ops::Range<usize> = 5..19;
const LONG_TIME: std::ops::Range<usize> = 5..23;

fn on_terminal(
    [time, tenant, kind, source, id]: &[String; 5],
    width: usize,
    coloured: bool,
) -> String {
    let range = if width >= 110 { LONG_TIME } else { SHORT_TIME };
    let time = time
        .get(range.clone())
        .map_or_else(|| time.clone(), |time| time.replace('T', " "));
    // At 80: 14, 9, 29, 15, 9, and a space between them. Wider, the rest first makes the id whole.
    let room = width.saturating_sub(range.len() + 4);
    let of_tenant = (room / 7).clamp(6, 16);
    let of_source = (room / 4).clamp(8, 24);
    let rest = room.saturating_sub(of_tenant + of_source);
    let of_id = (rest / 4).max(rest.saturating_sub(52)).min(36);
    let of_type = rest.saturating_sub(of_id);
    let cells = [
        ("2", fitted(&time, range.len(), Cut::End)),
        ("36", fitted(tenant, of_tenant, Cut::End)),
        // Types differ at their ends.
        ("1", fitted(kind, of_type, Cut::Beginning)),
        ("", fitted(source, of_source, Cut::End)),
        ("2", fitted(id, of_id, Cut::End)),
    ];
    let shown = cells.map(|(style, text)| {
        let plain = !coloured || style.is_empty();
        if plain {
            text
        } else {
            format!("\x1b[{style}m{text}\x1b[0m")
        }
    });
    shown.join(" ").trim_end().to_owned()
}

/// The fields of `--json` before the event.
#[derive(Serialize)]
struct Described<'a> {
    sequence: u64,
    stored_at: String,
    subject: &'a str,
    message_id: Option<&'a str>,
}

fn as_json(message: &StoredEvent, content: &Content) -> String {
    let described = Described {
        sequence: message.sequence,
        stored_at: format_time(message.stored_at),
        subject: &message.subject,
        message_id: message.message_id.as_deref(),
    };
    // No text fails to be written as JSON.
    let mut text = serde_json::to_string(&described).unwrap_or_default();
    text.pop();
    match content {
        // In bytes as it is stored: it has more digits and another order than a value would keep.
        Content::Event(event) => {
            text += &format!(",\"event\":{}}}", String::from_utf8_lossy(&event.json));
        }
        Content::Other => {
            let (key, payload) = match std::str::from_utf8(&message.payload) {
                Ok(text) => ("payload", json!(text)),
                Err(_) => ("payload_base64", json!(STANDARD.encode(&message.payload))),
            };
            text += &format!(",\"event\":null,\"{key}\":{payload}}}");
        }
    }
    harmless_json(&text)
}

#[cfg(test)]
#[path = "tests/line.rs"]
mod tests;
