//! The drill as it runs, on a terminal of 80 columns. What is shown is made up purely; `indicatif` puts it
//! there.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::record::CircuitState;
use super::report::words::{count, duration};

/// What is to be seen at a moment.
#[derive(Debug, Default)]
pub(super) struct Frame {
    pub(super) at: Duration,
    /// When it is expected to end.
    pub(super) end: Duration,
    /// What goes on now.
    pub(super) now: String,
    pub(super) lanes: Vec<Row>,
    /// What is over, the latest last.
    pub(super) past: Vec<String>,
}

/// One lane of a [`Frame`].
#[derive(Debug, Default)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) per_second: f64,
    pub(super) median: Option<f64>,
    pub(super) longest: Option<f64>,
    pub(super) circuit: Option<CircuitState>,
    pub(super) spooled: Option<u64>,
    pub(super) ok: u64,
    pub(super) failed: u64,
}

/// How many things that are over are shown.
const PAST: usize = 4;

impl Frame {
    /// A head, a line for each lane, and what is over: always as many.
    pub(super) fn lines(&self) -> Vec<String> {
        let clock = |time: Duration| format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60);
        let mut lines = vec![
            format!("{} of {}  {}", clock(self.at), clock(self.end), self.now),
            format!(
                "{:<20} {:>6} {:>8} {:>8}  {:<7} {:>7} {:>9} {:>7}",
                "", "per s", "median", "longest", "circuit", "spooled", "Ok", "Err"
            ),
        ];
        lines.extend(self.lanes.iter().map(Row::line));
        let past = self.past.iter().skip(self.past.len().saturating_sub(PAST));
        lines.extend(past.cloned());
        lines.resize(2 + self.lanes.len() + PAST, String::new());
        lines
    }
}

impl Row {
    fn line(&self) -> String {
        let time = |seconds: Option<f64>| seconds.map_or_else(|| "-".to_owned(), duration);
        let circuit = match self.circuit {
            None => "-",
            Some(CircuitState::Connected) => "closed",
            Some(CircuitState::Reconnecting) => "open",
        };
        format!(
            "{:<20} {:>6.0} {:>8} {:>8}  {circuit:<7} {:>7} {:>9} {:>7}",
            self.name,
            self.per_second,
            time(self.median),
            time(self.longest),
            self.spooled.map_or_else(|| "-".to_owned(), count),
            count(self.ok),
            count(self.failed),
        )
    }
}

/// The lines on standard error, drawn over again and again.
pub(super) struct View {
    all: MultiProgress,
    lines: Vec<ProgressBar>,
}

impl View {
    pub(super) fn new() -> Self {
        Self {
            all: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()),
            lines: Vec::new(),
        }
    }

    pub(super) fn show(&mut self, frame: &Frame) {
        for (number, text) in frame.lines().into_iter().enumerate() {
            if self.lines.len() == number {
                let line = self.all.add(ProgressBar::new_spinner());
                // A template that is well-formed: there is another way to draw if not.
                if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
                    line.set_style(style);
                }
                self.lines.push(line);
            }
            self.lines[number].set_message(text);
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // The verdict takes its place. A terminal that is gone is no failure.
        let _ = self.all.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fits_80_columns_and_is_always_as_high() {
        let mut frame = Frame {
            at: Duration::from_secs(83),
            end: Duration::from_secs(3_600),
            now: "leader cut off, for 10 s".to_owned(),
            lanes: vec![
                Row {
                    name: "jetsink with a spool",
                    per_second: 9_999.6,
                    median: Some(0.000_412_3),
                    longest: Some(15.503_2),
                    circuit: Some(CircuitState::Reconnecting),
                    spooled: Some(123_456),
                    ok: 1_234_567,
                    failed: 999_999,
                },
                Row {
                    name: "plain async-nats",
                    ..Row::default()
                },
            ],
            ..Frame::default()
        };
        let height = frame.lines().len();
        for number in 0..9 {
            frame.past.push(format!("past {number}"));
        }
        let lines = frame.lines();
        assert_eq!(lines.len(), height);
        assert!(
            lines.iter().all(|line| line.chars().count() <= 80),
            "{lines:#?}"
        );
        assert!(
            lines[2].contains("15.5 s") && lines[2].contains("123,456"),
            "{}",
            lines[2]
        );
        assert_eq!(lines.last().map(String::as_str), Some("past 8"));
    }
}
