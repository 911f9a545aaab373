//! What an audit found, for people and for machines.

use serde::Serialize;
use serde_json::json;

use super::minted::{Minted, Sink};
use crate::output;

/// Findings of one kind: all are counted, some are listed.
#[derive(Debug, Serialize)]
pub(super) struct Found<T> {
    pub(super) count: usize,
    pub(super) listed: Vec<T>,
}

impl<T> Default for Found<T> {
    fn default() -> Self {
        Self {
            count: 0,
            listed: Vec::new(),
        }
    }
}

impl<T> Found<T> {
    pub(super) fn add(&mut self, most: usize, finding: impl FnOnce() -> T) {
        self.count += 1;
        if self.listed.len() < most {
            self.listed.push(finding());
        }
    }
}

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
    /// Of the message that is there in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sequence: Option<u64>,
}

/// A stream against files.
#[derive(Debug, Default, Serialize)]
pub(super) struct Findings {
    pub(super) stream: String,
    pub(super) messages: u64,
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

    pub(super) fn print(&self, as_json: bool) {
        if as_json {
            output::print(&json!(self).to_string());
            return;
        }
        output::print(&format!(
            "{}: {} for {}: {} lost, {} altered, {} duplicated, {} out of order, {} unexpected",
            self.stream,
            output::counted(self.messages, "message"),
            output::counted(self.lines as u64, "line"),
            self.lost.count,
            self.altered.count,
            self.duplicated.count,
            self.out_of_order.count,
            self.unexpected.count,
        ));
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

/// A stream's message ids, which begin with 1 if `from_the_first`. True if nothing was found.
pub(super) fn print_minted(
    minted: &Minted,
    stream: &str,
    from_the_first: bool,
    show: usize,
    as_json: bool,
) -> bool {
    let mut clean = !minted.sinks.is_empty();
    let mut texts = Vec::new();
    let mut objects = Vec::new();
    for (name, sink) in &minted.sinks {
        let missing = sink.missing(from_the_first);
        let missing_count = count(&missing);
        clean &= missing_count == 0 && sink.duplicated.is_empty() && sink.out_of_order.is_empty();
        let (first, last) = sink.ends().unwrap_or_default();
        if as_json {
            objects.push(json!({
                "sink": name,
                "messages": sink.messages,
                "first": first,
                "last": last,
                "missing": { "count": missing_count, "listed": &missing[..missing.len().min(show)] },
                "duplicated": numbers(&sink.duplicated, show),
                "out_of_order": numbers(&sink.out_of_order, show),
            }));
        } else {
            texts.push(sink_line(name, sink, (first, last), &missing, show));
        }
    }
    if as_json {
        let findings =
            json!({ "stream": stream, "sinks": objects, "other_messages": minted.others });
        output::print(&findings.to_string());
        return clean;
    }
    let sinks = output::counted(minted.sinks.len() as u64, "sink");
    let others = output::counted(minted.others, "message");
    output::print(&format!("{stream}: {sinks}; {others} without an id of one"));
    for text in texts {
        output::print(&text);
    }
    clean
}

fn numbers(all: &[u64], show: usize) -> serde_json::Value {
    json!({ "count": all.len(), "listed": all[..all.len().min(show)] })
}

fn sink_line(
    name: &str,
    sink: &Sink,
    (first, last): (u64, u64),
    missing: &[(u64, u64)],
    show: usize,
) -> String {
    let run = |&(first, last): &(u64, u64)| match first == last {
        true => first.to_string(),
        false => format!("{first} to {last}"),
    };
    format!(
        "{name}: {}, {first} to {last}: {}{} missing, {}{} duplicated, {}{} out of order",
        output::counted(sink.messages, "message"),
        count(missing),
        some(missing, show, run),
        sink.duplicated.len(),
        some(&sink.duplicated, show, u64::to_string),
        sink.out_of_order.len(),
        some(&sink.out_of_order, show, u64::to_string),
    )
}

/// The first of them, in brackets.
fn some<T>(all: &[T], show: usize, shown: impl Fn(&T) -> String) -> String {
    if all.is_empty() || show == 0 {
        return String::new();
    }
    let mut first: Vec<String> = all.iter().take(show).map(shown).collect();
    if all.len() > show {
        first.push("…".to_owned());
    }
    format!(" ({})", first.join(", "))
}

/// How many numbers the runs have.
fn count(runs: &[(u64, u64)]) -> u64 {
    runs.iter().map(|(first, last)| last - first + 1).sum()
}
