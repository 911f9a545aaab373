//! A followed log: its history, shared by the watcher and the reader, and the place of its saved position.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jetsink::{Envelope, MessageId};
use tokio::sync::mpsc;

use super::generation::{Descriptor, Loss, Time};
use super::history::History;
use crate::publish::input::trail::ChainProgress;

impl Descriptor for Arc<File> {
    fn length(&self) -> u64 {
        self.metadata().map_or(0, |metadata| metadata.len())
    }
}

/// A message of the threads that follow files.
#[derive(Debug)]
pub(in crate::publish) enum Notice {
    Note(String),
    Loss(Loss),
}

/// A log and its generations.
#[derive(Debug)]
pub(in crate::publish) struct Track {
    /// The path that the user gave, or the first one that matched.
    pub(super) path: Arc<Path>,
    /// The argument's place in the list, from 0.
    pub(super) index: usize,
    /// Lines before this one of the first generation are skipped.
    pub(super) from_line: u64,
    /// The file that the position is saved to.
    pub(super) position: Option<PathBuf>,
    history: Mutex<History<Arc<File>>>,
    saving: Mutex<()>,
}

impl Track {
    pub(super) fn new(
        index: usize,
        from_line: u64,
        position: Option<PathBuf>,
        history: History<Arc<File>>,
    ) -> Self {
        Self {
            path: Arc::clone(&history.path),
            index,
            from_line,
            position,
            history: Mutex::new(history),
            saving: Mutex::new(()),
        }
    }

    /// Held while the position is written.
    pub(super) fn saving(&self) -> MutexGuard<'_, ()> {
        self.saving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn history(&self) -> MutexGuard<'_, History<Arc<File>>> {
        // No code panics while it holds the lock.
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the losses since the last call.
    pub(super) fn report_losses(&self, notices: &mpsc::UnboundedSender<Notice>) {
        let losses = std::mem::take(&mut self.history().losses);
        for loss in losses {
            // The receiver is gone when the command ends.
            let _ = notices.send(Notice::Loss(loss));
        }
    }
}

/// The logs of a run; patterns and folders add to them.
#[derive(Debug, Clone, Default)]
pub(super) struct Tracks(Arc<Mutex<Vec<Arc<Track>>>>);

impl Tracks {
    pub(super) fn add(&self, track: Arc<Track>) {
        self.lock().push(track);
    }

    pub(super) fn all(&self) -> Vec<Arc<Track>> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Track>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A position in a log, behind a line.
#[derive(Debug, Clone)]
pub(in crate::publish) struct Checkpoint {
    pub(super) track: Arc<Track>,
    /// The number of the generation.
    pub(super) number: u64,
    /// In bytes.
    pub(super) offset: u64,
    /// The number of the line before it.
    pub(super) line: u64,
    /// The rows before it, in a chain of rows.
    pub(super) chain: Option<ChainProgress>,
}

impl Checkpoint {
    /// Whether both are positions in one log.
    pub(in crate::publish) fn is_in_log_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.track, &other.track)
    }
}

/// Sets the message id of the line at an offset, unless it has one: the next run derives the same id.
pub(super) fn identify(event: Envelope, generation: &str, offset: u64) -> Envelope {
    match MessageId::new(format!("{generation}.{offset}")) {
        Ok(id) if event.message_id().is_none() => event.with_message_id(id),
        _ => event,
    }
}

/// The time since the start of the run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(std::time::Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(std::time::Instant::now())
    }

    pub(super) fn now(self) -> Time {
        self.0.elapsed()
    }
}
