//! The parts of a run that stay on the disk: the position, and the rejected lines before it.

use super::input::{Checkpoint, Positions};
use super::rejected::RejectedLines;
use super::settings::Settings;
use crate::failure::Failure;

pub(super) struct Saved {
    rejected: Option<RejectedLines>,
    /// With `--position`.
    position: Option<Positions>,
    /// Whether a line was not sent or not kept, or its outcome is unknown: the position stays before it.
    pub(super) has_unsent: bool,
}

impl Saved {
    pub(super) fn new(settings: &Settings, rejected: Option<RejectedLines>) -> Self {
        Self {
            rejected,
            position: settings.position.as_ref().map(|_| Positions::default()),
            has_unsent: false,
        }
    }

    pub(super) fn has_position(&self) -> bool {
        self.position.is_some()
    }

    /// Advances the position, unless an earlier line was not sent.
    pub(super) fn advance(&mut self, checkpoint: Option<Checkpoint>) {
        if let (Some(position), Some(checkpoint), false) =
            (&mut self.position, checkpoint, self.has_unsent)
        {
            position.advance(checkpoint);
        }
    }

    /// Saves the position. Rejected lines before it are written to the disk first.
    pub(super) fn save_position(&mut self) -> Result<(), Failure> {
        let Some(position) = &mut self.position else {
            return Ok(());
        };
        if let (true, Some(rejected)) = (position.is_unsaved(), &mut self.rejected) {
            rejected.sync()?;
        }
        position.save()
    }

    /// Keeps a rejected line. If that fails, the position stays before the line.
    pub(super) fn reject(&mut self, raw: &[u8]) -> Result<(), Failure> {
        let Some(rejected) = &mut self.rejected else {
            return Ok(());
        };
        let written = rejected.write(raw);
        self.has_unsent |= written.is_err();
        written
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
