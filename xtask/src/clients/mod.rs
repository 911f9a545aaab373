//! Programs that are not ours, against what we publish.

pub(crate) mod languages;
