//! One picture that stands alone, for a front page: how long an emit takes while the broker breaks, and
//! what its Ok is worth.

use super::axes::{Axes, last, peak, stored};
use super::curves::{Curves, Frame};
use super::labels::places;
use super::plot::moment;
use super::scale::Scale as _;
use super::{PALETTE, contender_class};
use crate::drill::format::{Text, amount, count, duration};
use crate::drill::record::{ContenderRecord, Record, Sample};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 540.0;
/// More contenders are not distinguishable at this size.
const MAX_CONTENDERS: usize = 3;
const LEFT: f64 = 64.0;
/// Of a line of text.
const LINE: f64 = 18.0;

/// Where the first plot ends at the top if all faults' names stand in one row, and at the bottom.
const LATENCY: (f64, f64) = (60.0, 290.0);
const LATENCY_WIDTH: f64 = 690.0;

/// An SVG with its own colours for light and for dark.
pub(crate) fn picture(record: &Record) -> String {
    let axes = Axes::of(record);
    let contenders = &record.contenders[..record.contenders.len().min(MAX_CONTENDERS)];
    let style = [PALETTE, include_str!("picture.css")].concat();
    let (latency, counts) = (
        latency(record, &axes, contenders),
        counts(record, &axes, contenders),
    );
    let description = description(contenders);
    let description = Text(&description);
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' \
         height='{HEIGHT}' role='img' aria-labelledby='t d'>\n\
         <title id='t'>Emits and what was stored of them while the broker breaks</title>\n\
         <desc id='d'>{description}</desc>\n<style>\n{style}</style>\n\
         <rect class='paper' width='{WIDTH}' height='{HEIGHT}'/>\n{latency}{counts}</svg>\n"
    )
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

fn text(class: &str, x: f64, y: f64, text: &str) -> String {
    let text = Text(text);
    format!("<text class='{class}' x='{x:.1}' y='{y:.1}'>{text}</text>\n")
}

/// As much of a name as there is room for.
fn shortened(name: &str) -> String {
    const LETTERS: usize = 22;
    match name.char_indices().nth(LETTERS) {
        None => name.to_owned(),
        Some((end, _)) => format!("{}…", &name[..end]),
    }
}

fn swatch(contender: usize, x: f64, baseline: f64) -> String {
    let (class, y) = (contender_class(contender), baseline - 10.0);
    format!("<rect class='swatch {class}' x='{x:.1}' y='{y:.1}' width='11' height='11' rx='2'/>\n")
}

fn latency(record: &Record, axes: &Axes, contenders: &[ContenderRecord]) -> String {
    let places = places(&record.faults, &axes.time, LATENCY_WIDTH / 8.0, 3);
    let rows = places.iter().filter_map(|place| place.row).max();
    let top = LATENCY.0 + LINE * rows.unwrap_or(0) as f64;
    let frame = Frame {
        left: LEFT,
        top,
        width: LATENCY_WIDTH,
        height: LATENCY.1 - top,
    };
    let deadline = axes.longest.at(record.about.deadline_seconds);
    let mut svg = text(
        "title",
        LEFT,
        26.0,
        "How long one emit takes: the longest of each moment",
    );
    svg.push_str(&frame.faults(&record.faults, &axes.time));
    for (fault, place) in record.faults.iter().zip(&places) {
        if let Some(row) = place.row {
            let y = top - 6.0 - LINE * row as f64;
            svg.push_str(&text(
                "",
                frame.x(place.left) + 1.0,
                y,
                &shortened(&fault.name),
            ));
        }
    }
    for power in axes.longest.labelled(9) {
        let value = 10f64.powi(power);
        let at = axes.longest.at(value);
        svg.push_str(&frame.across("grid", at));
        svg.push_str(&text(
            "quiet end",
            LEFT - 8.0,
            frame.y(at) + 4.5,
            &duration(value),
        ));
    }
    svg.push_str(&time_axis(axes, &frame, 9));
    svg.push_str(&frame.across("deadline", deadline));
    // The first contender is drawn last, over the others.
    for (index, contender) in contenders.iter().enumerate().rev() {
        let curves = Curves {
            frame,
            time: axes.time,
            samples: &contender.samples,
            // Many lines over each other are read more easily with fewer points.
            column: 7.0,
        };
        let class = format!("longest {}", contender_class(index));
        svg.push_str(&curves.line(&class, &axes.longest, longest));
        svg.push('\n');
    }
    svg.push_str(&beside(record, axes, contenders, &frame));
    svg
}

