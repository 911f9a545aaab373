//! The report of a drill: a page that opens without a network, and a picture.
//!
//! Both are drawn from the record alone. `maud` escapes all texts of the record.

mod axes;
mod curves;
mod labels;
mod page;
mod picture;
mod plot;
mod plots;
mod printable;
mod scale;
mod verdict;

#[cfg(test)]
#[path = "tests/example.rs"]
mod example;
#[cfg(test)]
#[path = "tests/document.rs"]
mod tests;

use super::record::Record;

/// One HTML file.
pub(super) fn html(record: &Record) -> String {
    page::html(&printable::printable(record)).into_string()
}

/// One SVG file.
pub(super) fn picture(record: &Record) -> String {
    picture::picture(&printable::printable(record)).into_string()
}
