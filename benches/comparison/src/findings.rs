//! The figures of a run, written to JSON and read from it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::contender::Contender;
use crate::machine::Machine;
use crate::scenarios::Scenario;

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Value {
    Count(usize),
    Seconds(f64),
    /// Given up after this time.
    OverSeconds(f64),
    Text(String),
    /// The minimum and the maximum of several rounds.
    Between(Box<Value>, Box<Value>),
    /// The different values of several rounds.
    Either(Vec<Value>),
}

impl Value {
    /// Adds the value of another round.
    fn widen(&mut self, other: Self) {
        if *self == other {
            return;
        }
        *self = match (self.ends(), other.number()) {
            (Some((least, most)), Some(number)) => {
                let least_now = if number < least.1 {
                    other.clone()
                } else {
                    least.0
                };
                let most_now = if number > most.1 { other } else { most.0 };
                Self::Between(Box::new(least_now), Box::new(most_now))
            }
            _ => {
                let mut all = match &*self {
                    Self::Either(all) => all.clone(),
                    one => vec![one.clone()],
                };
                if !all.contains(&other) {
                    all.push(other);
                }
                Self::Either(all)
            }
        };
    }

    /// The number to compare by; a time at which an emit was given up is longer than any measured one.
    fn number(&self) -> Option<f64> {
        match self {
            #[allow(clippy::cast_precision_loss)] // far below 2^52
            Self::Count(count) => Some(*count as f64),
            Self::Seconds(seconds) | Self::OverSeconds(seconds) => Some(*seconds),
            Self::Text(_) | Self::Between(..) | Self::Either(_) => None,
        }
    }

    fn ends(&self) -> Option<((Self, f64), (Self, f64))> {
        let (least, most) = match self {
            Self::Between(least, most) => (&**least, &**most),
            one => (one, one),
        };
        Some((
            (least.clone(), least.number()?),
            (most.clone(), most.number()?),
        ))
    }
}

impl From<usize> for Value {
    fn from(count: usize) -> Self {
        Self::Count(count)
    }
}

impl From<Duration> for Value {
    fn from(duration: Duration) -> Self {
        Self::Seconds(duration.as_secs_f64())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or_else(|| Self::Text("never".to_owned()), Into::into)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => f.write_str(&with_thousands(*count)),
            Self::Seconds(seconds) => f.write_str(&time(*seconds)),
            Self::OverSeconds(seconds) => write!(f, "over {seconds:.0} s"),
            Self::Text(text) => f.write_str(text),
            Self::Between(least, most) => write!(f, "{least} to {most}"),
            Self::Either(all) => {
                let all: Vec<String> = all.iter().map(ToString::to_string).collect();
                f.write_str(&all.join(" or "))
            }
        }
    }
}

