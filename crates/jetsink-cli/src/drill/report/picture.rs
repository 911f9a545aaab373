//! One picture by itself, for a front page: the duration of emits during the faults, and whether events
//! that returned `Ok` are stored.

use maud::{Markup, PreEscaped, html};

use super::axes::{Axes, last, peak, stored};
use super::curves::{Curves, PlotArea};
use super::labels::positions;
use super::plot::{moment, tenths};
use super::plots::colour;
use super::scale::Scale as _;
use crate::drill::format::{amount, count, duration};
use crate::drill::record::{ContenderRecord, Record, Sample};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 540.0;
/// More contenders are not distinguishable at this size.
const MAX_CONTENDERS: usize = 3;
const LEFT: f64 = 64.0;
/// The height of a line of text.
const LINE: f64 = 18.0;

/// The top of the first plot if all faults' names are in one row, and its bottom.
const LATENCY: (f64, f64) = (60.0, 290.0);
const LATENCY_WIDTH: f64 = 690.0;

const STYLE: PreEscaped<&str> = PreEscaped(concat!(
    include_str!("palette.css"),
    include_str!("picture.css")
));

/// An SVG with its own colours for light and dark.
pub(super) fn picture(record: &Record) -> Markup {
    let axes = Axes::of(record);
    let contenders = &record.contenders[..record.contenders.len().min(MAX_CONTENDERS)];
    html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } width=(WIDTH)
            height=(HEIGHT) role="img" aria-labelledby="t d" {
            title id="t" { "Emits and stored events while the broker breaks" }
            desc id="d" { (description(contenders)) }
            style { (STYLE) }
            rect class="paper" width=(WIDTH) height=(HEIGHT) {}
            (latency(record, &axes, contenders))
            (counts(record, &axes, contenders))
        }
    }
}

fn description(contenders: &[ContenderRecord]) -> String {
    let sentence = |contender: &ContenderRecord| {
        let [longest, ok, stored] = facts(contender);
        format!(
            "{}: longest emit {longest}, {ok}, {stored}. ",
            contender.name
        )
    };
    contenders.iter().map(sentence).collect()
}

/// The longest emit, the number of emits that returned `Ok`, and the number of stored events, if known.
fn facts(contender: &ContenderRecord) -> [String; 3] {
    let longest =
        peak(contender, longest).map_or("none".to_owned(), |(seconds, _)| duration(seconds));
    let ok = contender.samples.last().map_or(0, |sample| sample.ok);
    let stored = match last(contender, |sample| sample.stored) {
        Some((stored, _)) => format!("{} stored", count(stored)),
        None => "stored: not known".to_owned(),
    };
    [longest, format!("{} returned Ok", count(ok)), stored]
}

fn longest(sample: &Sample) -> Option<f64> {
    sample.longest_seconds
}

fn text(class: &str, x: f64, y: f64, text: &str) -> Markup {
    html! { text class=(class) x=(tenths(x)) y=(tenths(y)) { (text) } }
}

/// Shortens a name to the available width.
fn shortened(name: &str) -> String {
    const LETTERS: usize = 22;
    match name.char_indices().nth(LETTERS) {
        None => name.to_owned(),
        Some((end, _)) => format!("{}…", &name[..end]),
    }
}

fn swatch(contender: usize, x: f64, baseline: f64) -> Markup {
    let (x, y) = (tenths(x), tenths(baseline - 10.0));
    html! {
        rect class={ "swatch contender-" (colour(contender)) } x=(x) y=(y) width="11" height="11" rx="2" {}
    }
}

fn latency(record: &Record, axes: &Axes, contenders: &[ContenderRecord]) -> Markup {
    let positions = positions(&record.faults, &axes.time, LATENCY_WIDTH / 8.0, 3);
    let rows = positions.iter().filter_map(|position| position.row).max();
    let top = LATENCY.0 + LINE * rows.unwrap_or(0) as f64;
    let area = PlotArea {
        left: LEFT,
        top,
        width: LATENCY_WIDTH,
        height: LATENCY.1 - top,
    };
    let names = record.faults.iter().zip(&positions);
    let names = names.filter_map(|(fault, position)| Some((fault, position.left, position.row?)));
    let line = |(index, contender): (usize, &ContenderRecord)| {
        let curves = Curves {
            area,
            time: axes.time,
            samples: &contender.samples,
            // Lines over each other are easier to read with fewer points.
            column: 7.0,
        };
        let class = format!("longest contender-{}", colour(index));
        curves.line(&class, &axes.longest, longest)
    };
    html! {
        (text("title", LEFT, 26.0, "Duration of one emit: the longest of each moment"))
        (area.faults(&record.faults, &axes.time))
        @for (fault, left, row) in names {
            (text("", area.x(left) + 1.0, top - 6.0 - LINE * row as f64, &shortened(&fault.name)))
        }
        @for power in axes.longest.labelled(9) {
            @let value = 10f64.powi(power);
            @let at = axes.longest.at(value);
            (area.across("grid", at))
            (text("quiet end", LEFT - 8.0, area.y(at) + 4.5, &duration(value)))
        }
        (time_axis(axes, &area, 9))
        (area.across("deadline", axes.longest.at(record.about.deadline_seconds)))
        // The first contender is drawn over the others.
        @for contender in contenders.iter().enumerate().rev() { (line(contender)) }
        (beside(record, axes, contenders, &area))
    }
}

