//! Where the faults' names stand, so that none covers another.

use super::scale::{Linear, Scale};
use crate::drill::record::Fault;

/// A name's place over a plot.
#[derive(Debug, PartialEq)]
pub(super) struct Place {
    /// Of the plot's width.
    pub(super) left: f64,
    /// From the top; none where there was no room, and only the number can stand.
    pub(super) row: Option<usize>,
}

/// Each name where its fault begins, or as far to the left as keeps it within the plot.
pub(super) fn places(
    faults: &[Fault],
    time: &Linear,
    letters_across: f64,
    rows: usize,
) -> Vec<Place> {
    let mut taken: Vec<Vec<(f64, f64)>> = vec![Vec::new(); rows];
    let mut place = |fault: &Fault| {
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
        Place { left, row }
    };
    faults.iter().map(&mut place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(begins: &[f64]) -> Vec<Fault> {
        let fault = |from: &f64| Fault {
            name: "frozen".to_owned(),
            from: *from,
            until: from + 1.0,
        };
        begins.iter().map(fault).collect()
    }

    #[test]
    fn names_that_would_meet_stand_in_rows_and_one_past_the_last_row_has_none() {
        let time = Linear { end: 100.0 };
        let rows = |begins: &[f64]| -> Vec<_> {
            let places = places(&faults(begins), &time, 100.0, 2);
            places.into_iter().map(|place| place.row).collect()
        };
        assert_eq!(rows(&[0.0, 10.0, 20.0]), [Some(0), Some(0), Some(0)]);
        assert_eq!(rows(&[0.0, 5.0, 12.0]), [Some(0), Some(1), Some(0)]);
        assert_eq!(rows(&[0.0, 1.0, 2.0]), [Some(0), Some(1), None]);
    }

    #[test]
    fn a_name_at_the_end_stays_within_the_plot() {
        let places = places(&faults(&[98.0, 40.0]), &Linear { end: 100.0 }, 100.0, 1);
        assert!((places[0].left - 0.9).abs() < 1e-9, "{places:?}");
        assert!((places[1].left - 0.4).abs() < 1e-9, "{places:?}");
    }
}
