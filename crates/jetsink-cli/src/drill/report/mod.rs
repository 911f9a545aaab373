//! A drill's record as people read it: a page that opens without a network, and a picture.
//!
//! Both are drawn from the record alone. Whatever text it holds passes [`words::Text`].

mod axes;
mod curves;
mod labels;
mod page;
mod picture;
mod plot;
mod plots;
mod scale;
mod verdict;
pub(super) mod words;

#[cfg(test)]
mod example;
#[cfg(test)]
mod tests;

pub(crate) use page::html;
pub(crate) use picture::picture;

/// The colours of both, for light and for dark, told apart by people who are colour-blind too
/// (after Okabe and Ito; darker on white, lighter on black).
const PALETTE: &str = include_str!("palette.css");

/// Lanes past the fourth begin again with the first one's colour.
fn lane_class(index: usize) -> String {
    format!("lane-{}", index % 4)
}
