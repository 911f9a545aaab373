//! The parts of a run that stay on the disk: the position, and the rejected lines before it.

use super::input::{Checkpoint, Positions};
use super::rejected::RejectedLines;
use super::settings::Settings;
use crate::failure::Failure;

/// A position behind a line.
#[derive(Debug)]
pub(super) struct Passed {
    pub(super) checkpoint: Checkpoint,
    /// The number of rejected lines up to there: the disk must have them before the position.
    rejected: u64,
}

pub(super) struct Saved {
    rejected: Option<RejectedLines>,
    /// With `--position`.
    position: Option<Positions>,
    /// The number of rejected lines up to the last refused event.
    refused: u64,
    /// Whether a line was not sent or not kept, or its outcome is unknown: the position stays before it.
    pub(super) has_unsent: bool,
}

impl Saved {
    pub(super) fn new(settings: &Settings, rejected: Option<RejectedLines>) -> Self {
        Self {
            rejected,
            position: settings.position.as_ref().map(|_| Positions::default()),
            refused: 0,
            has_unsent: false,
        }
    }

    pub(super) fn has_position(&self) -> bool {
        self.position.is_some()
    }

    /// The position behind the line that was just read, and rejected if it is bad.
    pub(super) fn passed(&self, checkpoint: Option<Checkpoint>) -> Option<Passed> {
        let rejected = self.rejected.as_ref().map_or(0, RejectedLines::kept);
        checkpoint.map(|checkpoint| Passed {
            checkpoint,
            rejected,
        })
    }

    /// Advances the position, unless an earlier line was not sent.
    pub(super) fn advance(&mut self, passed: Option<Passed>) {
        let synced = self.rejected.as_ref().map_or(0, RejectedLines::synced);
        if let (Some(position), Some(passed), false) = (&mut self.position, passed, self.has_unsent)
        {
            let rejected = passed.rejected.max(self.refused);
            position.advance(passed.checkpoint, rejected, synced);
        }
    }

    /// Saves the position. Rejected lines before it are written to the disk first; if that fails, the position stays before
    /// the first of them.
    pub(super) fn save_position(&mut self) -> Result<(), Failure> {
        let Some(position) = &mut self.position else {
            return Ok(());
        };
        let (mut kept, mut synced) = (Ok(()), 0);
        if let (true, Some(rejected)) = (position.is_unsaved(), &mut self.rejected) {
            kept = rejected.sync();
            synced = rejected.synced();
        }
        let saved = position.save(synced);
        kept.and(saved)
    }

    /// Keeps a bad line.
    pub(super) fn reject(&mut self, raw: &[u8]) -> Result<(), Failure> {
        self.rejected
            .as_mut()
            .map_or(Ok(()), |rejected| rejected.write(raw))
    }

    /// Keeps the line of a refused event. If that fails, the position stays before the line.
    pub(super) fn refuse(&mut self, raw: &[u8]) -> Result<(), Failure> {
        let kept = self.reject(raw);
        self.has_unsent |= kept.is_err();
        self.refused = self.rejected.as_ref().map_or(0, RejectedLines::kept);
        kept
    }

    /// The rejected lines that could not be written.
    pub(super) fn not_kept(&self) -> u64 {
        self.rejected.as_ref().map_or(0, RejectedLines::not_kept)
    }

    /// Writes the rest of the rejected lines.
    pub(super) fn end(&mut self) -> Result<(), Failure> {
        match (&mut self.rejected, &self.position) {
            (None, _) => Ok(()),
            // The saved position relies on them.
            (Some(rejected), Some(_)) => rejected.sync(),
            (Some(rejected), None) => rejected.flush(),
        }
    }
}
