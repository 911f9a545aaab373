//! Lines in the pipeline, and the positions behind them.

use bytes::Bytes;

use super::input::{Checkpoint, LineLocation};

/// A line in the pipeline.
pub(super) struct InFlight {
    pub(super) location: LineLocation,
    pub(super) raw: Bytes,
    /// The position to advance to with its result.
    pub(super) checkpoint: Option<Checkpoint>,
    /// Positions behind bad lines of other files, which were read after it.
    pub(super) others: Vec<Checkpoint>,
}

impl InFlight {
    /// Advances over a bad line behind it, too.
    pub(super) fn pass(&mut self, behind: Option<Checkpoint>) {
        let Some(behind) = behind else { return };
        let is_same = |own: &Checkpoint| own.is_in_log_of(&behind);
        if self.checkpoint.as_ref().is_none_or(is_same) {
            self.checkpoint = Some(behind);
        } else {
            self.others.push(behind);
        }
    }
}
