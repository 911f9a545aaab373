//! Parses a stored message: an event in either content mode, or another message.

use jetsink::{CloudEvent, StoredEvent, Validation};

/// The tenant of an event whose tenant cannot be read.
const UNREADABLE: &str = "(unreadable)";

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    Event(Event),
    Other,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// On one line.
    pub(super) json: Vec<u8>,
    pub(super) tenant: Option<String>,
    pub(super) event_type: String,
    pub(super) source: String,
    pub(super) id: String,
}

impl Content {
    /// A payload that is an event counts as one regardless of the headers: some publishers omit them.
    pub(super) fn of(message: &StoredEvent) -> Self {
        let json = if message.is_binary {
            message.event_json().ok()
        } else {
            Some(on_one_line(&message.payload))
        };
        json.and_then(Event::read).map_or(Self::Other, Self::Event)
    }
}

/// Replaces line breaks. In JSON they occur only between tokens; other payloads are not shown as JSON.
fn on_one_line(payload: &[u8]) -> Vec<u8> {
    let space = |&byte: &u8| {
        if matches!(byte, b'\n' | b'\r') {
            b' '
        } else {
            byte
        }
    };
    payload.iter().map(space).collect()
}

impl Event {
    fn read(json: Vec<u8>) -> Option<Self> {
        // Other publishers may have stored it.
        let event = CloudEvent::from_json_with(&json, Validation::Lenient).ok()?;
        let tenant = event
            .tenant()
            .unwrap_or_else(|_| Some(UNREADABLE.to_owned()));
        let event_type = event.event_type().to_owned();
        let (source, id) = (event.source().to_owned(), event.id().to_owned());
        Some(Self {
            json,
            tenant,
            event_type,
            source,
            id,
        })
    }
}
