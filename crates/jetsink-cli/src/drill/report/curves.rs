//! Samples as lines and areas of an SVG.

use maud::{Markup, html};

use super::scale::{Linear, Scale};
use crate::drill::record::{CircuitState, Fault, Sample};

/// The rectangle of an SVG that contains a plot.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlotArea {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl PlotArea {
    pub(super) fn x(&self, fraction: f64) -> f64 {
        self.left + self.width * fraction
    }

    pub(super) fn y(&self, fraction: f64) -> f64 {
        self.top + self.height * (1.0 - fraction)
    }

    /// A line from side to side.
    pub(super) fn across(&self, class: &str, fraction: f64) -> Markup {
        let (left, right, y) = (self.left, self.x(1.0), self.y(fraction));
        let path = format!("M{left:.1} {y:.1}H{right:.1}");
        html! { path class=(class) d=(path) {} }
    }

    /// A line from top to bottom.
    fn upright(&self, class: &str, fraction: f64) -> Markup {
        let (x, top, bottom) = (self.x(fraction), self.top, self.y(0.0));
        let path = format!("M{x:.1} {top:.1}V{bottom:.1}");
        html! { path class=(class) d=(path) {} }
    }

    /// Each fault as a shade, with a line at its beginning: a fault without duration is visible, too.
    pub(super) fn faults(&self, faults: &[Fault], time: &Linear) -> Markup {
        html! {
            @for fault in faults {
                @let (from, until) = (time.at(fault.from), time.at(fault.until));
                (rect("fault", [
                    self.x(from),
                    self.top,
                    (self.x(until) - self.x(from)).max(0.0),
                    self.height,
                ]))
                (self.upright("begins", from))
            }
        }
    }
}

/// A rectangle: left, top, width and height.
pub(super) fn rect(class: &str, bounds: [f64; 4]) -> Markup {
    let [x, y, width, height] = bounds.map(|value| format!("{value:.1}"));
    html! { rect class=(class) x=(x) y=(y) width=(width) height=(height) {} }
}

/// Draws the samples of one contender.
pub(super) struct Curves<'a> {
    pub(super) area: PlotArea,
    pub(super) time: Linear,
    pub(super) samples: &'a [Sample],
    /// The width of a column: only its largest value is drawn.
    pub(super) column: f64,
}

impl<'a> Curves<'a> {
    pub(super) fn line(
        &self,
        class: &str,
        scale: &impl Scale,
        value: impl Fn(&Sample) -> Option<f64>,
    ) -> Markup {
        let mut path = String::new();
        for run in self.runs(&value) {
            let points: Vec<_> = run
                .iter()
                .map(|sample| self.point(sample, scale, &value))
                .collect();
            path.push_str(&format!("M{}", points.join("L")));
            if points.len() == 1 {
                // A line of no length with round ends is a dot.
                path.push_str("h.01");
            }
        }
        html! { path class={ "line " (class) } d=(path) {} }
    }

    /// Filled down to 0.
    pub(super) fn area(
        &self,
        class: &str,
        scale: &impl Scale,
        value: impl Fn(&Sample) -> Option<f64>,
    ) -> Markup {
        let mut path = String::new();
        let bottom = self.area.y(0.0);
        for run in self.runs(&value) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else {
                continue;
            };
            let points: Vec<_> = run
                .iter()
                .map(|sample| self.point(sample, scale, &value))
                .collect();
            let (left, right) = (self.x(first), self.x(last));
            let top = points.join("L");
            path.push_str(&format!(
                "M{left:.1} {bottom:.1}L{top}L{right:.1} {bottom:.1}Z"
            ));
        }
        html! { path class=(class) d=(path) {} }
    }

    fn x(&self, sample: &Sample) -> f64 {
        self.area.x(self.time.at(sample.at))
    }

    fn point(
        &self,
        sample: &Sample,
        scale: &impl Scale,
        value: impl Fn(&Sample) -> Option<f64>,
    ) -> String {
        let fraction = value(sample).map_or(0.0, |value| scale.at(value));
        format!("{:.1} {:.1}", self.x(sample), self.area.y(fraction))
    }

    /// The samples that a line goes through: the largest per column. A column without a value ends a
    /// run, so that the line has a gap.
    fn runs(&self, value: impl Fn(&Sample) -> Option<f64>) -> Vec<Vec<&'a Sample>> {
        let known = |sample: &Sample| value(sample).filter(|value| value.is_finite());
        let column = |sample: &Sample| (self.x(sample) / self.column).floor() as i64;
        let mut runs = Vec::new();
        let mut run = Vec::new();
        for samples in self
            .samples
            .chunk_by(|one, other| column(one) == column(other))
        {
            let largest = samples
                .iter()
                .filter_map(|sample| Some((known(sample)?, sample)))
                .max_by(|one, other| one.0.total_cmp(&other.0));
            match largest {
                Some((_, sample)) => run.push(sample),
                None => runs.push(std::mem::take(&mut run)),
            }
        }
        runs.push(run);
        runs.retain(|run| !run.is_empty());
        runs
    }
}

/// The time that the circuit spent in one state, as fractions of the time axis.
#[derive(Debug, PartialEq)]
pub(super) struct Span {
    pub(super) state: CircuitState,
    pub(super) from: f64,
    pub(super) until: f64,
}

/// A sample represents the time since the previous one.
pub(super) fn spans(samples: &[Sample], time: &Linear) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut before = 0.0;
    for sample in samples {
        let until = time.at(sample.at);
        if let Some(state) = sample.circuit {
            match spans.last_mut() {
                Some(span) if span.state == state && span.until == before => span.until = until,
                _ => spans.push(Span {
                    state,
                    from: before,
                    until,
                }),
            }
        }
        before = until;
    }
    spans
}
