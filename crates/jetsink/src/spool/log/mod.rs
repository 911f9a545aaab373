//! The segmented log.

mod active;
pub(crate) mod backlog;
mod contents;
pub(crate) mod disk;
pub(crate) mod event;
#[cfg_attr(not(unix), path = "no_folder.rs")]
pub(crate) mod folder;
pub(crate) mod format;
pub(crate) mod index;
pub(crate) mod marks;
pub(crate) mod opening;
pub(crate) mod places;
pub(crate) mod reader;
pub(crate) mod reserve;
mod rewrite;
mod scan;
mod seal;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod writer;
