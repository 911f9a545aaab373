//! What the page's plots show: all contenders in one, then each contender by itself.

use super::axes::{Axes, behind, last, peak, spooled, stored};
use super::contender_class;
use super::curves::{Curves, spans};
use super::plot::{Plot, WIDTH, count_labels, frame, key, latency_labels, stack};
use super::scale::Scale as _;
use crate::drill::format::{Text, count, digits, duration};
use crate::drill::record::{CircuitState, ContenderRecord, Record, Sample};

fn curves<'a>(contender: &'a ContenderRecord, axes: &Axes, height: f64) -> Curves<'a> {
    Curves {
        frame: frame(height),
        time: axes.time,
        samples: &contender.samples,
        column: 1.0,
    }
}

/// The longest emits of all contenders in one plot.
pub(super) fn overview(record: &Record, axes: &Axes) -> String {
    const HEIGHT: f64 = 220.0;
    let deadline = record.about.deadline_seconds;
    let mut caption = "<b>Longest emit of each moment</b>".to_owned();
    let mut description = String::new();
    let mut marks = frame(HEIGHT).across("deadline", axes.longest.at(deadline));
    for (index, contender) in record.contenders.iter().enumerate() {
        let class = contender_class(index);
        let most = most_in_words(contender, longest);
        caption.push_str(&key(
            &format!("longest {class}"),
            &format!("{}, {most}", Text(&contender.name)),
        ));
        description.push_str(&format!("{}: {most}. ", contender.name));
        // Many lines over each other are read more easily with fewer points.
        let curves = Curves {
            column: 7.0,
            ..curves(contender, axes, HEIGHT)
        };
        marks.insert_str(
            0,
            &curves.line(&format!("longest {class}"), &axes.longest, longest),
        );
    }
    caption.push_str(&key(
        "deadline",
        &format!("deadline {}", duration(deadline)),
    ));
    let plot = Plot {
        id: "all-latency".to_owned(),
        title: "Longest emit of each moment, all contenders".to_owned(),
        description,
        caption,
        labels: latency_labels(&axes.longest, 9),
        height: HEIGHT,
        faults: &record.faults,
        axes,
        marks,
    };
    stack(record, axes, &[plot])
}

/// All plots of one contender over one axis of time.
pub(super) fn contender(
    record: &Record,
    axes: &Axes,
    index: usize,
    contender: &ContenderRecord,
) -> String {
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

fn most_in_words(contender: &ContenderRecord, value: impl Fn(&Sample) -> Option<f64>) -> String {
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
    let most = most_in_words(contender, longest);
    Plot {
        id: format!("contender-{index}-latency"),
        title: format!("Emit latency, {}", contender.name),
        description: format!(
            "Over time on a logarithmic scale. Longest: {most}{when}. Medians: {}. Deadline: {}.",
            most_in_words(contender, median),
            duration(deadline)
        ),
        caption: [
            "<b>Emit latency</b>".to_owned(),
            key("longest", &format!("longest, {most}{when}")),
            key("median", "median"),
            key("deadline", &format!("deadline {}", duration(deadline))),
        ]
        .concat(),
        labels: latency_labels(&axes.latency, 8),
        height: HEIGHT,
        faults: &record.faults,
        axes,
        marks: [
            curves.frame.across("deadline", axes.latency.at(deadline)),
            curves.line("median", &axes.latency, median),
            curves.line("longest", &axes.latency, longest),
        ]
        .concat(),
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
    let mut opened = 0.0;
    let mut marks = String::new();
    for span in &spans {
        let (x, width) = (WIDTH * span.from, WIDTH * (span.until - span.from));
        // Distinguishable by height, not only by colour.
        let (class, y, height) = match span.state {
            CircuitState::Connected => ("connected", HEIGHT - 4.0, 4.0),
            CircuitState::Reconnecting => ("reconnecting", 0.0, HEIGHT),
        };
        if span.state == CircuitState::Reconnecting {
            opened += (span.until - span.from) * axes.time.end;
        }
        marks.push_str(&format!(
            "<rect class='{class}' x='{x:.1}' y='{y}' width='{width:.1}' height='{height}'/>"
        ));
    }
    let opened = format!("reconnecting, {} in all", duration(opened));
    Some(Plot {
        id: format!("contender-{index}-circuit"),
        title: format!("Circuit, {}", contender.name),
        description: format!("As it was seen at the end of each tick: {opened}."),
        caption: [
            "<b>Circuit</b>".to_owned(),
            key("connected", "connected"),
            key("reconnecting", &opened),
        ]
        .concat(),
        labels: Vec::new(),
        height: HEIGHT,
        faults: &record.faults,
        axes,
        marks,
    })
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
    let in_stream = stored_in_words(contender);
    Plot {
        id: format!("contender-{index}-counts"),
        title: format!("Returned Ok and stored, {}", contender.name),
        description: format!(
            "At the end: {ok} returned Ok, {failed} returned an error, {in_stream}."
        ),
        caption: [
            "<b>Since the beginning</b>".to_owned(),
            key("ok", &format!("returned Ok, {ok}")),
            key("stored", &in_stream),
            key(
                "ended",
                &format!("all that ended, {ended}, of these {failed} with an error"),
            ),
        ]
        .concat(),
        labels: count_labels(&axes.events),
        height: HEIGHT,
        faults: &record.faults,
        axes,
        marks: [
            curves.line("ended", &axes.events, |sample| Some(sample.emitted as f64)),
            curves.line("ok", &axes.events, |sample| Some(sample.ok as f64)),
            curves.line("stored", &axes.events, stored),
        ]
        .concat(),
    }
}

/// What is known of the stream at the end, or when it was known last.
fn stored_in_words(contender: &ContenderRecord) -> String {
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

/// Of a stream that is asked at the end only there is nothing to draw, unless a spool was seen to fill.
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
    let mut caption = [
        "<b>Returned Ok, not in the stream</b>".to_owned(),
        key("behind", &at_the_end),
    ]
    .concat();
    let mut description = format!("Returned Ok and not in the stream: {at_the_end}.");
    let mut marks = curves.area("behind", &axes.behind, behind);
    marks.push_str(&curves.line("behind", &axes.behind, behind));
    if let Some((most, _)) = peak(contender, spooled) {
        let most = format!("waiting in the spool, at most {}", digits(most));
        caption.push_str(&key("spooled", &most));
        description.push_str(&format!(" {most}."));
        marks.push_str(&curves.line("spooled", &axes.behind, spooled));
    }
    Plot {
        id: format!("contender-{index}-behind"),
        title: format!("Returned Ok and not in the stream, {}", contender.name),
        description,
        caption,
        labels: count_labels(&axes.behind),
        height: HEIGHT,
        faults: &record.faults,
        axes,
        marks,
    }
}
