//! Counts the backlog of an earlier process while new events are appended and replay begins at the oldest ones.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use tracing::error;

use super::append_queue::AppendQueue;
use super::log::backlog::Backlog;
use super::log::loss::SpoolLoss;
use super::usage::Usage;
use crate::sync::lock;

/// A backlog of up to this many segments is scanned before the spool opens, so that its status is exact from the
/// start. A thread scans a larger one.
pub(super) const MAX_SCANNED_AT_ONCE: usize = 2;

/// Scans the segments that existed when the spool was opened.
pub(super) struct Scan {
    pub(super) backlog: Backlog,
    /// Whether the events that are found may be stored: left by a process that sent, it is not known which.
    pub(super) may_be_stored: bool,
    pub(super) usage: Arc<Usage>,
    pub(super) appends: Arc<Mutex<AppendQueue>>,
    pub(super) loss: Arc<OnceLock<SpoolLoss>>,
    pub(super) is_closed: Arc<AtomicBool>,
}

impl Scan {
    pub(super) fn run(mut self) {
        let _ending = Ending(Arc::clone(&self.usage));
        let is_closed = &self.is_closed;
        while let Some(found) = self
            .backlog
            .scan_part(|| !is_closed.load(Ordering::Relaxed))
        {
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
                report(&self.backlog.loss, &self.loss);
                self.usage.complete();
            }
            self.usage.entered(found.iter().chain(&late));
        }
    }
}

/// Subjects count as pending for ever if the scan panics, so no more events are taken.
struct Ending(Arc<Usage>);

impl Drop for Ending {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail();
        }
    }
}

fn report(found: &SpoolLoss, loss: &OnceLock<SpoolLoss>) {
    if !found.is_none() {
        error!("{found}");
        let _ = loss.set(found.clone());
    }
}