fn with_thousands(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn time(seconds: f64) -> String {
    let (number, unit) = match seconds {
        s if s >= 1.0 => (s, "s"),
        s if s >= 1e-3 => (s * 1e3, "ms"),
        s if s >= 1e-6 => (s * 1e6, "µs"),
        s => (s * 1e9, "ns"),
    };
    match number {
        0.0 => "0".to_owned(),
        n if n >= 100.0 => format!("{n:.0} {unit}"),
        n if n >= 10.0 => format!("{n:.1} {unit}"),
        n => format!("{n:.2} {unit}"),
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Finding {
    pub(crate) what: String,
    pub(crate) value: Value,
}

/// The figures of one contender in one scenario.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Findings {
    pub(crate) figures: Vec<Finding>,
    /// The promises of jetsink that it did not keep.
    pub(crate) broken: Vec<String>,
}

impl Findings {
    pub(crate) fn add(&mut self, what: &str, value: impl Into<Value>) -> &mut Self {
        self.figures.push(Finding {
            what: what.to_owned(),
            value: value.into(),
        });
        self
    }

    /// Records a broken promise unless `holds`.
    pub(crate) fn promise(&mut self, holds: bool, otherwise: impl Into<String>) -> &mut Self {
        if !holds {
            self.broken.push(otherwise.into());
        }
        self
    }

    /// Adds another round: equal figures stay, different ones become a range.
    pub(crate) fn widen(&mut self, other: Self) {
        for theirs in other.figures {
            match self
                .figures
                .iter_mut()
                .find(|ours| ours.what == theirs.what)
            {
                Some(ours) => ours.value.widen(theirs.value),
                None => self.figures.push(theirs),
            }
        }
        self.broken.extend(other.broken);
    }

    pub(crate) fn value(&self, what: &str) -> Option<&Value> {
        let figure = self.figures.iter().find(|figure| figure.what == what);
        figure.map(|figure| &figure.value)
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) contender: Contender,
    pub(crate) findings: Findings,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Table {
    pub(crate) scenario: Scenario,
    pub(crate) parts: Vec<Part>,
}

impl Table {
    /// The names of the figures of all contenders, in order.
    pub(crate) fn rows(&self) -> Vec<&str> {
        let mut rows: Vec<&str> = Vec::new();
        for part in &self.parts {
            for figure in &part.findings.figures {
                if !rows.contains(&figure.what.as_str()) {
                    rows.push(&figure.what);
                }
            }
        }
        rows
    }
}

/// A whole run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) machine: Machine,
    pub(crate) tables: Vec<Table>,
}

impl Run {
    /// The promises that jetsink broke. The other contenders do not make them.
    pub(crate) fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        for table in &self.tables {
            for part in table.parts.iter().filter(|part| part.contender.is_ours()) {
                for what in &part.findings.broken {
                    let (scenario, who) = (table.scenario.name(), part.contender.title());
                    broken.push(format!("{scenario}: {who}: {what}"));
                }
            }
        }
        broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_carry_their_unit() {
        assert_eq!(Value::from(1_234_567_usize).to_string(), "1,234,567");
        assert_eq!(Value::from(200_usize).to_string(), "200");
        assert_eq!(Value::from(Duration::from_nanos(180)).to_string(), "180 ns");
        assert_eq!(
            Value::from(Duration::from_micros(2_003_400)).to_string(),
            "2.00 s"
        );
        assert_eq!(Value::OverSeconds(60.0).to_string(), "over 60 s");
        assert_eq!(Value::from(None::<usize>).to_string(), "never");
    }

    #[test]
    fn several_rounds_give_a_range_or_each_different_value() {
        let round = |lost: usize, told: &str| {
            let mut findings = Findings::default();
            findings
                .add("lost", lost)
                .add("told", told)
                .add("of", 10_usize);
            findings
        };
        let mut all = round(3, "Ok");
        for (lost, told) in [(7, "Ok"), (1, "Err"), (5, "Ok")] {
            all.widen(round(lost, told));
        }
        let shown = |what| all.value(what).map(ToString::to_string);
        assert_eq!(shown("lost").as_deref(), Some("1 to 7"));
        assert_eq!(shown("told").as_deref(), Some("Ok or Err"));
        assert_eq!(shown("of").as_deref(), Some("10"));
    }

    #[test]
    fn only_promises_that_jetsink_breaks_count() {
        let part = |contender| {
            let mut findings = Findings::default();
            findings.promise(false, "lost 3").promise(true, "fine");
            Part {
                contender,
                findings,
            }
        };
        let run = |parts| Run {
            machine: Machine::default(),
            tables: vec![Table {
                scenario: Scenario::Full,
                parts,
            }],
        };
        let others = [Contender::Published, Contender::NatsAcked].map(part);
        assert!(run(others.to_vec()).broken().is_empty());
        let ours = [Contender::JetsinkSpool].map(part);
        assert_eq!(
            run(ours.to_vec()).broken(),
            ["full: jetsink, spool: lost 3"]
        );
    }
}
