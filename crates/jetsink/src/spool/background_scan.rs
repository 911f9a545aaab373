//! Counts the backlog of an earlier process while new events are appended.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tracing::error;

use super::append_queue::{AppendQueue, ReplayMarker};
use super::log::backlog::{Backlog, Counted};
use super::log::loss::SpoolLoss;
use super::usage::Usage;

/// A backlog of up to this many segments is scanned before the spool opens, so that its status is exact from the
/// start. A thread scans a larger one.
pub(super) const MAX_SCANNED_AT_ONCE: usize = 2;

/// Scans the segments that existed when the spool was opened.
pub(super) struct Scan {
    pub(super) backlog: Backlog,
    pub(super) uncounted: u64,
    pub(super) usage: Arc<Usage>,
    pub(super) appends: Arc<Mutex<AppendQueue>>,
    pub(super) loss: Arc<OnceLock<SpoolLoss>>,
    pub(super) is_closed: Arc<AtomicBool>,
}

impl Scan {
    pub(super) fn run(self) {
        let _ending = Ending(Arc::clone(&self.usage));
        let is_closed = self.is_closed;
        let counted = self.backlog.scan(|| !is_closed.load(Ordering::Relaxed));
        let Some(counted) = counted else { return };
        report(&counted, &self.loss);
        {
            let mut appends = self.appends.lock().unwrap_or_else(PoisonError::into_inner);
            if appends.marker != ReplayMarker::Absent {
                // Left by a process that sent: it is not known which.
                for subject in counted.subjects.keys() {
                    appends.unreconciled.insert(subject.clone(), u64::MAX);
                }
            }
        }
        self.usage.complete(&counted, self.uncounted);
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

fn report(counted: &Counted, loss: &OnceLock<SpoolLoss>) {
    if !counted.loss.is_none() {
        error!("{}", counted.loss);
        let _ = loss.set(counted.loss.clone());
    }
}