/// The names to the right of the lines' ends, moved apart, and the deadline's.
fn beside(record: &Record, axes: &Axes, contenders: &[ContenderRecord], area: &PlotArea) -> Markup {
    let x = area.x(1.0) + 12.0;
    let end = |contender: &ContenderRecord| {
        last(contender, longest).map_or(0.0, |(seconds, _)| axes.longest.at(seconds))
    };
    let mut order: Vec<_> = contenders
        .iter()
        .enumerate()
        .map(|(index, contender)| (area.y(end(contender)), index))
        .collect();
    order.sort_by(|one, other| one.0.total_cmp(&other.0));
    let deadline = area.y(axes.longest.at(record.about.deadline_seconds));
    // Two lines of text per contender.
    let heights: Vec<_> = order.iter().map(|(y, _)| *y).collect();
    let tops = apart(
        &heights,
        2.0 * LINE + 8.0,
        deadline + LINE + 4.0,
        area.y(0.0) + LINE,
    );
    let deadline_text = format!("deadline {}", duration(record.about.deadline_seconds));
    html! {
        (text("quiet", x, deadline + 4.5, &deadline_text))
        @for ((_, index), y) in order.iter().zip(tops) {
            @let contender = &contenders[*index];
            @let [longest, ..] = facts(contender);
            (swatch(*index, x, y))
            (text("", x + 18.0, y, &shortened(&contender.name)))
            (text("quiet", x + 18.0, y + LINE, &format!("at most {longest}")))
        }
    }
}

/// Moves heights apart, to at least `distance`, and between two bounds if they fit. They are in order.
fn apart(wanted: &[f64], distance: f64, min: f64, max: f64) -> Vec<f64> {
    let mut heights = Vec::with_capacity(wanted.len());
    let mut free = min;
    for (index, height) in wanted.iter().enumerate() {
        let after = (wanted.len() - index) as f64 * distance;
        let height = height.min(max - after + LINE).max(free);
        heights.push(height);
        free = height + distance;
    }
    heights
}

fn time_axis(axes: &Axes, area: &PlotArea, max_ticks: usize) -> Markup {
    let ticks = axes.time.time_ticks(max_ticks);
    let step = ticks.get(1).copied().unwrap_or(1.0);
    // The axis to the right of this one begins with its own label.
    let anchor = |at: f64| match at {
        0.0 => "start",
        at if at > 0.985 => "end",
        _ => "middle",
    };
    html! {
        (area.across("axis", 0.0))
        @for seconds in ticks {
            @let at = axes.time.at(seconds);
            @let class = format!("quiet {}", anchor(at));
            (text(&class, area.x(at), area.y(0.0) + LINE, &moment(seconds, step)))
        }
    }
}

/// The heading of the second row of plots.
const COUNTS: f64 = 346.0;

/// Side by side, with one scale: emits that returned `Ok` and stored events.
fn counts(record: &Record, axes: &Axes, contenders: &[ContenderRecord]) -> Markup {
    html! {
        (text("title", LEFT, COUNTS, "Is Ok true? Returned Ok (wide line) and stored (narrow line)"))
        @for (index, contender) in contenders.iter().enumerate() {
            (counts_of(record, axes, index, contender))
        }
    }
}

fn counts_of(record: &Record, axes: &Axes, index: usize, contender: &ContenderRecord) -> Markup {
    const GAP: f64 = 30.0;
    let across = WIDTH - LEFT - 20.0;
    let width = (across - GAP * (MAX_CONTENDERS - 1) as f64) / MAX_CONTENDERS as f64;
    let left = LEFT + (width + GAP) * index as f64;
    let area = PlotArea {
        left,
        top: COUNTS + 56.0,
        width,
        height: 106.0,
    };
    let curves = Curves {
        area,
        time: axes.time,
        samples: &contender.samples,
        column: 1.0,
    };
    let class = format!("ok contender-{}", colour(index));
    let [_, ok, in_stream] = facts(contender);
    html! {
        (area.faults(&record.faults, &axes.time))
        @for value in axes.events.ticks(5) {
            @let at = axes.events.at(value);
            (area.across("grid", at))
            @if index == 0 {
                (text("quiet end", LEFT - 8.0, area.y(at) + 4.5, &amount(value, axes.events.end)))
            }
        }
        (time_axis(axes, &area, 5))
        (curves.line(&class, &axes.events, |sample| Some(sample.ok as f64)))
        (curves.line("stored", &axes.events, stored))
        (swatch(index, left, COUNTS + 26.0))
        (text("", left + 18.0, COUNTS + 26.0, &shortened(&contender.name)))
        (text("quiet", left + 18.0, COUNTS + 44.0, &format!("{ok}, {in_stream}")))
    }
}

#[cfg(test)]
#[path = "tests/picture.rs"]
mod tests;
