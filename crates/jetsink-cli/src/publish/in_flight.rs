//! Lines in the pipeline, and the positions behind them.

use bytes::Bytes;

use super::input::LineLocation;
use super::saved::Passed;

/// A line in the pipeline.
pub(super) struct InFlight {
    pub(super) location: LineLocation,
    pub(super) raw: Bytes,
    /// The position to advance to with its result.
    pub(super) passed: Option<Passed>,
    /// Positions behind bad lines that were read after it, one per file.
    pub(super) behind: Vec<Passed>,
}

impl InFlight {
    /// Advances over a bad line behind it, too.
    pub(super) fn pass(&mut self, behind: Option<Passed>) {
        let Some(behind) = behind else { return };
        let mut known = self.behind.iter_mut();
        match known.find(|known| known.checkpoint.is_in_log_of(&behind.checkpoint)) {
            Some(known) => *known = behind,
            None => self.behind.push(behind),
        }
    }
}
