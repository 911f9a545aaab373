//! Findings of one kind.

use serde::Serialize;

/// Findings of one kind: all are counted, the first ones are listed.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Found<T> {
    pub(super) count: usize,
    pub(super) listed: Vec<T>,
}

impl<T> Default for Found<T> {
    fn default() -> Self {
        Self {
            count: 0,
            listed: Vec::new(),
        }
    }
}

impl<T> Found<T> {
    pub(super) fn add(&mut self, max: usize, finding: impl FnOnce() -> T) {
        self.count += 1;
        if self.listed.len() < max {
            self.listed.push(finding());
        }
    }
}
