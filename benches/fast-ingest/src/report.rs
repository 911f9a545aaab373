//! Rounds side by side: medians, spreads, ratios.

use std::time::Duration;

use crate::Result;

/// One measurement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) rate: f64,
    /// Microseconds of CPU per event.
    pub(crate) client: f64,
    pub(crate) server: f64,
}

/// One way, round by round, and what the base did directly before each.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) samples: Vec<(Sample, Sample)>,
}

impl Row {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            samples: Vec::new(),
        }
    }
}

/// Prints one line for each row. The ratios are to the base's run directly before, so that a drift of the
/// machine cancels out.
pub(crate) fn print(title: &str, rows: &[Row]) {
    println!(
        "\n{title}\n\n| | events/s | rate / base | client µs | server µs | server CPU / base |\n\
         | --- | --- | --- | --- | --- | --- |"
    );
    for row in rows {
        let of = |pick: fn(&Sample) -> f64| row.samples.iter().map(|(_, own)| pick(own)).collect();
        let to_base = |pick: fn(&Sample) -> f64| {
            let pairs = row.samples.iter();
            pairs.map(|(base, own)| pick(own) / pick(base)).collect()
        };
        println!(
            "| {} | {} | {} | {:.1} | {} | {} |",
            row.name,
            spread(of(|s| s.rate), 0),
            spread(to_base(|s| s.rate), 2),
            median(of(|s| s.client)),
            spread(of(|s| s.server), 1),
            spread(to_base(|s| s.server), 2),
        );
    }
}

fn spread(mut of: Vec<f64>, digits: usize) -> String {
    of.sort_by(f64::total_cmp);
    let (low, high) = (of.first().copied(), of.last().copied());
    format!(
        "{:.digits$} ({:.digits$} … {:.digits$})",
        median(of),
        low.unwrap_or(f64::NAN),
        high.unwrap_or(f64::NAN),
    )
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    match of.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => of[n / 2],
        n => f64::midpoint(of[n / 2 - 1], of[n / 2]),
    }
}

/// The processor time that a process, or `self`, has used so far (proc(5): fields 14 and 15 of `stat`, in
/// hundredths of a second).
pub(crate) fn cpu_time(process: &str) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The second field is the name in brackets, which may hold blanks.
    let (_, rest) = stat.rsplit_once(')').ok_or("no name in stat")?;
    let mut ticks = 0;
    for field in rest.split_whitespace().skip(11).take(2) {
        ticks += field.parse::<u64>()?;
    }
    Ok(Duration::from_millis(ticks * 10))
}
