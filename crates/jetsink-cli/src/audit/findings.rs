//! The findings of an audit against files, as text and as JSON.

use jetsink::{StreamName, StreamReader};
use serde::Serialize;
use serde_json::json;

use super::found::Found;
use crate::output;

#[derive(Debug, Serialize)]
pub(super) struct Message {
    pub(super) sequence: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message_id: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Event {
    pub(super) file: String,
    pub(super) line: u64,
    pub(super) source: String,
    pub(super) id: String,
    /// The message that has its source and id, and other bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sequence: Option<u64>,
}

/// The extent of a stream when it was read.
#[derive(Debug, Default, Serialize)]
pub(super) struct StreamExtent {
    pub(super) stream: String,
    pub(super) messages: u64,
    pub(super) first_sequence: u64,
    last_sequence: u64,
    /// Sequence numbers without a message: removed by limits, a purge or single deletions, before or
    /// while the stream was read.
    removed: u64,
}

impl StreamExtent {
    pub(super) fn new(stream: &StreamName, messages: u64, reader: &StreamReader) -> Self {
        Self {
            stream: stream.to_string(),
            messages,
            first_sequence: reader.first_sequence(),
            last_sequence: reader.last_sequence(),
            removed: reader.last_sequence().saturating_sub(messages),
        }
    }

    pub(super) fn print_removed(&self) {
        if self.removed > 0 {
            output::print(&format!(
                "removed: {} of {} (by limits, a purge, or one by one): missing events may be among them",
                self.removed,
                output::counted(self.last_sequence, "message"),
            ));
        }
    }
}

/// A stream compared with files.
#[derive(Debug, Default, Serialize)]
pub(super) struct Findings {
    #[serde(flatten)]
    pub(super) extent: StreamExtent,
    pub(super) lines: usize,
    pub(super) lost: Found<Event>,
    pub(super) altered: Found<Event>,
    pub(super) duplicated: Found<Message>,
    pub(super) out_of_order: Found<Message>,
    pub(super) unexpected: Found<Message>,
}

impl Findings {
    pub(super) fn is_clean(&self) -> bool {
        let events = self.lost.count + self.altered.count;
        events + self.duplicated.count + self.out_of_order.count + self.unexpected.count == 0
    }

    /// Adds messages, and keeps the list in the stream's order.
    pub(super) fn add_unexpected(&mut self, sequences: &[u64], max: usize) {
        self.unexpected.count += sequences.len();
        let listed = &mut self.unexpected.listed;
        listed.extend(sequences.iter().take(max).map(|&sequence| Message {
            sequence,
            subject: None,
            message_id: None,
        }));
        listed.sort_by_key(|message| message.sequence);
        listed.truncate(max);
    }

    pub(super) fn print(&self, as_json: bool) {
        if as_json {
            output::print(&json!(self).to_string());
            return;
        }
        output::print(&format!(
            "{}: {} for {}: {} lost, {} altered, {} duplicated, {} out of order, {} unexpected",
            self.extent.stream,
            output::counted(self.extent.messages, "message"),
            output::counted(self.lines as u64, "line"),
            self.lost.count,
            self.altered.count,
            self.duplicated.count,
            self.out_of_order.count,
            self.unexpected.count,
        ));
        self.extent.print_removed();
        list("lost", &self.lost, event);
        list("altered", &self.altered, event);
        list("duplicated", &self.duplicated, message);
        list("out of order", &self.out_of_order, message);
        list("unexpected", &self.unexpected, message);
    }
}

fn list<T>(kind: &str, found: &Found<T>, shown: impl Fn(&T) -> String) {
    for finding in &found.listed {
        output::print(&format!("{kind}: {}", shown(finding)));
    }
    let more = found.count - found.listed.len();
    if more > 0 {
        output::print(&format!("{kind}: {more} more; --show {}", found.count));
    }
}

fn event(event: &Event) -> String {
    let Event {
        file,
        line,
        source,
        id,
        sequence,
    } = event;
    let place = format!("{file}:{line}, source {source}, id {id}");
    match sequence {
        None => place,
        Some(sequence) => format!("{place}; message {sequence} has other bytes"),
    }
}

fn message(message: &Message) -> String {
    let mut text = format!("message {}", message.sequence);
    if let Some(subject) = &message.subject {
        text += &format!(", subject {subject}");
    }
    if let Some(id) = &message.message_id {
        text += &format!(", message id {id}");
    }
    text
}
