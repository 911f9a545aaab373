//! The plots of the page: one with all contenders, then those of each contender.

use maud::{Markup, html};

use super::axes::{Axes, behind, last, peak, spooled, stored};
use super::curves::{Curves, Span, rect, spans};
use super::plot::{Plot, WIDTH, area, count_labels, key, latency_labels, stack};
use super::scale::Scale as _;
use crate::drill::format::{count, digits, duration};
use crate::drill::record::{CircuitState, ContenderRecord, Record, Sample};

fn curves<'a>(contender: &'a ContenderRecord, axes: &Axes, height: f64) -> Curves<'a> {
    Curves {
        area: area(height),
        time: axes.time,
        samples: &contender.samples,
        column: 1.0,
    }
}

/// The number of the contender's colour. The fifth contender has the colour of the first.
pub(super) fn colour(contender: usize) -> usize {
    contender % 4
}

/// The longest emits of all contenders in one plot.
pub(super) fn overview(record: &Record, axes: &Axes) -> Markup {
    const HEIGHT: f64 = 220.0;
    let deadline = record.about.deadline_seconds;
    let mut keys = Vec::new();
    let mut description = String::new();
    let mut lines = Vec::new();
    for (index, contender) in record.contenders.iter().enumerate() {
        let class = format!("longest contender-{}", colour(index));
        let longest_text = max_text(contender, longest);
        keys.push(key(&class, &format!("{}, {longest_text}", contender.name)));
        description.push_str(&format!("{}: {longest_text}. ", contender.name));
        // Lines over each other are easier to read with fewer points.
        let curves = Curves {
            column: 7.0,
            ..curves(contender, axes, HEIGHT)
        };
        lines.push(curves.line(&class, &axes.longest, longest));
    }
    keys.push(key("deadline", &format!("deadline {}", duration(deadline))));
    let plot = Plot {
        id: "all-latency".to_owned(),
        title: "Longest emit of each moment, all contenders".to_owned(),
        description,
        name: "Longest emit of each moment",
        keys,
        labels: latency_labels(&axes.longest, 9),
        height: HEIGHT,
        faults: &record.faults,
        axes,
        // The first contender is drawn over the others.
        marks: html! {
            @for line in lines.iter().rev() { (line) }
            (area(HEIGHT).across("deadline", axes.longest.at(deadline)))
        },
    };
    stack(record, axes, &[plot])
}

/// All plots of one contender over one axis of time.
pub(super) fn contender(
    record: &Record,
    axes: &Axes,
    index: usize,
    contender: &ContenderRecord,
) -> Markup {
    let plots: Vec<_> = [
        Some(latency(record, axes, index, contender)),
        circuit(record, axes, index, contender),
        Some(counts(record, axes, index, contender)),
        shows_what_is_behind(contender).then(|| not_stored(record, axes, index, contender)),
    ]
    .into_iter()
    .flatten()
    .collect();
    stack(record, axes, &plots)
}

fn longest(sample: &Sample) -> Option<f64> {
    sample.longest_seconds
}

fn max_text(contender: &ContenderRecord, value: impl Fn(&Sample) -> Option<f64>) -> String {
    match peak(contender, value) {
        Some((seconds, _)) => format!("at most {}", duration(seconds)),
        None => "none ended".to_owned(),
    }
}

fn latency<'a>(
    record: &'a Record,
    axes: &'a Axes,
    index: usize,
    contender: &ContenderRecord,
) -> Plot<'a> {
    const HEIGHT: f64 = 190.0;
    let deadline = record.about.deadline_seconds;
    let curves = curves(contender, axes, HEIGHT);
    let median = |sample: &Sample| sample.median_seconds;
    let when =
        peak(contender, longest).map_or(String::new(), |(_, at)| format!(", at {}", duration(at)));
    let most = max_text(contender, longest);
    Plot {
        id: format!("contender-{index}-latency"),
        title: format!("Emit latency, {}", contender.name),
        description: format!(
            "Over time on a logarithmic scale. Longest: {most}{when}. Medians: {}. Deadline: {}.",
            max_text(contender, median),
            duration(deadline)
        ),
        name: "Emit latency",
        keys: vec![
            key("longest", &format!("longest, {most}{when}")),
            key("median", "median"),
            key("deadline", &format!("deadline {}", duration(deadline))),
        ],
        labels: latency_labels(&axes.latency, 8),
        height: HEIGHT,
        faults: &record.faults,
        axes,
        marks: html! {
            (curves.area.across("deadline", axes.latency.at(deadline)))
            (curves.line("median", &axes.latency, median))
            (curves.line("longest", &axes.latency, longest))
        },
    }
}

