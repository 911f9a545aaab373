//! The segmented log.

pub(crate) mod disk;
pub(crate) mod event;
pub(crate) mod format;
pub(crate) mod index;
mod marks;
pub(crate) mod opening;
pub(crate) mod places;
pub(crate) mod reader;
mod reserve;
pub(crate) mod scan;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod writer;
