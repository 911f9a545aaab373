//! Counts the backlog of an earlier process while new events are appended and replay begins at the oldest ones.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use tracing::error;

use super::append_queue::AppendQueue;
use super::log::backlog::Backlog;
use super::shared::Shared;
use crate::sync::lock;

/// A backlog of up to this many segments is scanned before the spool opens, so that its status is exact from the
/// start. A thread scans a larger one.
pub(super) const MAX_SCANNED_AT_ONCE: usize = 2;

/// Scans the segments that existed when the spool was opened.
pub(super) struct Scan {
    pub(super) backlog: Backlog,
    /// Whether the events that are found may be stored: left by a process that sent, it is not known which.
    pub(super) may_be_stored: bool,
    pub(super) shared: Arc<Shared>,
    pub(super) appends: Arc<Mutex<AppendQueue>>,
}

impl Scan {
    pub(super) fn run(mut self) {
        let _ending = Ending(Arc::clone(&self.shared));
        let continues = || !self.shared.is_closed.load(Ordering::Relaxed);
        while let Some(found) = self.backlog.scan_part(continues) {
            let late = {
                // Marked before replay can read it.
                let mut appends = lock(&self.appends);
                if self.may_be_stored {
                    for subject in &found {
                        appends.unreconciled.insert(subject.clone(), u64::MAX);
                    }
                }
                self.backlog.show()
            };
            if self.backlog.is_scanned() {
                let loss = &self.backlog.loss;
                if !loss.is_none() {
                    error!("{loss}");
                    let _ = self.shared.loss.set(loss.clone());
                }
                self.shared.complete();
            }
            self.shared.entered(found.iter().chain(&late));
        }
    }
}

/// Subjects count as pending for ever if the scan panics, so no more events are taken.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail();
        }
    }
}
