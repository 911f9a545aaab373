//! One plot of the page, and several over one axis of time.
//!
//! Lines and areas are SVG, stretched to the available width. Names and numbers are HTML beside them,
//! with the same size on a phone and on a desktop.

use maud::{Markup, html};

use super::axes::Axes;
use super::curves::PlotArea;
use super::labels::{LabelPosition, positions};
use super::scale::{Linear, Logarithmic, Scale as _};
use crate::drill::format::{amount, digits, duration};
use crate::drill::record::{Fault, Record};

/// The width of a plot in units of its SVG. If there are more samples, the largest per unit is drawn.
pub(super) const WIDTH: f64 = 1_000.0;

/// One plot of the page.
pub(super) struct Plot<'a> {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) description: String,
    /// The plot's name.
    pub(super) name: &'static str,
    /// The keys of its lines.
    pub(super) keys: Vec<Markup>,
    /// Labels with their positions, from 0 at the bottom to 1 at the top.
    pub(super) labels: Vec<(f64, String)>,
    pub(super) height: f64,
    pub(super) faults: &'a [Fault],
    pub(super) axes: &'a Axes,
    /// Lines and areas.
    pub(super) marks: Markup,
}

impl Plot<'_> {
    fn markup(&self, fault_names: Option<Markup>) -> Markup {
        let Self {
            id,
            height,
            labels,
            marks,
            ..
        } = self;
        let area = area(*height);
        html! {
            figure {
                figcaption { b { (self.name) } @for key in &self.keys { (key) } }
                @if let Some(names) = fault_names { (names) }
                div class="row" {
                    div class="labels" aria-hidden="true" {
                        @for (at, text) in labels {
                            span style={ "top:" (tenths(area.y(*at))) "px" } { (text) }
                        }
                    }
                    svg viewBox={ "0 0 " (WIDTH) " " (height) } preserveAspectRatio="none"
                        style={ "height:" (height) "px" } role="img" aria-labelledby={ (id) "-t " (id) "-d" }
                        xmlns="http://www.w3.org/2000/svg" {
                        title id={ (id) "-t" } { (self.title) }
                        desc id={ (id) "-d" } { (self.description) }
                        (area.faults(self.faults, &self.axes.time))
                        @for (at, _) in labels { (area.across("grid", *at)) }
                        (marks)
                    }
                }
            }
        }
    }
}

/// A coordinate with one decimal.
pub(super) fn tenths(value: f64) -> String {
    format!("{value:.1}")
}

/// The area of a plot of the page.
pub(super) fn area(height: f64) -> PlotArea {
    PlotArea {
        left: 0.0,
        top: 0.0,
        width: WIDTH,
        height,
    }
}

/// The key of a line: its class and its text.
pub(super) fn key(class: &str, text: &str) -> Markup {
    html! { span class="key" { i class=(class) {} (text) } }
}

pub(super) fn latency_labels(scale: &Logarithmic, max: usize) -> Vec<(f64, String)> {
    let label = |power: i32| {
        let value = 10f64.powi(power);
        (scale.at(value), duration(value))
    };
    scale.labelled(max).into_iter().map(label).collect()
}

pub(super) fn count_labels(scale: &Linear) -> Vec<(f64, String)> {
    let label = |value: f64| (scale.at(value), amount(value, scale.end));
    scale.ticks(5).into_iter().map(label).collect()
}

/// Stacks plots: the faults' names over the first one, the time under the last one.
pub(super) fn stack(record: &Record, axes: &Axes, plots: &[Plot<'_>]) -> Markup {
    html! {
        div class="stack" {
            @for (index, plot) in plots.iter().enumerate() {
                (plot.markup((index == 0).then(|| fault_names(record, axes))))
            }
            (time_axis(axes))
        }
    }
}

/// The names over a stack. A phone shows only the numbers, as in the table of faults.
fn fault_names(record: &Record, axes: &Axes) -> Markup {
    let positions = positions(&record.faults, &axes.time, 130.0, 3);
    let rows = positions.iter().filter_map(|position| position.row).max();
    html! {
        @if !positions.is_empty() {
            div class="row" {
                div {}
                ol class="names" aria-label="faults" style={ "--rows:" (rows.map_or(1, |row| row + 1)) } {
                    @for (index, (fault, position)) in record.faults.iter().zip(&positions).enumerate() {
                        li style=(name_style(fault, position, axes)) {
                            b { (index + 1) }
                            @if position.row.is_some() { " " span { (fault.name) } }
                        }
                    }
                }
            }
        }
    }
}

fn name_style(fault: &Fault, position: &LabelPosition, axes: &Axes) -> String {
    let begins = 100.0 * axes.time.at(fault.from);
    let (left, row) = match position.row {
        Some(row) => (100.0 * position.left, row),
        None => (begins, 0),
    };
    format!("--begins:{begins:.2}%;--left:{left:.2}%;--row:{row}")
}

fn time_axis(axes: &Axes) -> Markup {
    let ticks = axes.time.time_ticks(13);
    let step = ticks.get(1).copied().unwrap_or(1.0);
    let left = |seconds: f64| format!("left:{:.2}%", 100.0 * axes.time.at(seconds));
    html! {
        div class="row" aria-hidden="true" {
            div {}
            div class="time" {
                @for (index, &seconds) in ticks.iter().enumerate() {
                    span class=[(index % 2 == 1).then_some("odd")] style=(left(seconds)) {
                        (moment(seconds, step))
                    }
                }
            }
        }
    }
}

/// A tick of time, in the unit of the distance between ticks.
pub(super) fn moment(seconds: f64, step: f64) -> String {
    let (value, unit) = match step {
        step if step < 60.0 => (seconds, "s"),
        step if step < 3_600.0 => (seconds / 60.0, "min"),
        _ => (seconds / 3_600.0, "h"),
    };
    format!("{} {unit}", digits(value))
}
