//! One plot of the page, and several over one axis of time. Only lines and areas are SVG, stretched to the
//! width that there is; names and numbers are HTML beside them, as large on a phone as on a desk.

use super::axes::Axes;
use super::curves::Frame;
use super::labels::{Place, places};
use super::scale::{Linear, Logarithmic, Scale as _};
use crate::drill::format::{Text, amount, digits, duration};
use crate::drill::record::{Fault, Record};

/// Units of an SVG across; more samples than that are drawn as the largest of each unit.
pub(super) const WIDTH: f64 = 1_000.0;

/// One plot of the page.
pub(super) struct Plot<'a> {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) description: String,
    /// Markup: the plot's name, and what its lines are.
    pub(super) caption: String,
    /// Where labels stand, from the bottom, and what they say.
    pub(super) labels: Vec<(f64, String)>,
    pub(super) height: f64,
    pub(super) faults: &'a [Fault],
    pub(super) axes: &'a Axes,
    /// Markup.
    pub(super) marks: String,
}

impl Plot<'_> {
    fn markup(&self, names: &str) -> String {
        let Self {
            id,
            caption,
            height,
            marks,
            ..
        } = self;
        let frame = frame(*height);
        let labels: String = self
            .labels
            .iter()
            .map(|(at, text)| format!("<span style='top:{:.1}px'>{text}</span>", frame.y(*at)))
            .collect();
        let grid: String = self
            .labels
            .iter()
            .map(|(at, _)| frame.across("grid", *at))
            .collect();
        let faults = frame.faults(self.faults, &self.axes.time);
        let (title, description) = (Text(&self.title), Text(&self.description));
        format!(
            "<figure>\n<figcaption>{caption}</figcaption>\n{names}<div class='row'>\
             <div class='labels' aria-hidden='true'>{labels}</div>\
             <svg viewBox='0 0 {WIDTH} {height}' preserveAspectRatio='none' style='height:{height}px' \
             role='img' aria-labelledby='{id}-t {id}-d' xmlns='http://www.w3.org/2000/svg'>\
             <title id='{id}-t'>{title}</title><desc id='{id}-d'>{description}</desc>\
             {faults}{grid}{marks}</svg></div>\n</figure>\n"
        )
    }
}

pub(super) fn frame(height: f64) -> Frame {
    Frame {
        left: 0.0,
        top: 0.0,
        width: WIDTH,
        height,
    }
}

pub(super) fn key(class: &str, text: &str) -> String {
    format!("<span class='key'><i class='{class}'></i>{text}</span>")
}

pub(super) fn latency_labels(scale: &Logarithmic, at_most: usize) -> Vec<(f64, String)> {
    let label = |power: i32| {
        let value = 10f64.powi(power);
        (scale.at(value), duration(value))
    };
    scale.labelled(at_most).into_iter().map(label).collect()
}

pub(super) fn count_labels(scale: &Linear) -> Vec<(f64, String)> {
    let label = |value: f64| (scale.at(value), amount(value, scale.end));
    scale.ticks(5).into_iter().map(label).collect()
}

/// Over the first of them stand the faults' names, below the last one the time.
pub(super) fn stack(record: &Record, axes: &Axes, plots: &[Plot<'_>]) -> String {
    let mut names = fault_names(record, axes);
    let plots: String = plots
        .iter()
        .map(|plot| plot.markup(&std::mem::take(&mut names)))
        .collect();
    let time = time_axis(axes);
    format!("<div class='stack'>\n{plots}{time}</div>\n")
}

/// Over the plots; a phone shows only the numbers, as in the table of faults.
fn fault_names(record: &Record, axes: &Axes) -> String {
    let places = places(&record.faults, &axes.time, 130.0, 3);
    let rows = places
        .iter()
        .filter_map(|place| place.row)
        .max()
        .map_or(1, |row| row + 1);
    let label = |(index, (fault, place)): (usize, (&Fault, &Place))| {
        let number = index + 1;
        let begins = 100.0 * axes.time.at(fault.from);
        let (left, row, name) = match place.row {
            Some(row) => (
                100.0 * place.left,
                row,
                format!(" <span>{}</span>", Text(&fault.name)),
            ),
            None => (begins, 0, String::new()),
        };
        format!(
            "<li style='--begins:{begins:.2}%;--left:{left:.2}%;--row:{row}'><b>{number}</b>{name}</li>"
        )
    };
    let labels: String = record
        .faults
        .iter()
        .zip(&places)
        .enumerate()
        .map(label)
        .collect();
    if labels.is_empty() {
        return String::new();
    }
    format!(
        "<div class='row'><div></div><ol class='names' aria-label='faults' style='--rows:{rows}'>{labels}</ol></div>\n"
    )
}

fn time_axis(axes: &Axes) -> String {
    let ticks = axes.time.time_ticks(13);
    let step = ticks.get(1).copied().unwrap_or(1.0);
    let label = |(index, seconds): (usize, &f64)| {
        let left = 100.0 * axes.time.at(*seconds);
        let class = if index % 2 == 1 { " class='odd'" } else { "" };
        format!(
            "<span{class} style='left:{left:.2}%'>{}</span>",
            moment(*seconds, step)
        )
    };
    let labels: String = ticks.iter().enumerate().map(label).collect();
    format!(
        "<div class='row' aria-hidden='true'><div></div><div class='time'>{labels}</div></div>\n"
    )
}

/// A tick of time in the unit of the distance between ticks.
pub(super) fn moment(seconds: f64, step: f64) -> String {
    let (value, unit) = match step {
        step if step < 60.0 => (seconds, "s"),
        step if step < 3_600.0 => (seconds / 60.0, "min"),
        _ => (seconds / 3_600.0, "h"),
    };
    format!("{} {unit}", digits(value))
}
