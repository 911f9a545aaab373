//! The findings of an audit of message ids, as text and as JSON.

use serde_json::json;

use super::findings::StreamExtent;
use super::found::Found;
use super::message_ids::{MessageIdGaps, Missing, SinkNumbers};
use crate::output;

/// Prints the findings. Returns whether there are none.
pub(super) fn print_gaps(
    gaps: &MessageIdGaps,
    extent: &StreamExtent,
    show: usize,
    as_json: bool,
) -> bool {
    // If the stream has removed its first messages, a sink's first numbers are not missing.
    let from_the_first = extent.first_sequence <= 1;
    let mut totals = [0, 0, 0];
    let mut with_findings = 0;
    for (_, sink) in gaps.sinks() {
        let found = sink.counts(&sink.missing(from_the_first, 0));
        with_findings += u64::from(found != [0; 3]);
        for (total, found) in totals.iter_mut().zip(found) {
            *total += found;
        }
    }
    let count = gaps.sinks().len();
    // If there are too many sinks, only those with findings are listed.
    let is_listed =
        |sink: &SinkNumbers, missing: &Missing| count <= show || sink.counts(missing) != [0; 3];
    let listed = gaps
        .sinks()
        .map(|(name, sink)| (name, sink, sink.missing(from_the_first, show)))
        .filter(|(_, sink, missing)| is_listed(sink, missing))
        .take(show);
    if as_json {
        let sinks: Vec<_> = listed
            .map(|(name, sink, missing)| sink_json(name, sink, &missing))
            .collect();
        let [missing, duplicated, out_of_order] = totals;
        let mut findings = json!(extent);
        let fields = json!({
            "other_messages": gaps.others,
            "sink_count": count,
            "sinks_with_findings": with_findings,
            "missing": missing,
            "duplicated": duplicated,
            "out_of_order": out_of_order,
            "sinks": sinks,
        });
        if let (Some(findings), serde_json::Value::Object(fields)) =
            (findings.as_object_mut(), fields)
        {
            findings.extend(fields);
        }
        output::print(&findings.to_string());
    } else {
        output::print(&format!(
            "{}: {}; {} without a sink's message id: {}",
            extent.stream,
            output::counted(count as u64, "sink"),
            output::counted(gaps.others, "message"),
            counts(totals, ["", "", ""]),
        ));
        extent.print_removed();
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

impl SinkNumbers {
    /// The numbers of missing, duplicated and late messages.
    fn counts(&self, missing: &Missing) -> [u64; 3] {
        [
            missing.count,
            self.duplicated.count as u64,
            self.out_of_order.count as u64,
        ]
    }
}

fn sink_json(name: &str, sink: &SinkNumbers, missing: &Missing) -> serde_json::Value {
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

fn sink_line(name: &str, sink: &SinkNumbers, missing: &Missing) -> String {
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

/// The listed findings, in brackets.
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
