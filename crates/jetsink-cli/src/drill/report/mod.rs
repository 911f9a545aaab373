//! A drill's record as people read it: a page that opens without a network, and a picture.
//!
//! Both are drawn from the record alone. All its texts are escaped by [`Text`](crate::drill::format::Text).

mod axes;
mod curves;
mod labels;
mod page;
mod picture;
mod plot;
mod plots;
mod scale;
mod verdict;

#[cfg(test)]
mod example;
#[cfg(test)]
mod tests;

pub(crate) use page::html;
pub(crate) use picture::picture;

/// The colours of both, for light and for dark, distinguishable for people who are colour-blind too
/// (after Okabe and Ito; darker on white, lighter on black).
const PALETTE: &str = include_str!("palette.css");

/// Contenders past the fourth begin again with the first one's colour.
fn contender_class(index: usize) -> String {
    format!("contender-{}", index % 4)
}
