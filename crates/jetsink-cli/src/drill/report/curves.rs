//! A contender's samples as lines and areas of an SVG.

use super::scale::{Linear, Scale};
use crate::drill::record::{CircuitState, Fault, Sample};

/// The rectangle of an SVG that a plot is drawn into.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Frame {
    pub(super) fn x(&self, fraction: f64) -> f64 {
        self.left + self.width * fraction
    }

    pub(super) fn y(&self, fraction: f64) -> f64 {
        self.top + self.height * (1.0 - fraction)
    }

    /// A line from side to side.
    pub(super) fn across(&self, class: &str, fraction: f64) -> String {
        let (left, right, y) = (self.left, self.x(1.0), self.y(fraction));
        format!("<path class='{class}' d='M{left:.1} {y:.1}H{right:.1}'/>")
    }

    /// A line from top to bottom.
    pub(super) fn upright(&self, class: &str, fraction: f64) -> String {
        let (x, top, bottom) = (self.x(fraction), self.top, self.y(0.0));
        format!("<path class='{class}' d='M{x:.1} {top:.1}V{bottom:.1}'/>")
    }

    /// Each fault's time as a shade, with a line where it begins: one that took no time is seen too.
    pub(super) fn faults(&self, faults: &[Fault], time: &Linear) -> String {
        let shade = |fault: &Fault| {
            let (from, until) = (time.at(fault.from), time.at(fault.until));
            let (x, y, height) = (self.x(from), self.top, self.height);
            let width = (self.x(until) - x).max(0.0);
            format!(
                "<rect class='fault' x='{x:.1}' y='{y:.1}' width='{width:.1}' height='{height:.1}'/>{}",
                self.upright("begins", from)
            )
        };
        faults.iter().map(shade).collect()
    }
}

/// What a contender's lines are drawn from.
pub(super) struct Curves<'a> {
    pub(super) frame: Frame,
    pub(super) time: Linear,
    pub(super) samples: &'a [Sample],
    /// How wide the column is of which only the largest value is drawn.
    pub(super) column: f64,
}

impl<'a> Curves<'a> {
    pub(super) fn line(
        &self,
        class: &str,
        scale: &impl Scale,
        value: impl Fn(&Sample) -> Option<f64>,
    ) -> String {
        let mut path = String::new();
        for run in self.runs(&value) {
            let points: Vec<_> = run
                .iter()
                .map(|sample| self.point(sample, scale, &value))
                .collect();
            path.push_str(&format!("M{}", points.join("L")));
            if points.len() == 1 {
                // With round ends this is a dot; without it, nothing.
                path.push_str("h.01");
            }
        }
        format!("<path class='line {class}' d='{path}'/>")
    }

    /// Filled down to 0.
    pub(super) fn area(
        &self,
        class: &str,
        scale: &impl Scale,
        value: impl Fn(&Sample) -> Option<f64>,
    ) -> String {
        let mut path = String::new();
        let bottom = self.frame.y(0.0);
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
        format!("<path class='{class}' d='{path}'/>")
    }

    fn x(&self, sample: &Sample) -> f64 {
        self.frame.x(self.time.at(sample.at))
    }

    fn point(
        &self,
        sample: &Sample,
        scale: &impl Scale,
        value: impl Fn(&Sample) -> Option<f64>,
    ) -> String {
        let fraction = value(sample).map_or(0.0, |value| scale.at(value));
        format!("{:.1} {:.1}", self.x(sample), self.frame.y(fraction))
    }

    /// The samples that a line goes through, one for each column: the largest. A column without a
    /// value ends a run, so that no line is drawn where nothing is known.
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

/// How long the circuit was in one state, as fractions of the time.
#[derive(Debug, PartialEq)]
pub(super) struct Span {
    pub(super) state: CircuitState,
    pub(super) from: f64,
    pub(super) until: f64,
}

/// A sample tells of the time since the one before it.
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
