//! What an audit found, for people and for machines.

use jetsink::{StreamName, StreamReader};
use serde::Serialize;
use serde_json::json;

use super::minted::{Minted, Missing, Sink};
use crate::output;

/// Findings of one kind: all are counted, some are listed.
#[derive(Debug, PartialEq, Eq, Serialize)]
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

/// What a stream held when it was read.
#[derive(Debug, Default, Serialize)]
pub(super) struct Seen {
    pub(super) stream: String,
    pub(super) messages: u64,
    first_sequence: u64,
    last_sequence: u64,
    /// Sequence numbers up to the last that had no message: what its limits, a purge or somebody took
    /// away, before or while it was read.
    removed: u64,
}

impl Seen {
    pub(super) fn new(stream: &StreamName, messages: u64, reader: &StreamReader) -> Self {
        Self {
            stream: stream.to_string(),
            messages,
            first_sequence: reader.first_sequence(),
            last_sequence: reader.last_sequence(),
            removed: reader.last_sequence().saturating_sub(messages),
        }
    }

    fn print_removed(&self) {
        if self.removed > 0 {
            output::print(&format!(
                "removed: {} of {} (by limits, a purge, or one by one): what is missing may be among them",
                self.removed,
                output::counted(self.last_sequence, "message"),
            ));
        }
    }
}

/// A stream against files.
#[derive(Debug, Default, Serialize)]
pub(super) struct Findings {
    #[serde(flatten)]
    pub(super) seen: Seen,
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

    /// In the stream's order, with those that are there already.
    pub(super) fn add_unexpected(&mut self, sequences: &[u64], most: usize) {
        self.unexpected.count += sequences.len();
        let listed = &mut self.unexpected.listed;
        listed.extend(sequences.iter().take(most).map(|&sequence| Message {
            sequence,
            subject: None,
            message_id: None,
        }));
        listed.sort_by_key(|message| message.sequence);
        listed.truncate(most);
    }

    pub(super) fn print(&self, as_json: bool) {
        if as_json {
            output::print(&json!(self).to_string());
            return;
        }
        output::print(&format!(
            "{}: {} for {}: {} lost, {} altered, {} duplicated, {} out of order, {} unexpected",
            self.seen.stream,
            output::counted(self.seen.messages, "message"),
            output::counted(self.lines as u64, "line"),
            self.lost.count,
            self.altered.count,
            self.duplicated.count,
            self.out_of_order.count,
            self.unexpected.count,
        ));
        self.seen.print_removed();
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

/// A stream's message ids. True if nothing was found.
pub(super) fn print_minted(minted: &Minted, seen: &Seen, show: usize, as_json: bool) -> bool {
    // What its limits removed is not missing: a sink's numbers begin with 1 where nothing is gone.
    let from_the_first = seen.first_sequence <= 1;
    let mut totals = [0, 0, 0];
    let mut with_findings = 0;
    for (_, sink) in minted.sinks() {
        let found = sink.counts(&sink.missing(from_the_first, 0));
        with_findings += u64::from(found != [0; 3]);
        for (total, found) in totals.iter_mut().zip(found) {
            *total += found;
        }
    }
    let count = minted.sinks().len();
    // Where not all have room, those that something was found in.
    let is_listed =
        |sink: &Sink, missing: &Missing| count <= show || sink.counts(missing) != [0; 3];
    let listed = minted
        .sinks()
        .map(|(name, sink)| (name, sink, sink.missing(from_the_first, show)))
        .filter(|(_, sink, missing)| is_listed(sink, missing))
        .take(show);
    if as_json {
        let sinks: Vec<_> = listed
            .map(|(name, sink, missing)| sink_json(name, sink, &missing))
            .collect();
        let [missing, duplicated, out_of_order] = totals;
        let mut findings = json!(seen);
        let ours = json!({
            "other_messages": minted.others,
            "sink_count": count,
            "sinks_with_findings": with_findings,
            "missing": missing,
            "duplicated": duplicated,
            "out_of_order": out_of_order,
            "sinks": sinks,
        });
        if let (Some(findings), serde_json::Value::Object(ours)) = (findings.as_object_mut(), ours)
        {
            findings.extend(ours);
        }
        output::print(&findings.to_string());
    } else {
        output::print(&format!(
            "{}: {}; {} without an id of one: {}",
            seen.stream,
            output::counted(count as u64, "sink"),
            output::counted(minted.others, "message"),
            counts(totals, ["", "", ""]),
        ));
        seen.print_removed();
        let mut lines = 0;
        for (name, sink, missing) in listed {
            output::print(&sink_line(name, sink, &missing));
            lines += 1;
        }
        let more = with_findings.saturating_sub(lines);
        if more > 0 {
            output::print(&format!(
                "more sinks with findings: {more}; --show {with_findings}"
            ));
        }
    }
    count > 0 && totals == [0; 3]
}

fn counts([missing, duplicated, out_of_order]: [u64; 3], listed: [&str; 3]) -> String {
    let [of_missing, of_duplicated, of_late] = listed;
    format!(
        "{missing}{of_missing} missing, {duplicated}{of_duplicated} duplicated, \
         {out_of_order}{of_late} out of order"
    )
}

impl Sink {
    /// Missing, duplicated, out of order.
    fn counts(&self, missing: &Missing) -> [u64; 3] {
        [
            missing.count,
            self.duplicated.count as u64,
            self.out_of_order.count as u64,
        ]
    }
}

fn sink_json(name: &str, sink: &Sink, missing: &Missing) -> serde_json::Value {
    let (first, last) = sink.ends();
    json!({
        "sink": name,
        "messages": sink.messages,
        "first": first,
        "last": last,
        "missing": { "count": missing.count, "listed": missing.runs.listed },
        "duplicated": sink.duplicated,
        "out_of_order": sink.out_of_order,
    })
}

fn sink_line(name: &str, sink: &Sink, missing: &Missing) -> String {
    let run = |&(first, last): &(u64, u64)| match first == last {
        true => first.to_string(),
        false => format!("{first} to {last}"),
    };
    let listed = [
        some(&missing.runs, run),
        some(&sink.duplicated, u64::to_string),
        some(&sink.out_of_order, u64::to_string),
    ];
    let [missing_runs, duplicated, out_of_order] = &listed;
    let (first, last) = sink.ends();
    format!(
        "{name}: {}, {first} to {last}: {}",
        output::counted(sink.messages, "message"),
        counts(
            sink.counts(missing),
            [missing_runs, duplicated, out_of_order]
        ),
    )
}

/// Those that are listed, in brackets.
fn some<T>(found: &Found<T>, shown: impl Fn(&T) -> String) -> String {
    if found.listed.is_empty() {
        return String::new();
    }
    let mut first: Vec<String> = found.listed.iter().map(shown).collect();
    if found.count > first.len() {
        first.push("…".to_owned());
    }
    format!(" ({})", first.join(", "))
}
