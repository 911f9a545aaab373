//! The verdict as text.

use super::record::Record;

/// One line per check, and a last line for the whole drill.
pub(super) fn lines(record: &Record) -> Vec<String> {
    let mut lines = Vec::new();
    for contender in &record.contenders {
        lines.push(contender.name.clone());
        for check in &contender.checks {
            let (bound, mark) = match (&check.bound, check.kept) {
                (Some(bound), Some(true)) => (bound.as_str(), "kept"),
                (Some(bound), Some(false)) => (bound.as_str(), "BROKEN"),
                _ => ("", ""),
            };
            let line = format!(
                "  {:<30} {:>24}  {bound:<15} {mark}",
                check.name, check.seen
            );
            lines.push(line.trim_end().to_owned());
        }
    }
    let checks = record
        .contenders
        .iter()
        .flat_map(|contender| &contender.checks);
    let broken = checks.filter(|check| check.kept == Some(false)).count();
    if record.about.interrupted {
        let faults = record.faults.len();
        lines.push(format!(
            "interrupted after {faults} of its faults; as far as it came:"
        ));
    }
    lines.push(match broken {
        0 if record.about.unread => {
            "no verdict: what the broker holds could not be read".to_owned()
        }
        0 => "every promise was kept".to_owned(),
        1 => "1 promise was BROKEN".to_owned(),
        broken => format!("{broken} promises were BROKEN"),
    });
    lines
}
