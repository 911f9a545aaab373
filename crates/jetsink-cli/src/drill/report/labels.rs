//! Positions of the faults' names, without overlaps.

use super::scale::{Linear, Scale};
use crate::drill::record::Fault;

/// The position of a name over a plot.
#[derive(Debug, PartialEq)]
pub(super) struct LabelPosition {
    /// As a fraction of the plot's width.
    pub(super) left: f64,
    /// From the bottom; `None` if there was no room: then only the number is shown.
    pub(super) row: Option<usize>,
}

/// Puts each name at the beginning of its fault, or further to the left to keep it within the plot.
pub(super) fn positions(
    faults: &[Fault],
    time: &Linear,
    letters_across: f64,
    rows: usize,
) -> Vec<LabelPosition> {
    let mut taken: Vec<Vec<(f64, f64)>> = vec![Vec::new(); rows];
    let mut position = |fault: &Fault| {
        let width = (fault.name.chars().count() as f64 + 4.0) / letters_across;
        let left = time.at(fault.from).min(1.0 - width).max(0.0);
        let right = left + width;
        let is_free = |row: &Vec<(f64, f64)>| {
            row.iter()
                .all(|(from, until)| right <= *from || *until <= left)
        };
        let row = taken.iter().position(is_free);
        if let Some(row) = row {
            taken[row].push((left, right));
        }
        LabelPosition { left, row }
    };
    faults.iter().map(&mut position).collect()
}

#[cfg(test)]
#[path = "tests/labels.rs"]
mod tests;