/// The contenders' names to the right of their lines' ends, moved apart; the deadline's too.
fn beside(record: &Record, axes: &Axes, contenders: &[ContenderRecord], frame: &Frame) -> String {
    let x = frame.x(1.0) + 12.0;
    let end = |contender: &ContenderRecord| {
        last(contender, longest).map_or(0.0, |(seconds, _)| axes.longest.at(seconds))
    };
    let mut order: Vec<_> = contenders
        .iter()
        .enumerate()
        .map(|(index, contender)| (frame.y(end(contender)), index))
        .collect();
    order.sort_by(|one, other| one.0.total_cmp(&other.0));
    let deadline = frame.y(axes.longest.at(record.about.deadline_seconds));
    let words = format!("deadline {}", duration(record.about.deadline_seconds));
    let mut svg = text("quiet", x, deadline + 4.5, &words);
    // Two lines of text each.
    let heights: Vec<_> = order.iter().map(|(y, _)| *y).collect();
    let tops = apart(
        &heights,
        2.0 * LINE + 8.0,
        deadline + LINE + 4.0,
        frame.y(0.0) + LINE,
    );
    for ((_, index), y) in order.iter().zip(tops) {
        let contender = &contenders[*index];
        let [longest, ..] = facts(contender);
        svg.push_str(&swatch(*index, x, y));
        svg.push_str(&text("", x + 18.0, y, &shortened(&contender.name)));
        svg.push_str(&text(
            "quiet",
            x + 18.0,
            y + LINE,
            &format!("at most {longest}"),
        ));
    }
    svg
}

/// Heights from the top, in order, at least that far apart and between two bounds if they fit.
fn apart(wanted: &[f64], distance: f64, least: f64, most: f64) -> Vec<f64> {
    let mut heights = Vec::with_capacity(wanted.len());
    let mut free = least;
    for (index, height) in wanted.iter().enumerate() {
        let after = (wanted.len() - index) as f64 * distance;
        let height = height.min(most - after + LINE).max(free);
        heights.push(height);
        free = height + distance;
    }
    heights
}

fn time_axis(axes: &Axes, frame: &Frame, ticks: usize) -> String {
    let mut svg = frame.across("axis", 0.0);
    let ticks = axes.time.time_ticks(ticks);
    let step = ticks.get(1).copied().unwrap_or(1.0);
    for seconds in ticks {
        let at = axes.time.at(seconds);
        // The axis beside this one begins with its own.
        let anchor = match at {
            0.0 => "start",
            at if at > 0.985 => "end",
            _ => "middle",
        };
        svg.push_str(&text(
            &format!("quiet {anchor}"),
            frame.x(at),
            frame.y(0.0) + LINE,
            &moment(seconds, step),
        ));
    }
    svg
}

/// Side by side, with one scale: emits that returned `Ok` and stored events.
fn counts(record: &Record, axes: &Axes, contenders: &[ContenderRecord]) -> String {
    const TITLE: f64 = 346.0;
    const GAP: f64 = 30.0;
    let across = WIDTH - LEFT - 20.0;
    let width = (across - GAP * (MAX_CONTENDERS - 1) as f64) / MAX_CONTENDERS as f64;
    let mut svg = text(
        "title",
        LEFT,
        TITLE,
        "Is Ok true? Returned Ok (wide line) and stored (narrow line)",
    );
    for (index, contender) in contenders.iter().enumerate() {
        let left = LEFT + (width + GAP) * index as f64;
        let frame = Frame {
            left,
            top: TITLE + 56.0,
            width,
            height: 106.0,
        };
        svg.push_str(&frame.faults(&record.faults, &axes.time));
        for value in axes.events.ticks(5) {
            let at = axes.events.at(value);
            svg.push_str(&frame.across("grid", at));
            if index == 0 {
                svg.push_str(&text(
                    "quiet end",
                    LEFT - 8.0,
                    frame.y(at) + 4.5,
                    &amount(value, axes.events.end),
                ));
            }
        }
        svg.push_str(&time_axis(axes, &frame, 5));
        let curves = Curves {
            frame,
            time: axes.time,
            samples: &contender.samples,
            column: 1.0,
        };
        let class = format!("ok {}", contender_class(index));
        svg.push_str(&curves.line(&class, &axes.events, |sample| Some(sample.ok as f64)));
        svg.push_str(&curves.line("stored", &axes.events, stored));
        let [_, ok, stored] = facts(contender);
        svg.push_str(&swatch(index, left, TITLE + 26.0));
        svg.push_str(&text(
            "",
            left + 18.0,
            TITLE + 26.0,
            &shortened(&contender.name),
        ));
        let words = format!("{ok}, {stored}");
        svg.push_str(&text("quiet", left + 18.0, TITLE + 44.0, &words));
    }
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_between_letters() {
        assert_eq!(shortened("jetsink with a spool"), "jetsink with a spool");
        assert_eq!(shortened(&"ä".repeat(30)), format!("{}…", "ä".repeat(22)));
    }

    #[test]
    fn names_are_moved_apart_within_the_bounds() {
        assert_eq!(
            apart(&[100.0, 101.0, 200.0], 44.0, 50.0, 300.0),
            [100.0, 144.0, 200.0]
        );
        assert_eq!(apart(&[10.0], 44.0, 50.0, 300.0), [50.0]);
        let low = apart(&[299.0, 299.0, 300.0], 44.0, 50.0, 300.0);
        assert_eq!(low, [186.0, 230.0, 274.0]);
    }
}
