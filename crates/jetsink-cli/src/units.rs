//! Parses and formats times and sizes.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;

/// 1,000 years: a time that can be added to any clock.
const MAX_SECONDS: f64 = 365_000.0 * 86_400.0;

pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time; write it like 500ms, 2s, 1m, 1h or 3d");
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let seconds = match unit {
        "ms" => number / 1_000.0,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3_600.0,
        "d" => number * 86_400.0,
        "" if number == 0.0 => 0.0,
        _ => return Err(wrong()),
    };
    if seconds > MAX_SECONDS {
        return Err(format!("{text:?} is over 1,000 years (365000d)"));
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size; write it like 500MB, 512MiB or 2GiB");
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let factor: u64 = match unit {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    let bytes = number * factor as f64;
    // Past 2^53 a number of bytes is no longer exact, and no disk is that large.
    if (1.0..=9e15).contains(&bytes) {
        Ok(bytes as u64)
    } else {
        Err(wrong())
    }
}

/// The minimum of `--spool-limit`. Less is a number without its unit.
const MIN_SPOOL_LIMIT: u64 = 4 << 10;

/// Parses the limit of a spool.
pub(crate) fn parse_spool_limit(text: &str) -> Result<u64, String> {
    let bytes = parse_bytes(text)?;
    if bytes < MIN_SPOOL_LIMIT {
        return Err(format!(
            "{text:?} is {bytes} bytes, and a spool needs at least 4KiB; write a unit, such as 512MiB"
        ));
    }
    Ok(bytes)
}

/// Formats a duration in its two largest units.
pub(crate) fn format_seconds(seconds: u64) -> String {
    match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// Formats a time in UTC as RFC 3339 with milliseconds.
pub(crate) fn format_time(time: SystemTime) -> String {
    let text = |time: Timestamp| time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
    Timestamp::try_from(time).map_or_else(|_| "-".to_owned(), text)
}

/// Splits a number from its unit.
fn split(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    Some((number.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
#[path = "tests/units.rs"]
mod tests;