fn circuit<'a>(
    record: &'a Record,
    axes: &'a Axes,
    index: usize,
    contender: &ContenderRecord,
) -> Option<Plot<'a>> {
    const HEIGHT: f64 = 16.0;
    let spans = spans(&contender.samples, &axes.time);
    if spans.is_empty() {
        return None;
    }
    let opened = spans
        .iter()
        .filter(|span| span.state == CircuitState::Reconnecting)
        .map(|span| (span.until - span.from) * axes.time.end);
    let opened = format!("reconnecting, {} in all", duration(opened.sum()));
    Some(Plot {
        id: format!("contender-{index}-circuit"),
        title: format!("Circuit, {}", contender.name),
        description: format!("The state at the end of each tick: {opened}."),
        name: "Circuit",
        keys: vec![key("connected", "connected"), key("reconnecting", &opened)],
        labels: Vec::new(),
        height: HEIGHT,
        faults: &record.faults,
        axes,
        marks: html! { @for span in &spans { (band(span, HEIGHT)) } },
    })
}

/// States are distinguishable by height, not only by colour.
fn band(span: &Span, height: f64) -> Markup {
    let (left, width) = (WIDTH * span.from, WIDTH * (span.until - span.from));
    match span.state {
        CircuitState::Connected => rect("connected", [left, height - 4.0, width, 4.0]),
        CircuitState::Reconnecting => rect("reconnecting", [left, 0.0, width, height]),
    }
}

fn counts<'a>(
    record: &'a Record,
    axes: &'a Axes,
    index: usize,
    contender: &ContenderRecord,
) -> Plot<'a> {
    const HEIGHT: f64 = 120.0;
    let curves = curves(contender, axes, HEIGHT);
    let ok = last(contender, |sample| Some(sample.ok)).map_or(0, |(ok, _)| ok);
    let failed = last(contender, |sample| Some(sample.failed)).map_or(0, |(failed, _)| failed);
    let ended = last(contender, |sample| Some(sample.emitted)).map_or(0, |(ended, _)| ended);
    let (ok, failed, ended) = (count(ok), count(failed), count(ended));
    let in_stream = stored_text(contender);
    Plot {
        id: format!("contender-{index}-counts"),
        title: format!("Returned Ok and stored, {}", contender.name),
        description: format!(
            "At the end: {ok} returned Ok, {failed} returned an error, {in_stream}."
        ),
        name: "Since the beginning",
        keys: vec![
            key("ok", &format!("returned Ok, {ok}")),
            key("stored", &in_stream),
            key(
                "ended",
                &format!("all that ended, {ended}, of these {failed} with an error"),
            ),
        ],
        labels: count_labels(&axes.events),
        height: HEIGHT,
        faults: &record.faults,
        axes,
        marks: html! {
            (curves.line("ended", &axes.events, |sample| Some(sample.emitted as f64)))
            (curves.line("ok", &axes.events, |sample| Some(sample.ok as f64)))
            (curves.line("stored", &axes.events, stored))
        },
    }
}

/// The last known number of stored events, and its time if that is not the end.
fn stored_text(contender: &ContenderRecord) -> String {
    let end = contender.samples.last().map_or(0.0, |sample| sample.at);
    match last(contender, |sample| sample.stored) {
        None => "stored: not known".to_owned(),
        Some((stored, at)) if at < end => {
            format!(
                "stored, {} at {}, then not known",
                count(stored),
                duration(at)
            )
        }
        Some((stored, _)) => format!("stored, {}", count(stored)),
    }
}

/// Whether there is a line to draw. The stream of a given broker is read only at the end.
fn shows_what_is_behind(contender: &ContenderRecord) -> bool {
    let known = contender
        .samples
        .iter()
        .filter(|sample| behind(sample).is_some());
    known.count() > 1 || peak(contender, spooled).is_some()
}

fn not_stored<'a>(
    record: &'a Record,
    axes: &'a Axes,
    index: usize,
    contender: &ContenderRecord,
) -> Plot<'a> {
    const HEIGHT: f64 = 90.0;
    let curves = curves(contender, axes, HEIGHT);
    let at_the_end = match last(contender, behind) {
        Some((behind, _)) => format!("{} at the end", digits(behind)),
        None => "not known".to_owned(),
    };
    let mut keys = vec![key("behind", &at_the_end)];
    let mut description = format!("Returned Ok and not in the stream: {at_the_end}.");
    let waiting = peak(contender, spooled);
    if let Some((max, _)) = waiting {
        let text = format!("waiting in the spool, at most {}", digits(max));
        keys.push(key("spooled", &text));
        description.push_str(&format!(" {text}."));
    }
    Plot {
        id: format!("contender-{index}-behind"),
        title: format!("Returned Ok and not in the stream, {}", contender.name),
        description,
        name: "Returned Ok, not in the stream",
        keys,
        labels: count_labels(&axes.behind),
        height: HEIGHT,
        faults: &record.faults,
        axes,
        marks: html! {
            (curves.area("behind", &axes.behind, behind))
            (curves.line("behind", &axes.behind, behind))
            @if waiting.is_some() { (curves.line("spooled", &axes.behind, spooled)) }
        },
    }
}
