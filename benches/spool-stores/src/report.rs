//! Tables, and the few statistics in them.

use std::time::Duration;

pub(crate) struct Table {
    title: String,
    head: &'static [&'static str],
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Table {
    pub(crate) fn new(title: impl Into<String>, head: &'static [&'static str]) -> Self {
        Self {
            title: title.into(),
            head,
            rows: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    pub(crate) fn print(&self, markdown: bool) {
        let head: Vec<String> = self.head.iter().map(|name| (*name).to_owned()).collect();
        let width = |column: usize| {
            let cells = self
                .rows
                .iter()
                .chain([&head])
                .filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        let line = |cells: &[String]| {
            let padded: Vec<String> = cells.iter().zip(&widths).enumerate().map(pad).collect();
            if markdown {
                format!("| {} |", padded.join(" | "))
            } else {
                padded.join("  ")
            }
        };
        println!("\n{}{}\n", if markdown { "### " } else { "" }, self.title);
        println!("{}", line(&head));
        if markdown {
            let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            println!("{}", line(&rules));
        }
        for row in &self.rows {
            println!("{}", line(row));
        }
        for note in &self.notes {
            println!("{}{note}", if markdown { "\n" } else { "  " });
        }
    }
}

/// The first column to the left, numbers to the right.
fn pad((column, (cell, width)): (usize, (&String, &usize))) -> String {
    if column == 0 {
        format!("{cell:<width$}")
    } else {
        format!("{cell:>width$}")
    }
}

pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value that this part of the values does not exceed; 0 when there is none.
pub(crate) fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (part * sorted.len() as f64).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// The median of the quotients of rounds that ran side by side, which a busy minute can't bend.
pub(crate) fn ratio(values: &[f64], base: &[f64]) -> String {
    let quotients: Vec<f64> = values
        .iter()
        .zip(base)
        .map(|(value, base)| value / base)
        .collect();
    if quotients.is_empty() {
        "-".to_owned()
    } else {
        format!("{:.2}", median(&quotients))
    }
}

pub(crate) fn spread(values: &[f64], show: fn(f64) -> String) -> String {
    format!(
        "{} – {}",
        show(quantile(values, 0.0)),
        show(quantile(values, 1.0))
    )
}

/// A whole number with its thousands apart.
pub(crate) fn count(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

pub(crate) fn millis(value: f64) -> String {
    if value < 10.0 {
        format!("{value:.2}")
    } else {
        count(value)
    }
}

pub(crate) fn as_millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

pub(crate) fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}
